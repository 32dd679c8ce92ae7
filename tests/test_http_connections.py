"""Nothing is sent twice, connections are kept for a moment, and none is left behind."""

import asyncio
import gc
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import psutil  # type: ignore[import-untyped]
import pytest

from batchyard.network import ConnectionLost, HttpClient, Sending, connections
from batchyard.testing import Arrived, HttpServer, Line
from tests.look_ups import resolve_to
from tests.providers.certificates import self_signed

METHODS = ("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "POST", "PATCH")


@pytest.fixture
async def client(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[HttpClient]:
    """Lend a client that keeps connections however slow the machine is."""
    monkeypatch.setattr(connections, "KEEP_ALIVE_SECONDS", 60)
    async with HttpClient(allow_private=True, timeout_seconds=60) as client:
        yield client


async def exchange(client: HttpClient, url: str, method: str = "GET", body: bytes = b"") -> bytes:
    async with client.send(method, httpx.URL(url), headers={}, body=body) as response:
        return await response.read(at_most=1000)


def peer_of(line: Line) -> object:
    """Return what tells connections apart."""
    return line._writer.get_extra_info("peername")


def is_connected(port: int) -> bool:
    """Tell whether this process holds a connection to a port."""
    return any(
        one.raddr and one.raddr.port == port for one in psutil.Process().net_connections("tcp")
    )


def trust_own(monkeypatch: pytest.MonkeyPatch, folder: Path) -> ssl.SSLContext:
    """Return what a TLS server needs whom clients trust that are opened from now on."""
    served = self_signed(folder)
    trusted = ssl.create_default_context(cafile=folder / "server.pem")
    monkeypatch.setattr(connections, "_trust", lambda: trusted)
    return served


class Peers:
    """Answers, and remembers over which connections it was asked."""

    def __init__(self) -> None:
        self.peers: list[object] = []

    async def handle(self, _: Arrived, line: Line) -> None:
        self.peers.append(peer_of(line))
        await line.reply(200, b"hello")


class Listener:
    """A server that answers each connection the same, then waits for its end."""

    def __init__(self, answer: bytes, *, reads: bool = True) -> None:
        self._answer = answer
        self.has_arrived = asyncio.Event()
        self.has_ended = asyncio.Event()
        self.may_read = asyncio.Event()
        self.received = 0
        if reads:
            self.may_read.set()

    @asynccontextmanager
    async def listening(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        async with server:
            yield server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.received += len(await reader.read(100))
        self.has_arrived.set()
        writer.write(self._answer)
        if not self.may_read.is_set():
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            await self.may_read.wait()
            writer.transport.resume_reading()  # type: ignore[attr-defined]
        with suppress(OSError):
            while piece := await reader.read(65536):
                self.received += len(piece)
        writer.close()
        self.has_ended.set()


@pytest.mark.parametrize("is_reset", [True, False])
@pytest.mark.parametrize("method", METHODS)
async def test_request_over_a_kept_connection_that_breaks_arrives_once(
    client: HttpClient, method: str, is_reset: bool
) -> None:
    arrived: list[str] = []
    peers: set[object] = set()

    async def break_at_the_second(request: Arrived, line: Line) -> None:
        arrived.append(request.method)
        peers.add(peer_of(line))
        if len(arrived) != 2:
            await line.reply(200)
        elif is_reset:
            line.reset()
        else:
            line.close()

    sending = Sending()
    async with HttpServer(break_at_the_second) as server:
        await exchange(client, server.url)
        with pytest.raises(ConnectionLost):
            async with client.send(
                method, httpx.URL(server.url), headers={}, body=b"x", sending=sending
            ):
                pass
    assert arrived == ["GET", method]
    assert len(peers) == 1
    assert sending.has_begun


async def test_connection_that_the_server_closed_after_an_answer_is_not_used_again(
    client: HttpClient,
) -> None:
    peers: set[object] = set()

    async def answer_and_leave(_: Arrived, line: Line) -> None:
        peers.add(peer_of(line))
        await line.reply(200, b"hello")
        line.close()

    async with HttpServer(answer_and_leave) as server:
        for _ in range(20):
            assert await exchange(client, server.url, "POST", b"x") == b"hello"
    assert len(peers) == 20


@pytest.mark.parametrize("is_read_meanwhile", [True, False])
async def test_answer_that_nobody_asked_for_answers_no_request(
    client: HttpClient, is_read_meanwhile: bool
) -> None:
    is_answered, is_said = asyncio.Event(), asyncio.Event()

    async def answer_twice(request: Arrived, line: Line) -> None:
        await line.reply(200, request.path.encode())
        if request.path == "/first":
            await is_answered.wait()
            await line.reply(408, b"stale")
            is_said.set()

    async with HttpServer(answer_twice) as server:
        assert await exchange(client, f"{server.url}/first") == b"/first"
        is_answered.set()
        await is_said.wait()
        if is_read_meanwhile:
            await asyncio.sleep(0.05)
        assert await exchange(client, f"{server.url}/second") == b"/second"


async def test_kept_connection_that_is_reset_is_no_news(
    client: HttpClient, caplog: pytest.LogCaptureFixture
) -> None:
    may_reset, is_reset = asyncio.Event(), asyncio.Event()
    peers: set[object] = set()

    async def answer_in_pieces(_: Arrived, line: Line) -> None:
        peers.add(peer_of(line))
        await line.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na")
        await asyncio.sleep(0.02)
        await line.write(b"b")
        if len(peers) == 1:
            await may_reset.wait()
            line.reset()
            is_reset.set()

    async with HttpServer(answer_in_pieces) as server:
        assert await exchange(client, server.url) == b"ab"
        may_reset.set()
        await is_reset.wait()
        await asyncio.sleep(0.02)
        assert await exchange(client, server.url) == b"ab"
    await client.aclose()
    gc.collect()
    assert len(peers) == 2
    assert not caplog.records


async def test_connection_is_kept_for_the_next_request(client: HttpClient) -> None:
    peers = Peers()
    async with HttpServer(peers.handle) as server:
        for _ in range(5):
            await exchange(client, server.url)
    assert len(set(peers.peers)) == 1


def test_connection_is_kept_for_less_time_than_servers_keep_it() -> None:
    assert connections.KEEP_ALIVE_SECONDS == 1.5


async def test_connection_is_kept_no_longer_than_it_may_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "KEEP_ALIVE_SECONDS", 0.05)
    peers = Peers()
    async with (
        HttpServer(peers.handle) as server,
        HttpClient(allow_private=True, timeout_seconds=60) as client,
    ):
        for _ in range(3):
            await exchange(client, server.url)
            await asyncio.sleep(0.1)
    assert len(set(peers.peers)) == 3


async def test_every_connection_looks_its_host_up_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "KEEP_ALIVE_SECONDS", 0)
    asked = resolve_to(monkeypatch, "127.0.0.1")
    peers = Peers()
    async with (
        HttpServer(peers.handle) as server,
        HttpClient(allow_private=True, timeout_seconds=60) as client,
    ):
        for _ in range(3):
            await exchange(client, f"http://carrier.example:{server.port}/")
    assert len(set(peers.peers)) == 3
    assert asked == ["carrier.example"] * 3


async def test_any_number_of_connections_may_be_open(client: HttpClient) -> None:
    peers: set[object] = set()
    are_all_there = asyncio.Event()

    async def wait_for_all(_: Arrived, line: Line) -> None:
        peers.add(peer_of(line))
        if len(peers) == 150:
            are_all_there.set()
        await are_all_there.wait()
        await line.reply(200, b"hello")

    async with HttpServer(wait_for_all) as server:
        answers = await asyncio.gather(*(exchange(client, server.url) for _ in range(150)))
    assert answers == [b"hello"] * 150


@pytest.mark.parametrize("is_tls", [True, False])
@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"]
)
async def test_cancelled_request_ends_its_connection(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: bytes, is_tls: bool
) -> None:
    served = trust_own(monkeypatch, tmp_path) if is_tls else None
    listener = Listener(answer)
    async with (
        listener.listening(served) as port,
        HttpClient(allow_private=True, timeout_seconds=60) as client,
        asyncio.timeout(30),
    ):
        url = f"{'https' if is_tls else 'http'}://localhost:{port}/"
        out = asyncio.create_task(exchange(client, url))
        await listener.has_arrived.wait()
        out.cancel()
        with pytest.raises(asyncio.CancelledError):
            await out
        await listener.has_ended.wait()


@pytest.mark.parametrize("is_tls", [True, False])
async def test_cancelled_request_waits_for_nobody_to_end_its_connection(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_tls: bool
) -> None:
    served = trust_own(monkeypatch, tmp_path) if is_tls else None
    listener = Listener(b"", reads=False)
    body = b"x" * 50_000_000
    async with (
        listener.listening(served) as port,
        HttpClient(allow_private=True, timeout_seconds=60) as client,
        asyncio.timeout(30),
    ):
        url = f"{'https' if is_tls else 'http'}://localhost:{port}/"
        out = asyncio.create_task(exchange(client, url, "POST", body))
        await listener.has_arrived.wait()
        assert is_connected(port)
        out.cancel()
        with pytest.raises(asyncio.CancelledError):
            await out
        while is_connected(port):  # noqa: ASYNC110  # sockets send no signal
            await asyncio.sleep(0.01)
        listener.may_read.set()
        await listener.has_ended.wait()
    assert listener.received < len(body)


async def test_handshake_that_is_broken_off_ends_its_connection(client: HttpClient) -> None:
    listener = Listener(b"")
    sending = Sending()

    async def send(port: int) -> None:
        url = httpx.URL(f"https://127.0.0.1:{port}/")
        async with client.send("GET", url, headers={}, sending=sending):
            pass

    async with listener.listening() as port, asyncio.timeout(30):
        out = asyncio.create_task(send(port))
        await listener.has_arrived.wait()
        out.cancel()
        with pytest.raises(asyncio.CancelledError):
            await out
        await listener.has_ended.wait()
    assert not sending.has_begun


async def test_answer_that_is_not_read_to_its_end_gives_its_connection_up(
    client: HttpClient,
) -> None:
    listener = Listener(b"HTTP/1.1 500 Oh\r\nContent-Length: 9\r\n\r\nab")
    async with listener.listening() as port, asyncio.timeout(30):
        url = httpx.URL(f"http://127.0.0.1:{port}/")
        async with client.send("GET", url, headers={}) as response:
            assert response.status == 500
        await listener.has_ended.wait()


async def test_connection_that_is_never_made_times_out_before_anything_is_sent() -> None:
    # The queue of this server is full, and nobody accepts: further connections hang.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        address = server.getsockname()
        queued = [socket.socket() for _ in range(4)]
        sending = Sending()
        try:
            for one in queued:
                one.setblocking(False)
                one.connect_ex(address)
            async with HttpClient(allow_private=True, timeout_seconds=0.2) as client:
                url = httpx.URL(f"http://127.0.0.1:{address[1]}/")
                with pytest.raises(TimeoutError, match=r"127\.0\.0\.1 did not answer in time"):
                    async with client.send("GET", url, headers={}, sending=sending):
                        pass
        finally:
            for one in queued:
                one.close()
    assert not sending.has_begun


async def test_closed_client_leaves_nothing_open() -> None:
    listener = Listener(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab")
    async with listener.listening() as port, asyncio.timeout(30):
        client = HttpClient(allow_private=True, timeout_seconds=60)
        assert await exchange(client, f"http://127.0.0.1:{port}/") == b"ab"
        assert not listener.has_ended.is_set()
        await client.aclose()
        await listener.has_ended.wait()
        with pytest.raises(RuntimeError, match="closed"):
            await exchange(client, f"http://127.0.0.1:{port}/")
    await client.aclose()
    del client
    gc.collect()  # what was not closed would complain, and complaints fail tests


def test_client_may_be_made_where_no_event_loop_runs() -> None:
    client = HttpClient(allow_private=True, timeout_seconds=60)
    HttpClient(allow_private=True, timeout_seconds=60)

    async def use() -> bytes:
        async with HttpServer(Peers().handle) as server:
            try:
                return await exchange(client, server.url)
            finally:
                await client.aclose()

    assert asyncio.run(use()) == b"hello"
    gc.collect()

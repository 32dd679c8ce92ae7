"""Nothing was done only if no byte left: connections that fail at every moment."""

import asyncio
import socket
from pathlib import Path

import pytest

from batchyard.models import Ended, Lost, Refused
from batchyard.testing import Arrived, HttpServer, Line
from tests.look_ups import find_nothing
from tests.providers.certificates import self_signed
from tests.providers.http_surroundings import make_provider, provider_over
from tests.providers.requests import make_call


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


async def refused_code(url: str, **settings: object) -> str:
    provider = make_provider(url, **settings)  # type: ignore[arg-type]
    try:
        answer = await provider.send(make_call())
    finally:
        await provider.close()
    assert isinstance(answer, Refused), answer
    return answer.code


async def test_closed_port_proves_that_nothing_was_done() -> None:
    assert await refused_code(f"http://127.0.0.1:{closed_port()}") == "connect_failed"


async def test_name_that_cannot_be_looked_up_proves_that_nothing_was_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    find_nothing(monkeypatch)
    assert await refused_code("http://no-such-host.invalid") == "connect_failed"
    assert await refused_code(f"http://{'a' * 70}.example") == "connect_failed"


async def test_private_address_is_refused_and_nothing_is_sent() -> None:
    arrived: list[Arrived] = []

    async def handle(request: Arrived, line: Line) -> None:
        arrived.append(request)
        await line.reply(202)

    async with HttpServer(handle) as server:
        for host in ("127.0.0.1", "localhost", "127.1", "[::ffff:127.0.0.1]", "2130706433"):
            url = f"http://{host}:{server.port}"
            assert await refused_code(url, allow_private=False) == "address_not_allowed"
    assert not arrived


async def test_untrusted_certificate_proves_that_nothing_was_done(tmp_path: Path) -> None:
    async def handle(_: Arrived, line: Line) -> None:
        await line.reply(200, b'{"status": "completed"}')

    async with HttpServer(handle, tls=self_signed(tmp_path)) as server:
        assert await refused_code(f"https://localhost:{server.port}") == "connect_failed"


async def test_server_that_speaks_no_tls_proves_that_nothing_was_done() -> None:
    async def handle(_: Arrived, line: Line) -> None:
        await line.reply(200, b'{"status": "completed"}')

    async with HttpServer(handle) as server:
        code = await refused_code(f"https://localhost:{server.port}", timeout_seconds=0.5)
    assert code in {"connect_failed", "connect_timeout"}


async def test_connection_that_is_never_made_proves_that_nothing_was_done() -> None:
    # The queue of this server is full, and nobody accepts: further connections hang.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        address = server.getsockname()
        queued = [socket.socket() for _ in range(4)]
        try:
            for one in queued:
                one.setblocking(False)
                one.connect_ex(address)
            url = f"http://127.0.0.1:{address[1]}"
            assert await refused_code(url, timeout_seconds=0.3) == "connect_timeout"
        finally:
            for one in queued:
                one.close()


@pytest.mark.parametrize("is_reset", [True, False])
async def test_connection_that_ends_after_the_request_is_lost(is_reset: bool) -> None:
    async def break_off(_: Arrived, line: Line) -> None:
        line.reset() if is_reset else line.close()

    async with provider_over(break_off) as provider:
        answer = await provider.send(make_call())
    assert isinstance(answer, Lost)
    assert answer.code == "connection_lost"


async def test_connection_that_ends_before_the_request_was_read_is_lost() -> None:
    async def slam(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    server = await asyncio.start_server(slam, "127.0.0.1", 0)
    async with server:
        provider = make_provider(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        answer = await provider.send(make_call(payload={"text": "x" * 5_000_000}))
        await provider.close()
    assert isinstance(answer, Lost)


async def test_idle_connection_that_the_server_closed_costs_nothing() -> None:
    has_closed = asyncio.Event()

    async def once(_: Arrived, line: Line) -> None:
        await line.reply(200, b'{"status": "completed"}')
        line.close()
        has_closed.set()

    async with provider_over(once) as provider:
        for _ in range(20):
            assert await provider.send(make_call()) == Ended(status="completed")
            await has_closed.wait()
            await asyncio.sleep(0.001)
            has_closed.clear()


@pytest.mark.parametrize(
    "answer",
    [
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"x" * 300_000,
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"",
    ],
)
async def test_answer_that_is_no_http_is_lost(answer: bytes) -> None:
    async def say(_: Arrived, line: Line) -> None:
        await line.write(answer)
        line.close()

    async with provider_over(say) as provider:
        assert isinstance(await provider.send(make_call()), Lost)


async def test_cancelled_request_leaves_the_provider_usable() -> None:
    has_arrived = asyncio.Event()

    async def hang_once(_: Arrived, line: Line) -> None:
        if not has_arrived.is_set():
            has_arrived.set()
            await line.hang()
        await line.reply(200, b'{"status": "completed"}')

    async with provider_over(hang_once) as provider:
        out = asyncio.create_task(provider.send(make_call()))
        await has_arrived.wait()
        out.cancel()
        await asyncio.gather(out, return_exceptions=True)
        assert await provider.send(make_call()) == Ended(status="completed")


async def test_many_requests_at_once_are_each_answered_by_their_own_answer() -> None:
    async def echo(request: Arrived, line: Line) -> None:
        key = request.headers["idempotency-key"]
        await line.reply(202, b'{"reference": "%s"}' % key.encode())

    requests = [make_call(item=n) for n in range(300)]
    async with provider_over(echo, timeout_seconds=60) as provider:
        answers = await asyncio.gather(*(provider.send(request) for request in requests))
    references = [getattr(answer, "reference", answer) for answer in answers]
    assert references == [request.key for request in requests]

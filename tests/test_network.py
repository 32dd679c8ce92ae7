"""Only allowed addresses are reached, and only the ones that were checked."""

import asyncio
import re
import socket
import ssl
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest

from batchyard.network import (
    AddressNotAllowed,
    HttpClient,
    Unreachable,
    connections,
    fault_of_url,
    is_allowed,
    probe,
    resolve,
)
from batchyard.testing import Arrived, HttpServer, Line
from tests.look_ups import find_nothing, resolve_to
from tests.providers.certificates import self_signed

PUBLIC = ("8.8.8.8", "1.1.1.1", "185.199.108.153", "2606:4700:4700::1111", "2a00:1450:400f::5e")

PRIVATE = (
    "127.0.0.1",
    "127.255.0.9",
    "10.0.0.1",
    "172.16.3.4",
    "192.168.1.1",
    "100.64.0.1",
    "198.18.0.1",
    "192.0.2.1",
    "240.0.0.1",
    "::1",
    "fd12:3456::1",
    "fec0::1",
    "2001:db8::1",
    "2001::1",
    "::ffff:10.0.0.1",
    "::ffff:8.8.8.8",
    "::10.0.0.1",
    "64:ff9b::a00:1",
    "64:ff9b:1::1",
    "2002:a00:1::1",
    "4000::1",
)

NEVER = (
    "0.0.0.0",
    "0.1.2.3",
    "169.254.169.254",
    "169.254.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "224.0.0.1",
    "239.255.255.250",
    "255.255.255.255",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "ff02::1",
    "fd00:ec2::254",
    "::ffff:169.254.169.254",
    "::169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_address_is_allowed(address: str) -> None:
    assert is_allowed(ip_address(address), allow_private=False)
    assert is_allowed(ip_address(address), allow_private=True)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_address_is_allowed_only_where_the_operator_says_so(address: str) -> None:
    assert not is_allowed(ip_address(address), allow_private=False)
    assert is_allowed(ip_address(address), allow_private=True)


@pytest.mark.parametrize("address", NEVER)
def test_address_nobody_books_with_is_never_allowed(address: str) -> None:
    assert not is_allowed(ip_address(address), allow_private=False)
    assert not is_allowed(ip_address(address), allow_private=True)


async def fetch(client: HttpClient, url: str) -> bytes:
    async with client.send("GET", httpx.URL(url), headers={}) as response:
        return await response.read(at_most=1000)


async def test_host_with_any_forbidden_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, "8.8.8.8", "10.0.0.1")
    with pytest.raises(AddressNotAllowed, match=r"10\.0\.0\.1"):
        await resolve("two-faced.example", 80, allow_private=False)
    async with HttpClient(allow_private=False, timeout_seconds=60) as client:
        with pytest.raises(AddressNotAllowed, match=r"10\.0\.0\.1"):
            await fetch(client, "http://two-faced.example/")


async def test_host_that_cannot_be_looked_up_is_a_failed_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    find_nothing(monkeypatch)
    for host in ("no-such-host.invalid", "a" * 70 + ".example"):
        with pytest.raises(Unreachable, match="cannot be looked up"):
            await resolve(host, 80, allow_private=True)


async def test_connection_goes_to_the_address_that_was_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hosts: list[str] = []

    async def handle(arrived: Arrived, line: Line) -> None:
        hosts.append(arrived.headers["host"])
        await line.reply(200, b"hello")

    async with HttpServer(handle) as server:
        # Asked a second time, this name would lead elsewhere.
        asked = resolve_to(monkeypatch, "127.0.0.1", then="10.255.255.1")
        async with HttpClient(allow_private=True, timeout_seconds=60) as client:
            answer = await fetch(client, f"http://rebinding.example:{server.port}/")
    assert answer == b"hello"
    assert asked == ["rebinding.example"]
    assert hosts == [f"rebinding.example:{server.port}"]


async def test_second_address_is_tried_when_the_first_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def handle(_: Arrived, line: Line) -> None:
        await line.reply(200, b"hello")

    async with HttpServer(handle) as server:
        resolve_to(monkeypatch, "127.0.0.2", "127.0.0.1")
        async with HttpClient(allow_private=True, timeout_seconds=60) as client:
            answer = await fetch(client, f"http://two-homes.example:{server.port}/")
    assert answer == b"hello"


async def test_second_address_is_tried_when_the_first_stays_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def handle(_: Arrived, line: Line) -> None:
        await line.reply(200, b"hello")

    async with HttpServer(handle) as server:
        # The queue of this one is full, and nobody accepts: further connections hang.
        with socket.create_server(("127.0.0.2", server.port), backlog=0) as silent:
            queued = [socket.socket() for _ in range(4)]
            try:
                for one in queued:
                    one.setblocking(False)
                    one.connect_ex(silent.getsockname())
                resolve_to(monkeypatch, "127.0.0.2", "127.0.0.1")
                async with HttpClient(allow_private=True, timeout_seconds=60) as client:
                    answer = await fetch(client, f"http://two-homes.example:{server.port}/")
            finally:
                for one in queued:
                    one.close()
    assert answer == b"hello"


async def test_client_reaches_no_private_server() -> None:
    async def handle(_: Arrived, line: Line) -> None:
        await line.reply(200, b"secret")

    async with (
        HttpServer(handle) as server,
        HttpClient(allow_private=False, timeout_seconds=60) as client,
    ):
        for host in ("127.0.0.1", "localhost", "127.1", "2130706433", "[::ffff:127.0.0.1]"):
            with pytest.raises(AddressNotAllowed, match="may not be reached"):
                await fetch(client, f"http://{host}:{server.port}/")


async def test_address_that_may_not_be_reached_is_named_once() -> None:
    for host, told in (
        ("127.0.0.1", "127.0.0.1 may not be reached from here."),
        ("127.1", "127.1 has the address 127.0.0.1, which may not be reached from here."),
    ):
        with pytest.raises(AddressNotAllowed, match=f"^{re.escape(told)}$"):
            await resolve(host, 80, allow_private=False)


async def test_certificate_must_be_of_the_name_that_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def handle(_: Arrived, line: Line) -> None:
        await line.reply(200, b"hello")

    served = self_signed(tmp_path)
    trusted = ssl.create_default_context(cafile=tmp_path / "server.pem")
    monkeypatch.setattr(connections, "_trust", lambda: trusted)
    async with HttpServer(handle, tls=served) as server:
        async with HttpClient(allow_private=True, timeout_seconds=60) as client:
            assert await fetch(client, f"https://localhost:{server.port}/") == b"hello"
            with pytest.raises(Unreachable, match="certificate"):
                await fetch(client, f"https://127.0.0.1:{server.port}/")
        await probe(f"https://localhost:{server.port}/", allow_private=True, timeout_seconds=60)
        with pytest.raises(OSError, match="certificate"):
            await probe(f"https://127.0.0.1:{server.port}/", allow_private=True, timeout_seconds=60)


async def test_client_asks_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    async def handle(arrived: Arrived, line: Line) -> None:
        await line.reply(200, arrived.path.encode())

    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    async with (
        HttpServer(handle) as server,
        HttpClient(allow_private=True, timeout_seconds=60) as client,
    ):
        assert await fetch(client, f"{server.url}/here") == b"/here"


async def test_probe_connects_and_sends_nothing() -> None:
    received: list[bytes] = []
    has_ended = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.read())
        writer.close()
        has_ended.set()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        await probe(f"http://127.0.0.1:{port}/x", allow_private=True, timeout_seconds=60)
        await has_ended.wait()
    assert received == [b""]
    with pytest.raises(OSError, match="connect"):
        await probe(f"http://127.0.0.1:{port}/x", allow_private=True, timeout_seconds=60)
    with pytest.raises(AddressNotAllowed):
        await probe(f"http://127.0.0.1:{port}/x", allow_private=False, timeout_seconds=60)


@pytest.mark.parametrize(
    "url,fault",
    [
        ("https://carrier.example/book?x=1", None),
        ("http://[::1]:8080/", None),
        ("ftp://carrier.example", "must begin with"),
        ("carrier.example/book", "must begin with"),
        ("", "must begin with"),
        ("file:///etc/passwd", "must begin with"),
        ("http://", "names no host"),
        ("https://user:secret@carrier.example/", "must not carry"),
        ("http://carrier.example:port/", "is not a URL"),
        ("http://carrier.example/\0", "is not a URL"),
    ],
)
def test_url_is_checked_before_it_is_kept(url: str, fault: str | None) -> None:
    found = fault_of_url(url)
    assert found is None if fault is None else fault in str(found)

"""A small real HTTP server whose handlers may also misbehave: reset, hang, answer anything."""

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Self

HEAD_BYTES = 64 * 1024
HANG_UP_AT_ONCE = struct.pack("ii", 1, 0)
"""SO_LINGER: closing sends a reset."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrived:
    """A request as it arrived."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case."""
    body: bytes = b""


class Line:
    """The way back to whoever asked."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def reply(
        self, status: int, body: bytes = b"", *, headers: Mapping[str, str] | None = None
    ) -> None:
        """Answer properly; the connection stays open."""
        try:
            phrase = HTTPStatus(status).phrase
        except ValueError:
            phrase = "Unknown"
        lines = [f"HTTP/1.1 {status} {phrase}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        await self.write("\r\n".join([*lines, "\r\n"]).encode("latin-1") + body)

    async def write(self, content: bytes) -> None:
        """Send any bytes."""
        self._writer.write(content)
        await self._writer.drain()

    def reset(self) -> None:
        """Break the connection, as a crashing server does."""
        connection = self._writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, HANG_UP_AT_ONCE)
        self._writer.transport.abort()

    def close(self) -> None:
        """Close the connection politely."""
        self._writer.close()

    async def hang(self) -> None:
        """Say nothing more until the other side gives up."""
        await asyncio.Event().wait()


Handler = Callable[[Arrived, Line], Awaitable[None]]


class HttpServer:
    """Serves on a free port of the loopback address while its context lasts."""

    def __init__(
        self, handler: Handler, *, tls: ssl.SSLContext | None = None, port: int = 0
    ) -> None:
        self._handler = handler
        self._tls = tls
        self._port = port
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        """Begin to listen."""
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self._port, ssl=self._tls, limit=HEAD_BYTES, backlog=1024
        )
        self._port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        """Hang up on everybody."""
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            # Broken off by the other side, or by the end of the server.
            with suppress(OSError, EOFError, asyncio.CancelledError, asyncio.LimitOverrunError):
                while not writer.is_closing():
                    await self._handler(await _read(reader), Line(writer))
        finally:
            self._connections.discard(task)
            writer.close()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()


async def _read(reader: asyncio.StreamReader) -> Arrived:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, path, _ = first.split(" ", 2)
    pairs = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Arrived(method=method, path=path, headers=headers, body=body)

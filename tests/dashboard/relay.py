"""Stands between a browser and the server, and loses what networks lose."""

import asyncio
from dataclasses import dataclass

CHUNK_BYTES = 64 * 1024


@dataclass(kw_only=True, slots=True)
class Line:
    """A browser's connection, and the one to the server behind it."""

    browser: asyncio.StreamWriter
    server: asyncio.StreamWriter
    is_uploading: bool = False
    """Whether what the server says next is the answer to an upload."""

    def cut(self) -> None:
        """Break it without a word."""
        self.browser.transport.abort()
        self.server.transport.abort()


class Relay:
    """Passes everything on until it is told otherwise."""

    def __init__(self, host: str, port: int, *, upload: str) -> None:
        """`host` and `port` are the server's, `upload` is the path of an upload."""
        self.url = ""
        self.answers_to_lose = 0
        """Of uploads: the server has given them, and the connection breaks."""
        self.passes = asyncio.Event()
        """While it is not set, nothing more of what browsers send goes on."""
        self.passes.set()
        self._server = (host, port)
        self._upload = f"POST {upload} ".encode()
        self._lines: list[Line] = []
        self._listener: asyncio.Server | None = None

    async def open(self) -> None:
        """Be there for browsers, at `url`."""
        self._listener = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        """Break every connection; new ones are taken."""
        for line in self._lines:
            line.cut()

    def close(self) -> None:
        """Break every connection, and take no more."""
        if self._listener is not None:
            self._listener.close()
        self.cut()

    async def _connect(self, up: asyncio.StreamReader, browser: asyncio.StreamWriter) -> None:
        down, server = await asyncio.open_connection(*self._server)
        line = Line(browser=browser, server=server)
        self._lines.append(line)
        ways = [
            asyncio.create_task(self._pass_up(up, line)),
            asyncio.create_task(self._pass_down(down, line)),
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        line.cut()
        self._lines.remove(line)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)

    async def _pass_up(self, up: asyncio.StreamReader, line: Line) -> None:
        while data := await up.read(CHUNK_BYTES):
            await self.passes.wait()
            # Nothing is asked for before the answer to what was asked before.
            if data.startswith(self._upload):
                line.is_uploading = True
            line.server.write(data)
            await line.server.drain()

    async def _pass_down(self, down: asyncio.StreamReader, line: Line) -> None:
        while data := await down.read(CHUNK_BYTES):
            if line.is_uploading and self.answers_to_lose:
                self.answers_to_lose -= 1
                return
            line.is_uploading = False
            line.browser.write(data)
            await line.browser.drain()

"""A line to PostgreSQL that is longer: every message to it arrives some milliseconds later."""

import argparse
import asyncio
import signal
from collections import deque

import uvloop

CHUNK_BYTES = 256 * 1024
SOCKET_NAME = ".s.PGSQL.5432"


class Line:
    """One connection: what the client sends waits, what the server answers goes through at once.

    Messages wait side by side, as on a long line, not one after the other.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._has_come = asyncio.Event()

    async def carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: str
    ) -> None:
        """Carry everything until one side hangs up."""
        there, back = await asyncio.open_unix_connection(server)
        tasks = [
            asyncio.create_task(self._take(reader)),
            asyncio.create_task(self._deliver(back)),
            asyncio.create_task(_pass_on(there, writer)),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            writer.close()
            back.close()

    async def _take(self, reader: asyncio.StreamReader) -> None:
        loop = asyncio.get_running_loop()
        while data := await reader.read(CHUNK_BYTES):
            self._waiting.append((loop.time() + self._seconds, data))
            self._has_come.set()

    async def _deliver(self, server: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while not self._waiting:
                self._has_come.clear()
                await self._has_come.wait()
            due, data = self._waiting.popleft()
            await asyncio.sleep(max(0.0, due - loop.time()))
            server.write(data)
            await server.drain()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK_BYTES):
        writer.write(data)
        await writer.drain()


async def run(server: str, folder: str, seconds: float) -> None:
    """Listen in a folder as PostgreSQL does, until a signal."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await Line(seconds).carry(reader, writer, server)

    await asyncio.start_unix_server(connected, f"{folder}/{SOCKET_NAME}")
    await stop.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", required=True, help="PostgreSQL's socket")
    parser.add_argument("--folder", required=True, help="where to listen")
    parser.add_argument("--seconds", type=float, required=True)
    given = parser.parse_args()
    uvloop.run(run(given.server, given.folder, given.seconds))

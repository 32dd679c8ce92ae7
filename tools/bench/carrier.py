"""The other side of an http provider: a server that books whatever it is sent, at once."""

import argparse
import asyncio
import signal
from typing import cast

import uvloop

BODY = b'{"status":"booked"}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
    len(BODY),
    BODY,
)
END_OF_HEAD = b"\r\n\r\n"
LENGTH = b"content-length:"


class Booker(asyncio.Protocol):
    """Answers each request of one connection; knows no more of HTTP than our own client needs."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self._read += data
        while (size := self._complete()) is not None and self._transport is not None:
            self._read = self._read[size:]
            self._transport.write(ANSWER)

    def _complete(self) -> int | None:
        head_size = self._read.find(END_OF_HEAD)
        if head_size < 0:
            return None
        length = 0
        for line in self._read[:head_size].lower().split(b"\r\n"):
            if line.startswith(LENGTH):
                length = int(line[len(LENGTH) :])
        size = head_size + len(END_OF_HEAD) + length
        return size if len(self._read) >= size else None


async def run(port: int) -> None:
    """Serve until a signal."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    await loop.create_server(Booker, "127.0.0.1", port)
    await stop.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(run(parser.parse_args().port))

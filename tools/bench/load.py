"""GET requests by several clients: as many as go, or so many a second."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import uvloop

from batchyard.clock import monotonic
from tools.bench.figures import percentile

CLIENTS = 4
PACED_CLIENTS = 16
"""So many that a slow answer does not keep the next request from leaving on time."""
END_OF_HEAD = b"\r\n\r\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What is asked for."""

    port: int
    path: str
    token: str

    @property
    def request(self) -> bytes:
        """The request as it is sent."""
        head = f"GET {self.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {self.token}"
        return f"{head}\r\n\r\n".encode()


@dataclass(kw_only=True, slots=True)
class Load:
    """What came back."""

    seconds: list[float] = field(default_factory=list)
    """Of each answer."""
    took: float = 0.0
    body: bytes = b""

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.seconds) / self.took

    @property
    def p99_ms(self) -> float:
        """Milliseconds that one in a hundred answers exceeds."""
        return percentile(self.seconds, 0.99) * 1000


def at_full_speed(target: Target, *, seconds: float) -> Load:
    """Ask with each client again as soon as it is answered."""
    ends_at = monotonic() + seconds

    async def client(load: Load, ask: Callable[[], Awaitable[bytes]]) -> None:
        while (began := monotonic()) < ends_at:
            load.body = await ask()
            load.seconds.append(monotonic() - began)

    return uvloop.run(_run(target, client, clients=CLIENTS))


def at_rate(target: Target, *, rate: float, seconds: float) -> Load:
    """Ask so many times a second; an answer is late from when it should have been asked for."""
    began_at, due = monotonic(), iter(range(max(1, int(rate * seconds))))

    async def client(load: Load, ask: Callable[[], Awaitable[bytes]]) -> None:
        for number in due:
            at = began_at + number / rate
            await asyncio.sleep(max(0.0, at - monotonic()))
            load.body = await ask()
            load.seconds.append(monotonic() - at)

    return uvloop.run(_run(target, client, clients=PACED_CLIENTS))


Client = Callable[[Load, Callable[[], Awaitable[bytes]]], Awaitable[None]]


async def _run(target: Target, client: Client, *, clients: int) -> Load:
    load, began = Load(), monotonic()

    async def connected() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", target.port, limit=2**26)
        request = target.request
        try:
            await client(load, lambda: _ask(reader, writer, request))
        finally:
            writer.close()

    await asyncio.gather(*(connected() for _ in range(clients)))
    load.took = monotonic() - began
    return load


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bytes:
    writer.write(request)
    head = (await reader.readuntil(END_OF_HEAD)).lower()
    length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
    body = await reader.readexactly(length)
    if b" 200 " not in head[:15]:
        raise RuntimeError(f"{head[:30].decode()} {body[:200].decode(errors='replace')}")
    return body

"""The outside world in small: what a provider's requests do there, and how their answers fail."""

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum

from batchyard.testing.server import Arrived, Line

ENDLESS_CHUNK = b" " * 65536


class Fault(StrEnum):
    """What goes wrong with the next request."""

    BUSY_BEFORE = "busy_before"
    """429, and nothing is done."""
    CLOSED_BEFORE = "closed_before"
    """Read, not acted on, closed without an answer."""
    BAD_GATEWAY_AFTER = "bad_gateway_after"
    RESET_AFTER = "reset_after"
    CLOSED_AFTER = "closed_after"
    HANG_AFTER = "hang_after"
    HTML_AFTER = "html_after"
    NOT_UTF8_AFTER = "not_utf8_after"
    CUT_SHORT_AFTER = "cut_short_after"
    EMPTY_AFTER = "empty_after"
    ENDLESS_AFTER = "endless_after"


FAULTS_BEFORE = (Fault.BUSY_BEFORE, Fault.CLOSED_BEFORE)
FAULTS_AFTER = tuple(fault for fault in Fault if fault not in FAULTS_BEFORE)
"""The effect has happened, and the answer does not tell."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """An answer of the outside world."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class Book:
    """What the outside world did, and for which key."""

    def __init__(self) -> None:
        self.effects: Counter[str] = Counter()
        self.arrivals = 0
        self._answers: dict[str, Served] = {}

    def act(self, key: str, answer: Served) -> Served:
        """Count an effect, and remember its answer."""
        self.effects[key] += 1
        self._answers[key] = answer
        return answer

    def find(self, key: str) -> Served | None:
        """Return the answer of a key that was acted on."""
        return self._answers.get(key)


class World:
    """Serves as told, and spoils the next answer as told."""

    def __init__(
        self,
        serve: Callable[[Arrived, Book], Served],
        *,
        prepares: Callable[[Arrived], bool] = lambda _: False,
    ) -> None:
        self._serve = serve
        self._prepares = prepares
        self.book = Book()
        self.next_fault: Fault | None = None

    async def handle(self, arrived: Arrived, line: Line) -> None:
        """Serve one request."""
        if self._prepares(arrived):
            served = self._serve(arrived, self.book)
            await line.reply(served.status, served.body, headers=served.headers)
            return
        fault, self.next_fault = self.next_fault, None
        self.book.arrivals += 1
        match fault:
            case Fault.BUSY_BEFORE:
                await line.reply(429, headers={"Retry-After": "3"})
            case Fault.CLOSED_BEFORE:
                line.close()
            case None:
                served = self._serve(arrived, self.book)
                await line.reply(served.status, served.body, headers=served.headers)
            case _:
                await _spoil(self._serve(arrived, self.book), fault, line)


async def _spoil(served: Served, fault: Fault, line: Line) -> None:
    match fault:
        case Fault.BAD_GATEWAY_AFTER:
            await line.reply(502, b"<html><h1>Bad Gateway</h1></html>")
        case Fault.RESET_AFTER:
            line.reset()
        case Fault.CLOSED_AFTER:
            line.close()
        case Fault.HANG_AFTER:
            await line.hang()
        case Fault.HTML_AFTER:
            await line.reply(
                200, b"<!doctype html><p>Welcome", headers={"Content-Type": "text/html"}
            )
        case Fault.NOT_UTF8_AFTER:
            await line.reply(200, b'{"status": "\xff\xfe"}')
        case Fault.CUT_SHORT_AFTER:
            length = len(served.body) + 10
            await line.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length)
            await line.write(served.body)
            line.close()
        case Fault.EMPTY_AFTER:
            await line.reply(200)
        case _:
            await line.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
            with suppress(OSError):
                while True:
                    await line.write(ENDLESS_CHUNK)

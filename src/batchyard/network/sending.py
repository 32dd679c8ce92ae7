"""A request on its way: how far it has come, and what came back."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from batchyard.errors import BatchyardError


class ConnectionLost(BatchyardError):
    """The connection ended before the whole answer had come; the request may have arrived."""


class Sending:
    """How far one request has come."""

    def __init__(self) -> None:
        self.has_begun = False
        """Whether it was given a connection: from then on, some of it may have left."""
        self._transport: asyncio.Transport | None = None

    def begin(self, transport: asyncio.Transport | None) -> None:
        """Note the connection it was given."""
        self.has_begun = True
        self._transport = transport

    def break_off(self) -> None:
        """End its connection at once, whatever still waits to be written or to be read."""
        if self._transport is not None:
            self._transport.abort()


@dataclass(frozen=True, kw_only=True, slots=True)
class Response:
    """The head of an answer, and the way to its body."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case; several of one name are joined by commas."""
    next_piece: Callable[[], Awaitable[bytes]]
    """Returns more of the body as it came, nothing at its end; raises `ConnectionLost`."""

    @property
    def is_success(self) -> bool:
        """Whether the status is a 2xx."""
        return 200 <= self.status <= 299

    async def read(self, *, at_most: int) -> bytes:
        """Read the body; of a longer one than `at_most`, its beginning, which is longer too."""
        body = bytearray()
        while len(body) <= at_most and (piece := await self.next_piece()):
            body += piece
        return bytes(body)

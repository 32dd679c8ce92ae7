"""What a provider has out: counted, so that it closes only once everything has come in."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class InFlight:
    """Requests that are out through one client."""

    def __init__(self) -> None:
        self._out = 0
        self._all_in = asyncio.Event()
        self._all_in.set()
        self.is_closing = False

    @asynccontextmanager
    async def within(self, *, seconds: float) -> AsyncIterator[float]:
        """Count something as out; yield the time of the event loop by which it must be over."""
        self._out += 1
        self._all_in.clear()
        try:
            yield asyncio.get_running_loop().time() + seconds
        finally:
            self._out -= 1
            if self._out == 0:
                self._all_in.set()

    async def come_in(self) -> None:
        """Let what is out come in, and take nothing new."""
        self.is_closing = True
        await self._all_in.wait()

"""Lanes: items one after the other while answers come at once, side by side when they do not."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import structlog

from batchyard import tasks

BREATH = 64
"""After so many items without a pause a lane lets others have the event loop."""

T = TypeVar("T")

log = structlog.get_logger("batchyard.lanes")


class Lanes(Generic[T]):
    """Serves everything put in, in order; a task for each item would cost as much as the item.

    A lane serves items until none is left. As soon as one has to wait, the next lane, opened
    beforehand, goes on with the rest; so whatever waits has a lane of its own.
    """

    def __init__(self, serve: Callable[[T], Awaitable[None]], *, ended: Callable[[], None]) -> None:
        """Begin with nothing; `ended` is called after each item."""
        self._serve = serve
        self._ended = ended
        self._waiting: deque[T] = deque()
        self._open: set[asyncio.Task[None]] = set()
        self._is_next_opened = False
        self.count = 0
        """Items that were put in and have not ended."""

    def put(self, item: T) -> None:
        """Serve an item as soon as the event loop comes to it; returns at once."""
        self.count += 1
        self._waiting.append(item)
        self._open_next()

    async def finished(self) -> None:
        """Wait until nothing is left."""
        while self._open:
            await asyncio.wait(self._open)

    async def break_off(self) -> None:
        """Begin nothing more, and cancel what is under way."""
        self.count -= len(self._waiting)
        self._waiting.clear()
        await tasks.end(*self._open)

    def _open_next(self) -> None:
        if self._waiting and not self._is_next_opened:
            self._is_next_opened = True
            lane = asyncio.create_task(self._run())
            self._open.add(lane)
            lane.add_done_callback(self._open.discard)

    async def _run(self) -> None:
        self._is_next_opened = False
        served = 0
        while self._waiting:
            item = self._waiting.popleft()
            self._open_next()
            try:
                await self._serve(item)
            except Exception:  # one item must not take the others with it
                log.exception("lane.item_broke")
            finally:
                self.count -= 1
                self._ended()
            served += 1
            if served % BREATH == 0:
                await asyncio.sleep(0)

"""Lanes: items one after the other while answers come at once, side by side when they do not."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import structlog

from batchyard import tasks

BREATH = 32
"""After so many items without a pause a lane lets others have the event loop."""

T = TypeVar("T")

log = structlog.get_logger("batchyard.lanes")


class Lanes(Generic[T]):
    """Serves everything put in, in order; a task for each item would cost as much as the item.

    A lane serves items until none is left. As soon as one has to wait, the next lane, opened
    beforehand, goes on with the rest; so whatever waits has a lane of its own. What has waited ends
    its lane: were there several that go on, they would hold up the event loop one after the other.
    """

    def __init__(self, serve: Callable[[T], Awaitable[None]], *, ended: Callable[[], None]) -> None:
        """Begin with nothing; `ended` is called after each item."""
        self._serve = serve
        self._ended = ended
        self._waiting: deque[T] = deque()
        self._open: set[asyncio.Task[None]] = set()
        self._is_next_opened = False
        self._opened = 0

    def put(self, *items: T) -> None:
        """Serve items as soon as the event loop comes to them; returns at once."""
        self._waiting.extend(items)
        self._open_next()

    async def finished(self) -> None:
        """Wait until nothing is left."""
        while self._open:
            await asyncio.wait(self._open)

    async def break_off(self) -> None:
        """Begin nothing more, and cancel what is under way."""
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
        self._opened = mine = self._opened + 1
        served = 0
        while self._waiting and self._opened == mine:
            item = self._waiting.popleft()
            self._open_next()
            try:
                await self._serve(item)
            except Exception:  # one item must not take the others with it
                log.exception("lane.item_broke")
            finally:
                self._ended()
            served += 1
            if served % BREATH == 0:
                await asyncio.sleep(0)

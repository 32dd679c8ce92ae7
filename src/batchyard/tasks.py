"""Ends tasks for certain, and lets streams end in peace."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import TypeVar

T = TypeVar("T")

AGAIN_SECONDS = 0.5


async def end(*tasks: asyncio.Task[object]) -> None:
    """Cancel tasks and wait until each has ended, whatever it ended with.

    One request is not always enough: before Python 3.12 `asyncio.wait_for`, which database drivers
    wait with, loses a cancellation that arrives together with the answer (python/cpython#86296).
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=AGAIN_SECONDS)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # seen, so that asyncio does not report it as forgotten


@asynccontextmanager
async def at_most(seconds: float | None) -> AsyncIterator[None]:
    """Break the block off after so long (None: never) and go on behind it."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            yield


_ending: set[asyncio.Task[None]] = set()
"""What ends by itself; the loop alone would forget it."""


async def relay(source: AsyncGenerator[T, None]) -> AsyncIterator[T]:
    """Yield what a stream yields, while it runs in a task of its own.

    Who serves a client that leaves is cancelled again and again (anyio does so). A query that is
    broken off twice loses its connection; in its own task the stream is cancelled once.
    """
    handed: asyncio.Queue[T] = asyncio.Queue(1)

    async def run() -> None:
        async with aclosing(source):
            async for one in source:
                await handed.put(one)

    running = asyncio.create_task(run(), name="stream")
    getting: asyncio.Task[T] | None = None
    try:
        while True:
            getting = asyncio.create_task(handed.get())
            await asyncio.wait({getting, running}, return_when=asyncio.FIRST_COMPLETED)
            if handed.empty() and not getting.done():
                break
            yield await getting
        await running
    finally:
        if getting is not None:
            getting.cancel()
        ending = asyncio.create_task(end(running), name="end of a stream")
        _ending.add(ending)
        ending.add_done_callback(_ending.discard)

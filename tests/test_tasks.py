import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

import pytest

from batchyard import tasks


@pytest.mark.parametrize("lost", [0, 1, 2])
async def test_ends_what_loses_a_cancellation(monkeypatch: pytest.MonkeyPatch, lost: int) -> None:
    monkeypatch.setattr(tasks, "AGAIN_SECONDS", 0.01)

    async def stubborn() -> None:
        for _ in range(lost):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                continue
        await asyncio.sleep(60)

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)

    await tasks.end(task)

    assert task.cancelled()


async def test_ended_and_failed_tasks_are_ended_already() -> None:
    async def fail() -> None:
        raise ValueError

    failed = asyncio.create_task(fail())
    done = asyncio.create_task(asyncio.sleep(0))
    await asyncio.wait({failed, done})

    await tasks.end(failed, done)


async def read(stream: AsyncIterator[int], seen: list[int]) -> None:
    async for one in stream:
        seen.append(one)  # noqa: PERF401  # what was read before a fault counts


async def test_stream_is_relayed_to_its_end_and_its_fault() -> None:
    async def count() -> AsyncGenerator[int, None]:
        for n in range(5):
            yield n
        raise ValueError("no more")

    seen: list[int] = []
    with pytest.raises(ValueError, match="no more"):
        await read(tasks.relay(count()), seen)

    assert seen == [0, 1, 2, 3, 4]


async def test_stream_is_cancelled_once_however_often_its_reader_is() -> None:
    asking, ended = asyncio.Event(), asyncio.Event()
    cancelled = 0

    async def ask() -> AsyncGenerator[int, None]:
        nonlocal cancelled
        yield 1
        asking.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled += 1
            try:
                # As a query does, whose end PostgreSQL is asked for.
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                cancelled += 1
            ended.set()
            raise

    reading = asyncio.create_task(read(tasks.relay(ask()), []))
    async with asyncio.timeout(30):
        await asking.wait()
        for _ in range(10):
            reading.cancel()
            await asyncio.sleep(0)
        await ended.wait()

    assert reading.cancelled()
    assert cancelled == 1

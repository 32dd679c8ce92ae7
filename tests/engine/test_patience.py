import asyncio

import pytest

from batchyard.engine.patience import Patience


async def test_what_takes_too_long_ends_with_a_timeout() -> None:
    patience = Patience()

    async def wait(seconds: float) -> str:
        try:
            with patience.within(0.05):
                await asyncio.sleep(seconds)
        except TimeoutError:
            return "too long"
        return "in time"

    found = list(await asyncio.gather(wait(0), wait(60), wait(0.001), wait(60)))
    # The timer was still running for those that ended; the next line starts anew.
    found += [await wait(0), await wait(60)]

    assert found == ["in time", "too long", "in time", "too long", "in time", "too long"]


async def test_waits_of_other_lengths_have_timers_of_their_own() -> None:
    patience, ended = Patience(), list[float]()

    async def wait(limit: float) -> None:
        with pytest.raises(TimeoutError), patience.within(limit):
            await asyncio.sleep(60)
        ended.append(limit)

    await asyncio.gather(wait(0.2), wait(0.01), wait(0.1))

    assert ended == [0.01, 0.1, 0.2]


async def test_a_cancellation_from_outside_stays_one() -> None:
    patience = Patience()

    async def wait() -> None:
        with patience.within(60):
            await asyncio.sleep(60)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    async def swallow() -> str:
        with patience.within(0.01):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                return "went on"
        return ""

    assert await swallow() == "went on"
    # Taken back: nothing is left that would break off what comes next.
    current = asyncio.current_task()
    assert current is not None
    assert current.cancelling() == 0

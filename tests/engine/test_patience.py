import asyncio

import pytest

from batchyard.engine.patience import Patience


async def test_what_takes_too_long_ends_with_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    patience, loop = Patience(), asyncio.get_running_loop()
    now = loop.time()
    # It stands still, so that nothing is late because the machine was busy.
    monkeypatch.setattr(loop, "time", lambda: now)

    async def wait(turns: int | None) -> str:
        """Let others run so often, or wait for ever."""
        try:
            with patience.within(0.05):
                for _ in range(turns or 0):
                    await asyncio.sleep(0)
                if turns is None:
                    await asyncio.Event().wait()
        except TimeoutError:
            return "too long"
        return "in time"

    quick, long, slower, last = [asyncio.create_task(wait(n)) for n in (1, None, 3, None)]
    assert (await quick, await slower) == ("in time", "in time")
    assert not long.done()
    # The timer was still running for those that ended; the next line starts anew.
    now += 0.05
    assert (await long, await last) == ("too long", "too long")
    assert await wait(1) == "in time"
    again = asyncio.create_task(wait(None))
    await asyncio.sleep(0)
    now += 0.05
    assert await again == "too long"


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

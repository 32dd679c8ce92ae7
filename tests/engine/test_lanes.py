"""Lanes serve everything once, in order, side by side where something has to wait."""

import asyncio

from batchyard.engine.lanes import BREATH, Lanes


async def test_answers_at_once_need_one_lane() -> None:
    served: list[int] = []
    lanes_used: set[asyncio.Task[object] | None] = set()

    async def serve(item: int) -> None:
        served.append(item)
        lanes_used.add(asyncio.current_task())

    lanes = Lanes(serve, ended=lambda: None)
    lanes.put(*range(BREATH))
    await lanes.finished()
    assert served == list(range(BREATH))
    assert len(lanes_used) == 1


async def test_event_loop_is_held_up_by_one_lane_at_a_time() -> None:
    """However many lanes had to wait, or were opened for the rest."""
    rounds: list[int] = []
    served = 0

    async def serve(item: int) -> None:
        nonlocal served
        served += 1
        if item < 5:
            await asyncio.sleep(0)

    lanes = Lanes(serve, ended=lambda: None)
    lanes.put(*range(10 * BREATH))
    while sum(rounds) < 10 * BREATH:
        before = served
        await asyncio.sleep(0)
        rounds.append(served - before)
    assert max(rounds) <= BREATH + 1
    await lanes.finished()


async def test_item_that_waits_holds_up_no_other() -> None:
    served: list[int] = []
    release = asyncio.Event()

    async def serve(item: int) -> None:
        if item % 2:
            await release.wait()
        served.append(item)

    ended: list[int] = []
    lanes = Lanes(serve, ended=lambda: ended.append(1))
    for item in range(20):
        lanes.put(item)
    for _ in range(30):
        await asyncio.sleep(0)
    assert served == list(range(0, 20, 2))
    assert len(ended) == 10
    release.set()
    await lanes.finished()
    assert sorted(served) == list(range(20))


async def test_item_that_breaks_takes_no_other_with_it() -> None:
    served: list[int] = []
    ended: list[int] = []

    async def serve(item: int) -> None:
        if item == 1:
            raise RuntimeError("broken")
        served.append(item)

    lanes = Lanes(serve, ended=lambda: ended.append(1))
    for item in range(4):
        lanes.put(item)
    await lanes.finished()
    assert served == [0, 2, 3]
    assert len(ended) == 4


async def test_broken_off_lanes_begin_nothing_more() -> None:
    begun: list[int] = []

    async def serve(item: int) -> None:
        begun.append(item)
        await asyncio.Event().wait()

    lanes = Lanes(serve, ended=lambda: None)
    for item in range(5):
        lanes.put(item)
    await asyncio.sleep(0)
    await lanes.break_off()
    assert begun == [0]
    await lanes.finished()
    assert begun == [0]

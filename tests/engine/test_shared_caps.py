"""Teams that wait for one provider share its cap by weight, and none of it lies idle."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from batchyard import limits as rules
from batchyard.engine import turn, worker
from batchyard.models import Accepted, Answer, Ended, Kind, Request
from batchyard.operations import limits
from batchyard.store import queue
from tests.clocks import StandingClock
from tests.engine.conftest import Yard, make_team
from tests.engine.test_control import find_team

LIVE = "SELECT count(*) = %s FROM items WHERE phase = 'live' AND team_id = %s"
HELD_BY = "SELECT held_by FROM wakes WHERE team_id = %s"
RESTS = (
    "SELECT is_capped AND wake_at = 'infinity' AND held_by = '{1}' FROM wakes WHERE team_id = %s"
)

DEALS = 13
IN_A_DEAL = datetime(2026, 6, 1, 12, tzinfo=UTC) + timedelta(seconds=rules.SHARE_SECONDS / 2)


@pytest.fixture
async def yards(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> list[Yard]:
    """Lend two teams, and nobody who wakes them just to be sure."""

    async def sweep_nobody(*_: object, **__: object) -> int:
        return 0

    monkeypatch.setattr(queue, "sweep_sleepers", sweep_nobody)
    return [yard, Yard(yard.db, await make_team(yard.db))]


async def set_cap(yard: Yard, cap: int) -> None:
    await limits.set_limit(yard.db, scope="provider:sandbox", concurrency=cap, rates=[])


async def set_weights(yards: Sequence[Yard], weights: Sequence[int]) -> None:
    for one, weight in zip(yards, weights, strict=True):
        team = await find_team(one)
        await limits.set_limit(
            one.db, scope=f"team:{team.slug}", concurrency=None, rates=[], weight=weight
        )


class Calls:
    """Calls that ring until they are told to end, or for a time."""

    def __init__(self, yard: Yard, *, seconds: float | None = None) -> None:
        self.yard = yard
        self.seconds = seconds
        self.live: list[Request] = []
        self.most = 0
        """How many were out at once."""
        self.ended: Counter[UUID] = Counter()

    async def ring(self, request: Request) -> Answer:
        self.live.append(request)
        self.most = max(self.most, len(self.live))
        if self.seconds is not None:
            asyncio.get_running_loop().call_later(self.seconds, self.end, request)
        return Accepted(reference=request.key)

    async def until_out(self, number: int) -> None:
        async with asyncio.timeout(20):
            while len(self.live) < number:  # noqa: ASYNC110  # a list sends no signal
                await asyncio.sleep(0.01)

    def end(self, request: Request) -> None:
        self.live.remove(request)
        self.ended[request.batch_id] += 1
        self.yard.provider.report(request.key, Ended(status="completed"))


async def wake_all(yards: Sequence[Yard]) -> None:
    for one in yards:
        async with one.db.transaction() as conn:
            await queue.wake(conn, team_id=one.team_id, now=one.db.clock())


@pytest.mark.parametrize("cap,weights", [(4, (1, 1)), (4, (1, 3)), (1, (1, 1)), (3, (2, 1))])
async def test_teams_share_a_providers_cap_by_weight(
    yards: list[Yard], cap: int, weights: tuple[int, int]
) -> None:
    first, second = yards
    clock = first.db.clock = StandingClock(IN_A_DEAL)
    calls = Calls(first)
    first.provider.script = calls.ring
    await set_cap(first, cap)
    await set_weights(yards, weights)
    await first.make_batch(items=200, kind=Kind.CALL)
    batch_id = await second.make_batch(items=200, kind=Kind.CALL)
    due, had = weights[1] / sum(weights), 0
    async with first.working():
        await calls.until_out(cap)
        for deal in range(DEALS):
            # Both wait for the whole cap.
            for one in yards:
                await one.until(RESTS, [one.team_id])
            clock.set(IN_A_DEAL + timedelta(seconds=deal * rules.SHARE_SECONDS))
            for request in list(calls.live):
                calls.end(request)
            if cap < len(yards):
                # No more are woken than there is room for: that may be whose deal it is not, and
                # the next one does not come by itself here.
                await wake_all(yards)
            await calls.until_out(cap)
            part = sum(request.batch_id == batch_id for request in calls.live)
            assert abs(part - due * cap) < 1
            had += part
    assert due - 0.15 <= had / (cap * DEALS) <= due + 0.15
    assert calls.most == cap


async def test_room_that_one_team_leaves_goes_at_once_to_one_that_rests(yards: list[Yard]) -> None:
    first, second = yards
    calls = Calls(first)
    first.provider.script = calls.ring
    await set_cap(first, 4)
    await first.make_batch(items=4, kind=Kind.CALL)
    async with first.working():
        await first.until(LIVE, [4, first.team_id])
        await second.make_batch(items=10, kind=Kind.CALL)
        await second.until(RESTS, [second.team_id])
        for request in list(calls.live):
            calls.end(request)
        await second.until(LIVE, [4, second.team_id])


async def test_team_that_wants_no_more_leaves_its_share_to_the_others(yards: list[Yard]) -> None:
    first, second = yards
    calls = Calls(first)
    first.provider.script = calls.ring
    await set_cap(first, 4)
    batch_id = await first.make_batch(items=50, kind=Kind.CALL)
    async with first.working():
        await first.until(LIVE, [4, first.team_id])
        waiting = await second.make_batch(items=10, kind=Kind.CALL)
        await second.until(RESTS, [second.team_id])
        async with second.db.transaction() as conn:
            await conn.execute("UPDATE batches SET state = 'paused' WHERE id = %s", (waiting,))
        for request in list(calls.live):
            calls.end(request)
        await first.until(
            "SELECT count(*) = 4 FROM items WHERE phase = 'done' AND batch_id = %s", [batch_id]
        )
        await first.until(LIVE, [4, first.team_id])
        held_by = await first.value(HELD_BY, [second.team_id])
        assert held_by == []
    assert {request.batch_id for request in first.provider.sent} == {batch_id}


async def test_lone_team_uses_the_whole_cap(yard: Yard) -> None:
    calls = Calls(yard, seconds=0.05)
    yard.provider.script = calls.ring
    await set_cap(yard, 6)
    batch_id = await yard.make_batch(items=100, kind=Kind.CALL)
    async with yard.working():
        async with asyncio.timeout(60):
            while calls.ended.total() < 100:  # noqa: ASYNC110  # a counter sends no signal
                await asyncio.sleep(0.01)
        assert await yard.until_ended(batch_id) == "completed"
        await yard.until("SELECT held_by = '{}' FROM wakes")
    assert calls.most == 6


async def test_teams_without_a_turn_leave_no_part_of_a_cap_idle(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "TURNS_AT_ONCE", 2)
    monkeypatch.setattr(turn, "TURN_SECONDS", 0.3)
    cap = 6
    yards = [yard, *[Yard(yard.db, await make_team(yard.db)) for _ in range(cap - 1)]]
    calls = Calls(yard, seconds=0.2)
    yard.provider.script = calls.ring
    await set_cap(yard, cap)
    batch_ids = [await one.make_batch(items=3000, kind=Kind.CALL) for one in yards]
    async with yard.working(), asyncio.timeout(60):
        while len(calls.ended) < len(batch_ids):  # noqa: ASYNC110  # a counter sends no signal
            await asyncio.sleep(0.02)
        calls.most = 0
        # The two that are served have their part and those of the four that wait; with their part
        # alone they would have two calls out, and four while one turn follows another.
        while calls.most < cap:  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.02)

"""A batch whose time came while nothing ran starts at once, where its windows allow."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from batchyard.models import Kind
from batchyard.operations import batches
from tests.clocks import SetClock
from tests.engine.calls import DANE, called, due_at, find_team, make_calls, set_clock
from tests.engine.conftest import Yard
from tests.engine.test_brake import housekeeping

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
"""14:00 in Copenhagen, within the window of 9 to 20."""
MORNING = datetime(2026, 6, 2, 7, tzinfo=UTC)
"""Its next opening."""


async def schedule(yard: Yard) -> tuple[UUID, SetClock]:
    """Schedule a call for an hour later, while no worker runs."""
    clock = set_clock(yard, NOON)
    batch_id = await make_calls(yard, [DANE])
    async with yard.db.transaction() as conn:
        await conn.execute("UPDATE batches SET state = 'open'")
    await batches.schedule_batch(
        yard.db,
        team=await find_team(yard),
        kind=Kind.CALL,
        batch_id=batch_id,
        at=NOON + timedelta(hours=1),
    )
    return batch_id, clock


async def test_batch_whose_time_passed_starts_at_once(yard: Yard) -> None:
    batch_id, clock = await schedule(yard)
    clock.set(NOON + timedelta(hours=3))
    async with yard.working():
        assert await yard.until_ended(batch_id) == "completed"
    assert called(yard) == [DANE]
    (request,) = yard.provider.sent
    assert request.sent_at - (NOON + timedelta(hours=3)) < timedelta(minutes=1)


async def test_batch_whose_time_passed_waits_for_its_window(yard: Yard) -> None:
    batch_id, clock = await schedule(yard)
    clock.set(NOON + timedelta(hours=9))
    async with yard.working():
        await yard.until("SELECT count(*) = 1 FROM items WHERE status = 'rescheduled'")
        assert await yard.value("SELECT state FROM batches") in {"queued", "running"}
    assert called(yard) == []
    assert await due_at(yard, DANE) == MORNING
    clock.set(MORNING)
    async with yard.working():
        assert await yard.until_ended(batch_id) == "completed"
    assert called(yard) == [DANE]


async def test_batch_is_not_started_before_its_time(yard: Yard) -> None:
    batch_id, clock = await schedule(yard)
    other = await make_calls(yard, [DANE])
    async with yard.working():
        await yard.until_ended(other)
        assert (
            await yard.value("SELECT state FROM batches WHERE id = %s", [batch_id]) == "scheduled"
        )
    clock.set(NOON + timedelta(hours=1))
    async with yard.working():
        assert await yard.until_ended(batch_id) == "completed"
    assert called(yard) == [DANE, DANE]


MANY_DUE = """
INSERT INTO batches (id, team_id, kind, state, created_at, updated_at, scheduled_at)
SELECT gen_random_uuid(), %s, 'shipment', 'scheduled', %s, %s, %s FROM generate_series(1, 350)
"""


async def test_all_whose_time_came_while_nothing_ran_are_queued_at_once(yard: Yard) -> None:
    now = yard.db.clock()
    async with yard.db.transaction() as conn:
        await conn.execute(MANY_DUE, (yard.team_id, now, now, now))
    await housekeeping(yard).dispatch_scheduled()
    assert await yard.value("SELECT count(*) FROM batches WHERE state = 'scheduled'") == 0

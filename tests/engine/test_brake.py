"""What mostly fails pauses itself, says why, and tells it as an event."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from batchyard.engine.housekeeping import Housekeeping
from batchyard.engine.inquiry import Inquiry
from batchyard.engine.journal import Journal
from batchyard.models import Answer, Ended, Kind, Request
from batchyard.operations import changes, outcomes
from batchyard.operations.outcomes import Verdict
from batchyard.store import providers, tallies
from batchyard.store.tallies import Tally
from tests.engine.calls import set_clock
from tests.engine.conftest import OneLine, Yard, make_team
from tests.engine.test_control import find_team

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)

IS_PAUSED = "SELECT state = 'paused' AND wait_reason = 'brake' FROM batches WHERE id = %s"
WHY = "SELECT paused_reason FROM providers WHERE id = %s"
EVENTS = "SELECT count(*) FROM events WHERE type = %s AND team_id = %s"


def housekeeping(yard: Yard) -> Housekeeping:
    """Return the duties of a leader, to be done by hand."""
    grace = timedelta(hours=1)
    journal = Journal(yard.db, unknown_grace=grace, worker_id=1)
    inquiry = Inquiry(yard.db, journal, OneLine(yard.provider), unknown_grace=grace)
    return Housekeeping(yard.config, yard.db, inquiry)


async def add_provider(yard: Yard) -> int:
    """Add a provider that the team's shipments are routed to."""
    async with yard.db.transaction() as conn:
        provider_id = await providers.insert(
            conn,
            name="carrier",
            kind="http",
            settings={},
            secret=None,
            allow_private=False,
            now=yard.db.clock(),
        )
    assert provider_id is not None
    await route(yard, provider_id)
    return provider_id


async def route(yard: Yard, provider_id: int) -> None:
    async with yard.db.transaction() as conn:
        await providers.set_route(
            conn,
            team_id=yard.team_id,
            kind=Kind.SHIPMENT,
            agent_id=None,
            provider_id=provider_id,
        )


async def count(yard: Yard, scope: str, *, ok: int = 0, failed: int = 0) -> None:
    """Count attempts that ended just now."""
    async with yard.db.transaction() as conn:
        await tallies.add(conn, {scope: Tally(ok=ok, failed=failed)}, now=yard.db.clock())


async def make_running(yard: Yard) -> tuple[UUID, str]:
    """Make a batch that has items to send; return it, and what its attempts are counted by."""
    batch_id = await yard.make_batch(items=3, state="running")
    return batch_id, tallies.batch_scope(batch_id)


@pytest.mark.parametrize(
    "ok,failed,trips",
    [(0, 19, False), (0, 20, True), (10, 10, False), (9, 11, True), (999, 1001, True)],
)
async def test_brake_needs_twenty_attempts_of_which_more_than_half_failed(
    yard: Yard, ok: int, failed: int, trips: bool
) -> None:
    provider_id = await add_provider(yard)
    batch_id, scope = await make_running(yard)
    await count(yard, scope, ok=ok, failed=failed)
    await count(yard, tallies.provider_scope(provider_id), ok=ok, failed=failed)
    await housekeeping(yard).brake()
    assert await yard.value(IS_PAUSED, [batch_id]) is trips
    why = f"brake: {failed} of {ok + failed} attempts failed"
    assert await yard.value(WHY, [provider_id]) == (why if trips else None)


@pytest.mark.parametrize("seconds,trips", [(119, True), (121, False)])
async def test_brake_looks_back_two_minutes(yard: Yard, seconds: float, trips: bool) -> None:
    clock = set_clock(yard, NOON)
    provider_id = await add_provider(yard)
    batch_id, scope = await make_running(yard)
    for counted in (scope, tallies.provider_scope(provider_id)):
        await count(yard, counted, failed=10)
    clock.set(NOON + timedelta(seconds=60))
    for counted in (scope, tallies.provider_scope(provider_id)):
        await count(yard, counted, failed=10)
    clock.set(NOON + timedelta(seconds=seconds))
    await housekeeping(yard).brake()
    assert await yard.value(IS_PAUSED, [batch_id]) is trips
    assert (await yard.value(WHY, [provider_id]) is not None) is trips


async def test_brake_is_told_once_to_the_teams_that_are_routed_there(yard: Yard) -> None:
    provider_id = await add_provider(yard)
    stranger = await make_team(yard.db)
    batch_id, scope = await make_running(yard)
    for counted in (scope, tallies.provider_scope(provider_id)):
        await count(yard, counted, ok=1, failed=29)
    duties = housekeeping(yard)
    await duties.brake()
    await duties.brake()
    for type_ in ("batch.braked", "provider.braked"):
        assert await yard.value(EVENTS, [type_, yard.team_id]) == 1
        assert await yard.value(EVENTS, [type_, stranger]) == 0
    told = "SELECT data FROM events WHERE type = 'provider.braked'"
    assert await yard.value(told) == {"provider": "carrier", "attempts": 30, "failed": 29}
    told = "SELECT data FROM events WHERE type = 'batch.braked' AND batch_id = %s"
    assert await yard.value(told, [batch_id]) == {"attempts": 30, "failed": 29}


async def test_after_a_resume_only_new_attempts_count_against_a_provider(yard: Yard) -> None:
    clock = set_clock(yard, NOON)
    provider_id = await add_provider(yard)
    await count(yard, tallies.provider_scope(provider_id), failed=30)
    duties = housekeeping(yard)
    await duties.brake()
    clock.set(NOON + timedelta(seconds=30))
    async with yard.db.transaction() as conn:
        await providers.set_paused(conn, name="carrier", reason=None, now=yard.db.clock())
    await duties.brake()
    assert await yard.value(WHY, [provider_id]) is None
    clock.set(NOON + timedelta(seconds=50))
    await count(yard, tallies.provider_scope(provider_id), failed=20)
    await duties.brake()
    assert await yard.value(WHY, [provider_id]) == "brake: 20 of 20 attempts failed"


async def test_what_failed_before_a_decision_does_not_stop_what_is_tried_again(
    yard: Yard,
) -> None:
    clock = set_clock(yard, NOON)
    batch_id, scope = await make_running(yard)
    await count(yard, scope, failed=30)
    async with yard.db.transaction() as conn:
        await conn.execute(
            "UPDATE items SET phase = 'unknown', status = 'unknown', intent_at = %s", (NOON,)
        )
        await conn.execute("UPDATE batches SET state = 'failed', finished_at = %s", (NOON,))
    clock.set(NOON + timedelta(seconds=30))
    team, duties = await find_team(yard), housekeeping(yard)
    await outcomes.resolve_unknown(
        yard.db, team=team, verdict=Verdict.RETRY, actor="test", batch_id=batch_id
    )
    await duties.brake()
    assert await yard.value("SELECT state FROM batches WHERE id = %s", [batch_id]) == "running"
    clock.set(NOON + timedelta(seconds=60))
    await count(yard, scope, failed=20)
    await duties.brake()
    assert await yard.value(IS_PAUSED, [batch_id]) is True


async def test_brake_that_is_off_for_a_batch_leaves_it_running(yard: Yard) -> None:
    batch_id, scope = await make_running(yard)
    await count(yard, scope, failed=100)
    team, duties = await find_team(yard), housekeeping(yard)
    for has_brake in (False, True):
        await changes.change_batch(
            yard.db, team=team, kind=Kind.SHIPMENT, batch_id=batch_id, has_brake=has_brake
        )
        await duties.brake()
        assert await yard.value(IS_PAUSED, [batch_id]) is has_brake


async def test_failing_provider_is_sent_nothing_more_and_its_batches_say_why(yard: Yard) -> None:
    async def fail(_: Request) -> Answer:
        await asyncio.sleep(0.02)
        return Ended(status="failed", error_code="no_such_street", error_message="?")

    yard.provider.script = fail
    yard.config = yard.config.model_copy(update={"worker_slots": 5})
    async with yard.db.transaction() as conn:
        # The sandbox itself is never braked.
        await conn.execute("UPDATE providers SET kind = 'scripted' WHERE id = 1")
    await route(yard, 1)
    batch_id = await yard.make_batch(items=5000)
    async with yard.db.transaction() as conn:
        await conn.execute("UPDATE batches SET has_brake = false")
    async with yard.working():
        await yard.until("SELECT wait_reason = 'provider_paused' FROM batches")
        await yard.until("SELECT count(*) = 0 FROM items WHERE phase NOT IN ('ready', 'done')")
        sent = len(yard.provider.sent)
    assert str(await yard.value(WHY, [1])).startswith("brake: ")
    assert await yard.value("SELECT state FROM batches WHERE id = %s", [batch_id]) == "running"
    assert await yard.value(EVENTS, ["provider.braked", yard.team_id]) == 1
    assert 20 <= sent == len(yard.provider.sent) < 5000

"""A single look that decides nothing gives nothing up, however long ago the last news was."""

from datetime import datetime, timedelta
from uuid import UUID

import pytest

from batchyard.asking import ASK_PATIENCE
from batchyard.engine.inquiry import HOLD
from batchyard.lifecycle import LIVE_CHECK
from batchyard.models import (
    Accepted,
    Answer,
    Ended,
    Kind,
    Lost,
    Policy,
    Progress,
    Refused,
    Request,
)
from tests.clocks import StandingClock
from tests.engine.asking import SANDBOX, Lines, asking, make_overdue
from tests.engine.conftest import NOON, Yard

QUIET = timedelta(minutes=15)
"""So long a provider lets an item alone that has been live for long."""
LOST = Lost(code="http_503", message="Try later")

WRITTEN = "SELECT lease > %s AND deadline_at IS DISTINCT FROM %s FROM items"


def lose_when_asked(yard: Yard) -> None:
    yard.provider.promises(policy=Policy.ASKABLE, is_askable=True)
    yard.provider.answers_when_asked = lambda _: LOST


async def lose(_: Request) -> Answer:
    return LOST


async def look(yard: Yard, clock: StandingClock, at: datetime) -> None:
    """Look once, at this time, and wait until what it came to is written."""
    clock.set(at)
    lease = await yard.value("SELECT lease FROM items")
    async with asking(yard, Lines({SANDBOX: yard.provider})):
        await yard.until(WRITTEN, [lease, at + HOLD])


async def phase(yard: Yard) -> object:
    return await yard.value("SELECT phase FROM items")


@pytest.mark.parametrize("status", ["in-progress", "sending"])
async def test_one_look_in_vain_after_a_quiet_time_gives_nothing_up(
    yard: Yard, clock: StandingClock, status: str
) -> None:
    """Live it was left alone for long; lost, everything was down."""
    lose_when_asked(yard)
    await make_overdue(yard, status=status)
    first_at = NOON + QUIET
    await look(yard, clock, first_at)
    assert await phase(yard) != "unknown"
    assert await yard.value("SELECT deadline_at FROM items") == first_at + timedelta(seconds=1)

    await look(yard, clock, first_at + ASK_PATIENCE)
    assert await phase(yard) != "unknown"
    await look(yard, clock, first_at + ASK_PATIENCE + timedelta(minutes=2))
    assert await phase(yard) == "unknown"


async def test_patience_begins_anew_after_news(yard: Yard, clock: StandingClock) -> None:
    lose_when_asked(yard)
    await make_overdue(yard, status="initiated")
    await look(yard, clock, NOON + QUIET)
    yard.provider.answers_when_asked = lambda _: Accepted(status="ringing")
    await look(yard, clock, NOON + 2 * QUIET)
    assert await yard.value("SELECT undecided_since FROM items") is None
    lose_when_asked(yard)
    await look(yard, clock, NOON + 3 * QUIET + timedelta(hours=1))
    assert await phase(yard) == "live"


async def test_refused_repeats_cost_no_patience(yard: Yard, clock: StandingClock) -> None:
    """It is proven only that this repeat did nothing, so it goes on, more and more rarely."""

    async def refuse(_: Request) -> Answer:
        return Refused(code="connect_failed", message="Nobody there")

    yard.provider.promises(policy=Policy.REPEATABLE)
    yard.provider.script = refuse
    await make_overdue(yard)
    at, waits = NOON, []
    for _ in range(12):
        await look(yard, clock, at)
        due_at = await yard.value("SELECT deadline_at FROM items")
        assert isinstance(due_at, datetime)
        waits.append((due_at - at).total_seconds())
        at = due_at
    assert waits == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300, 300]
    assert at - NOON > 2 * ASK_PATIENCE

    yard.provider.script = lose
    await look(yard, clock, at)
    assert await phase(yard) == "calling"
    yard.provider.script = complete
    await look(yard, clock, at + timedelta(seconds=1))
    assert await phase(yard) == "done"


async def complete(_: Request) -> Answer:
    return Ended(status="completed")


async def test_refused_repeats_end_with_the_life_of_the_key(
    yard: Yard, clock: StandingClock
) -> None:
    async def refuse(_: Request) -> Answer:
        return Refused(code="http_429", message="Not now", retry_after_seconds=3600)

    yard.provider.promises(policy=Policy.REPEATABLE, key_ttl=timedelta(hours=2))
    yard.provider.script = refuse
    await make_overdue(yard)
    await look(yard, clock, NOON)
    assert await yard.value("SELECT deadline_at FROM items") == NOON + timedelta(hours=1)
    await look(yard, clock, NOON + timedelta(hours=1))
    assert await phase(yard) == "calling"
    await look(yard, clock, NOON + timedelta(hours=2))
    assert await phase(yard) == "unknown"
    assert len(yard.provider.sent) == 2


async def test_time_in_a_pause_costs_no_patience(yard: Yard, clock: StandingClock) -> None:
    yard.provider.promises(policy=Policy.REPEATABLE)
    yard.provider.script = lose
    batch_id = await make_overdue(yard)
    await look(yard, clock, NOON)
    await set_state(yard, batch_id, "paused")
    await look(yard, clock, NOON + timedelta(minutes=5))
    await set_state(yard, batch_id, "running")
    await look(yard, clock, NOON + timedelta(hours=3))
    assert await phase(yard) == "calling"
    assert len(yard.provider.sent) == 2


async def set_state(yard: Yard, batch_id: UUID, state: str) -> None:
    async with yard.db.transaction() as conn:
        await conn.execute("UPDATE batches SET state = %s WHERE id = %s", (state, batch_id))


async def test_live_item_that_cannot_be_asked_about_is_given_up_an_hour_after_its_last_news(
    yard: Yard, clock: StandingClock
) -> None:
    async def accept(_: Request) -> Answer:
        return Accepted()

    yard.provider.script = accept
    await yard.make_batch(items=1, kind=Kind.CALL)
    rings_at = NOON + timedelta(minutes=58)
    async with yard.working():
        await yard.until("SELECT status = 'initiated' FROM items")
        clock.set(rings_at)
        yard.report(yard.provider.sent[0].key, Progress(status="ringing"))
        await yard.until("SELECT status = 'ringing' FROM items")
    await look(yard, clock, NOON + LIVE_CHECK)
    assert await phase(yard) == "live"
    assert await yard.value("SELECT deadline_at FROM items") == rings_at + LIVE_CHECK
    assert await yard.value("SELECT error_code FROM item_data") is None
    await look(yard, clock, rings_at + LIVE_CHECK)
    assert await phase(yard) == "unknown"
    assert await yard.value("SELECT error_code FROM item_data") == "not_askable"

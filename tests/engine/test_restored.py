"""After a restore from a backup nothing is done a second time that the backup does not know of."""

from datetime import timedelta

import pytest

from batchyard.models import Answer, Ended, Finding, Kind, Lost, NotReceived, Policy, Request
from batchyard.operations import changes, control, outcomes, restore
from batchyard.operations.outcomes import Verdict
from batchyard.operations.restore import Restored
from tests.engine.asking import SANDBOX, make_overdue
from tests.engine.conftest import Yard
from tests.engine.test_control import find_team

pytestmark = pytest.mark.usefixtures("known_moves")


async def fail(_: Request) -> Answer:
    return Ended(status="failed", error_code="http_400")


async def lose(_: Request) -> Answer:
    return Lost(code="reset", message="Connection reset")


async def book(_: Request) -> Answer:
    return Ended(status="booked")


def second_is_booked(request: Request) -> Finding:
    """Know what was done after the backup: the second key."""
    return Ended(status="booked") if request.attempt == 2 else NotReceived()


async def bring_back(yard: Yard) -> Restored:
    """Take the database into use as if it came from a backup, with a provider that can be asked."""
    done = await restore.mark_restored(yard.db, silent_providers=[], default_provider=1)
    yard.provider.promises(
        policy=Policy.ASKABLE, is_askable=True, timeout=timedelta(milliseconds=50)
    )
    yard.provider.script = book
    yard.provider.answers_when_asked = second_is_booked
    yard.provider.sent.clear()
    return done


async def long_ago(yard: Yard) -> None:
    """Let the restore be so long ago that "not received" is believed."""
    async with yard.db.transaction() as conn:
        await conn.execute("UPDATE batches SET restored_at = restored_at - interval '1 minute'")


async def test_batch_that_had_ended_asks_when_it_is_tried_again(yard: Yard) -> None:
    yard.provider.script = fail
    batch_id = await yard.make_batch(items=2)
    async with yard.working():
        assert await yard.until_ended(batch_id) == "failed"
    done = await bring_back(yard)
    assert (done.batches, done.paused, done.unknown) == (0, 0, 0)
    assert await yard.value("SELECT state FROM batches") == "failed"
    async with yard.working():
        team = await find_team(yard)
        await changes.retry_failed(yard.db, team=team, kind=Kind.SHIPMENT, batch_id=batch_id)
        assert await yard.until_ended(batch_id) == "completed"
    assert yard.provider.sent == []
    assert await yard.counts(batch_id) == {"booked": 2}
    assert {request.since for request in yard.provider.asked} == {done.backup_at}


@pytest.mark.parametrize("is_known_there", [True, False])
async def test_key_that_a_person_ordered_is_asked_about_first(
    yard: Yard, *, is_known_there: bool
) -> None:
    """The one before was looked at; this one may have been ordered after the backup, too."""
    yard.provider.script = lose
    batch_id = await yard.make_batch(items=1)
    async with yard.working():
        await yard.until("SELECT phase = 'unknown' FROM items")
    await bring_back(yard)
    if not is_known_there:
        yard.provider.answers_when_asked = lambda _: NotReceived()
        await long_ago(yard)
    team = await find_team(yard)
    async with yard.working():
        await outcomes.resolve_unknown(
            yard.db, team=team, verdict=Verdict.RETRY, batch_id=batch_id, actor="cli:ann"
        )
        await control.resume_batch(yard.db, team=team, kind=Kind.SHIPMENT, batch_id=batch_id)
        assert await yard.until_ended(batch_id) == "completed"
    assert [request.attempt for request in yard.provider.asked][-1] == 2
    assert len(yard.provider.sent) == (0 if is_known_there else 1)


async def test_what_a_stop_left_unsent_is_not_unknown_but_stopped(yard: Yard) -> None:
    batch_id = await yard.make_batch(items=3, state="stopped")
    done = await restore.mark_restored(yard.db, silent_providers=[1], default_provider=1)
    assert done.unknown == 0
    await control.end_stopped_items(yard.db)
    assert await yard.counts(batch_id) == {"stopped": 3}


async def test_absence_at_a_provider_that_promises_nothing_makes_unknown(yard: Yard) -> None:
    batch_id = await yard.make_batch(items=2, state="running")
    await bring_back(yard)
    await long_ago(yard)
    yard.provider.promises(policy=Policy.NEITHER)
    yard.provider.answers_when_asked = lambda request: (
        Ended(status="booked") if request.payload["n"] == 0 else NotReceived()
    )
    async with yard.working():
        team = await find_team(yard)
        await control.resume_batch(yard.db, team=team, kind=Kind.SHIPMENT, batch_id=batch_id)
        await yard.until("SELECT bool_and(phase IN ('done', 'unknown')) FROM items")
    assert await yard.counts(batch_id) == {"booked": 1, "unknown": 1}
    assert yard.provider.sent == []


@pytest.mark.parametrize("state", ["running", "stopped"])
async def test_key_under_way_is_not_sent_again_to_a_provider_that_is_to_get_none(
    yard: Yard, state: str
) -> None:
    """Also not where somebody opens a stopped batch again."""
    yard.provider.promises(policy=Policy.REPEATABLE, timeout=timedelta(milliseconds=50))
    batch_id = await make_overdue(yard, items=2)
    async with yard.db.transaction() as conn:
        await conn.execute("UPDATE batches SET state = %s", (state,))
    done = await restore.mark_restored(yard.db, silent_providers=[SANDBOX], default_provider=2)
    assert done.unknown == 2
    assert await yard.counts(batch_id) == {"unknown": 2}
    assert await yard.value("SELECT bool_and(deadline_at IS NULL) FROM items")
    reasons = "SELECT array_agg(DISTINCT error_code) FROM item_data"
    assert await yard.value(reasons) == ["restored"]


async def test_retry_that_may_have_been_sent_has_no_result_of_the_attempt_before(
    yard: Yard,
) -> None:
    await yard.make_batch(items=1, kind=Kind.CALL, state="running")
    async with yard.db.transaction() as conn:
        await conn.execute("UPDATE items SET status = 'retrying', try = 2")
        await conn.execute("UPDATE item_data SET result = '{\"rings\": 3}'")
    done = await restore.mark_restored(yard.db, silent_providers=[SANDBOX], default_provider=1)
    assert done.unknown == 1
    assert await yard.value("SELECT result FROM item_data") is None


async def test_key_under_way_elsewhere_is_left_to_be_found_out(yard: Yard) -> None:
    batch_id = await make_overdue(yard, items=2)
    done = await restore.mark_restored(yard.db, silent_providers=[2], default_provider=2)
    assert done.unknown == 0
    assert await yard.counts(batch_id) == {"sending": 2}


async def test_what_a_person_orders_long_after_a_restore_is_sent(yard: Yard) -> None:
    """Its provider knows no key of the backup's time any more, and cannot be asked.

    The first retry may be one that was sent after the backup; who decides about it looked.
    """
    yard.provider.script = fail
    batch_id = await yard.make_batch(items=2)
    async with yard.working():
        assert await yard.until_ended(batch_id) == "failed"
    await bring_back(yard)
    yard.provider.promises(
        policy=Policy.REPEATABLE, is_askable=False, key_ttl=timedelta(minutes=10)
    )
    async with yard.db.transaction() as conn:
        await conn.execute("UPDATE batches SET backup_at = backup_at - interval '1 hour'")
    team = await find_team(yard)
    async with yard.working():
        await changes.retry_failed(yard.db, team=team, kind=Kind.SHIPMENT, batch_id=batch_id)
        await yard.until("SELECT bool_and(phase = 'unknown') FROM items")
        assert yard.provider.sent == []
        await outcomes.resolve_unknown(
            yard.db, team=team, verdict=Verdict.RETRY, batch_id=batch_id, actor="cli:ann"
        )
        assert await yard.until_ended(batch_id) == "completed"
    assert await yard.counts(batch_id) == {"booked": 2}
    assert [request.attempt for request in yard.provider.sent] == [3, 3]

"""A person steers: pause, resume, stop, resolve, restore."""

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from batchyard.clock import monotonic
from batchyard.engine.runner import EXPRESS_SHARE
from batchyard.errors import Conflict, InvalidRequest, NotFound
from batchyard.models import Answer, Ended, Finding, Kind, Lost, NotReceived, Policy, Request, Team
from batchyard.operations import changes, control, outcomes, restore
from batchyard.operations.outcomes import Verdict
from batchyard.store import teams
from tests.engine.conftest import Yard

pytestmark = pytest.mark.usefixtures("known_moves")


async def find_team(yard: Yard) -> Team:
    async with yard.db.pool.connection() as conn:
        team = await teams.find_by_id(conn, team_id=yard.team_id)
    assert team is not None
    return team


async def lose(_: Request) -> Answer:
    return Lost(code="reset", message="Connection reset")


async def slowly(_: Request) -> Answer:
    await asyncio.sleep(0.02)
    return Ended(status="booked")


async def resolve(yard: Yard, batch_id: UUID, verdict: Verdict) -> int:
    return await outcomes.resolve_unknown(
        yard.db, team=await find_team(yard), verdict=verdict, actor="test", batch_id=batch_id
    )


async def test_stop_ends_what_was_not_sent(yard: Yard) -> None:
    yard.config = yard.config.model_copy(update={"worker_slots": 10})
    yard.provider.script = slowly
    batch_id = await yard.make_batch(items=3000)
    team = await find_team(yard)
    async with yard.working():
        await yard.until("SELECT count(*) > 20 FROM items WHERE phase = 'done'")
        await control.stop_batch(yard.db, team=team, kind=Kind.SHIPMENT, batch_id=batch_id)
        await yard.until("SELECT count(*) = 3000 FROM items WHERE phase = 'done'")
    counts = await yard.counts(batch_id)
    assert counts["booked"] == len(yard.provider.sent)
    assert counts["stopped"] == 3000 - counts["booked"]


async def test_cancelled_batch_ends_and_nothing_of_it_is_sent(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "BLOCK", 2)
    batch_id = await yard.make_batch(items=5, state="open")
    team = await find_team(yard)
    async with yard.working():
        await control.cancel_batch(yard.db, team=team, kind=Kind.SHIPMENT, batch_id=batch_id)
        await yard.until("SELECT count(*) = 5 FROM items WHERE phase = 'done'")
    assert await yard.counts(batch_id) == {"canceled": 5}
    assert yard.provider.sent == []


async def test_paused_batch_goes_on_where_it_was(yard: Yard) -> None:
    yard.config = yard.config.model_copy(update={"worker_slots": 10})
    yard.provider.script = slowly
    batch_id = await yard.make_batch(items=200)
    team = await find_team(yard)
    async with yard.working():
        await yard.until("SELECT count(*) > 20 FROM items WHERE phase = 'done'")
        await control.pause_batch(yard.db, team=team, kind=Kind.SHIPMENT, batch_id=batch_id)
        await yard.until("SELECT count(*) = 0 FROM items WHERE phase NOT IN ('ready', 'done')")
        await control.resume_batch(yard.db, team=team, kind=Kind.SHIPMENT, batch_id=batch_id)
        assert await yard.until_ended(batch_id) == "completed"
    assert set(yard.provider.effects.values()) == {1}


@pytest.mark.parametrize("policy", [Policy.REPEATABLE, Policy.NEITHER])
async def test_nothing_is_sent_a_second_after_a_pause_was_answered(
    yard: Yard, policy: Policy
) -> None:
    began_at: list[float] = []

    async def note(_: Request) -> Answer:
        began_at.append(monotonic())
        await asyncio.sleep(0.05)
        return Ended(status="booked")

    slots = 60
    yard.config = yard.config.model_copy(update={"worker_slots": slots})
    yard.provider.promises(policy=policy)
    yard.provider.script = note
    batch_id = await yard.make_batch(items=20_000)
    team = await find_team(yard)
    async with yard.working(), yard.working():
        await yard.until("SELECT count(*) > 500 FROM items WHERE phase = 'done'")
        await control.pause_batch(yard.db, team=team, kind=Kind.SHIPMENT, batch_id=batch_id)
        answered_at = monotonic()
        assert yard.provider.most_busy >= slots - slots // EXPRESS_SHARE
        await yard.until("SELECT count(*) = 0 FROM items WHERE phase NOT IN ('ready', 'done')")
        # Another wake of the team finds nothing that may be sent.
        single = await yard.make_batch(items=1, is_single=True)
        await yard.until_ended(single)
    # The last one is the single's.
    assert sorted(began_at)[-2] <= answered_at + 1
    assert (await yard.counts(batch_id))["waiting"] > 10_000


async def test_control_in_a_wrong_state_changes_nothing(yard: Yard) -> None:
    batch_id = await yard.make_batch(items=1)
    team = await find_team(yard)
    with pytest.raises(Conflict):
        await control.resume_batch(yard.db, team=team, kind=Kind.SHIPMENT, batch_id=batch_id)
    with pytest.raises(NotFound):
        await control.pause_batch(yard.db, team=team, kind=Kind.CALL, batch_id=batch_id)
    assert await yard.value("SELECT state FROM batches") == "queued"


@pytest.mark.parametrize(
    "verdict,status,state",
    [(Verdict.DONE, "booked", "completed"), (Verdict.FAILED, "failed", "failed")],
)
async def test_resolution_corrects_an_ended_batch(
    yard: Yard, verdict: Verdict, status: str, state: str
) -> None:
    yard.provider.script = lose
    yard.config = yard.config.model_copy(update={"unknown_grace_seconds": 0})
    batch_id = await yard.make_batch(items=3)
    async with yard.working():
        await yard.until_ended(batch_id)
    assert await resolve(yard, batch_id, verdict) == 3
    assert await yard.counts(batch_id) == {status: 3}
    assert await yard.value("SELECT state FROM batches") == state
    assert (
        await yard.value("SELECT data ->> 'items' FROM events WHERE type = 'items.resolved'") == "3"
    )
    assert await resolve(yard, batch_id, verdict) == 0


async def test_retry_of_an_unknown_item_sends_a_new_key(yard: Yard) -> None:
    yard.provider.script = lose
    yard.config = yard.config.model_copy(update={"unknown_grace_seconds": 0})
    batch_id = await yard.make_batch(items=2)
    async with yard.working():
        await yard.until_ended(batch_id)
        yard.provider.script = slowly
        assert await resolve(yard, batch_id, Verdict.RETRY) == 2
        await yard.until("SELECT state = 'completed' FROM batches")
    assert await yard.counts(batch_id) == {"booked": 2}
    assert sorted(key[-2:] for key in yard.provider.effects) == [".1", ".1", ".2", ".2"]


async def test_late_answer_still_ends_an_unknown_item(yard: Yard) -> None:
    yard.provider.script = lose
    batch_id = await yard.make_batch(items=1)
    async with yard.working():
        await yard.until("SELECT count(*) = 1 FROM items WHERE phase = 'unknown'")
        yard.report(yard.provider.sent[0].key, Ended(status="booked"))
        assert await yard.until_ended(batch_id) == "completed"


async def test_restored_database_asks_or_waits_for_a_person(yard: Yard) -> None:
    team = await find_team(yard)
    batch_id = await yard.make_batch(items=4, state="running")
    silent = await restore.mark_restored(yard.db, silent_providers=[1], default_provider=1)
    assert (silent.batches, silent.paused, silent.unknown) == (1, 1, 4)
    assert await yard.counts(batch_id) == {"unknown": 4}

    asked = await yard.make_batch(items=4, state="running")
    again = await restore.mark_restored(yard.db, silent_providers=[], default_provider=1)
    assert again.unknown == 0

    def known(request: Request) -> Finding:
        return Ended(status="booked") if request.payload["n"] == 0 else NotReceived()

    yard.provider.promises(
        policy=Policy.ASKABLE, is_askable=True, timeout=timedelta(milliseconds=50)
    )
    yard.provider.answers_when_asked = known
    async with yard.working():
        await control.resume_batch(yard.db, team=team, kind=Kind.SHIPMENT, batch_id=asked)
        assert await yard.until_ended(asked) == "completed"
    assert sorted({int(str(request.payload["n"])) for request in yard.provider.sent}) == [1, 2, 3]
    assert set(yard.provider.effects.values()) == {1}


async def test_failed_items_are_retried_under_new_keys(yard: Yard) -> None:
    async def fail_odd(request: Request) -> Answer:
        odd = int(str(request.payload["n"])) % 2 == 1
        return Ended(status="failed" if odd and request.attempt == 1 else "booked")

    yard.provider.script = fail_odd
    batch_id = await yard.make_batch(items=10)
    team = await find_team(yard)
    async with yard.working():
        await yard.until_ended(batch_id)
        assert await yard.counts(batch_id) == {"booked": 5, "failed": 5}
        again = await changes.retry_failed(
            yard.db, team=team, kind=Kind.SHIPMENT, batch_id=batch_id
        )
        assert again == 5
        await yard.until("SELECT state = 'completed' FROM batches")
        await yard.until("SELECT count(*) = 10 FROM items WHERE status = 'booked'")
    assert set(yard.provider.effects.values()) == {1}
    longest = "SELECT max(jsonb_array_length(attempts)) FROM item_data"
    assert await yard.value(longest) == 2


async def test_unknown_items_are_not_retried_with_the_failed(yard: Yard) -> None:
    yard.provider.script = lose
    yard.config = yard.config.model_copy(update={"unknown_grace_seconds": 0})
    batch_id = await yard.make_batch(items=3)
    async with yard.working():
        await yard.until_ended(batch_id)
    team = await find_team(yard)
    retried = await changes.retry_failed(yard.db, team=team, kind=Kind.SHIPMENT, batch_id=batch_id)
    assert retried == 0
    with pytest.raises(InvalidRequest):
        await changes.retry_failed(
            yard.db, team=team, kind=Kind.SHIPMENT, batch_id=batch_id, statuses=["booked"]
        )


async def test_priority_and_retries_change_while_a_batch_runs(yard: Yard) -> None:
    batch_id = await yard.make_batch(items=3)
    team = await find_team(yard)
    await changes.change_batch(
        yard.db, team=team, kind=Kind.SHIPMENT, batch_id=batch_id, priority=9, has_brake=False
    )
    assert await yard.value("SELECT (priority, has_brake)::text FROM batches") == "(9,f)"
    with pytest.raises(InvalidRequest):
        await changes.change_batch(
            yard.db, team=team, kind=Kind.SHIPMENT, batch_id=batch_id, priority=10
        )

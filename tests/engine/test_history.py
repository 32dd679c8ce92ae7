"""What an item remembers of each of its attempts."""

from datetime import UTC, datetime, timedelta

import pytest

from batchyard.models import (
    Accepted,
    Answer,
    Ended,
    Kind,
    Lost,
    Policy,
    Refused,
    Request,
    RetryPolicy,
    key_of,
)
from batchyard.operations import changes, control, corrections, outcomes, waiting
from batchyard.operations.outcomes import Verdict
from batchyard.operations.waiting import Waiting
from batchyard.store.corrections import Correction
from tests.clocks import StandingClock
from tests.engine.conftest import Yard
from tests.engine.test_control import find_team
from tests.engine.test_halts import Desk

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
RINGING, SPEAKING = timedelta(seconds=5), timedelta(seconds=7)


async def history(yard: Yard) -> list[dict[str, object]]:
    """Return the only item's attempts, with their times read."""
    found = await yard.value("SELECT attempts FROM item_data")
    assert isinstance(found, list)
    for entry in found:
        for name in ("sent_at", "ended_at"):
            entry[name] = datetime.fromisoformat(entry[name])
    return found


async def test_history_has_everything_of_both_attempts_of_a_call(yard: Yard) -> None:
    async def accept(request: Request) -> Answer:
        return Accepted(reference=f"ref-{request.attempt}")

    clock = StandingClock(NOON)
    yard.db.clock = clock
    yard.provider.script = accept
    policy = RetryPolicy(statuses=("busy",), max_retries=1, intervals_minutes=(1,))
    batch_id = await yard.make_batch(items=1, kind=Kind.CALL, retry_policy=policy)
    async with yard.working():
        await yard.until("SELECT phase = 'live' FROM items")
        clock.set(NOON + RINGING)
        # The end names no reference, and the item, ready again, has none any more.
        busy = Ended(status="busy", error_code="486", error_message="Busy here")
        yard.provider.report(yard.provider.sent[0].key, busy)
        await yard.until("SELECT phase = 'ready' AND try = 2 FROM items")
    assert await yard.value("SELECT provider_reference FROM item_data") is None
    due_at = NOON + RINGING + timedelta(minutes=1)
    assert await yard.value("SELECT due_at FROM items") == due_at

    clock.set(due_at)
    async with yard.working():
        await yard.until("SELECT phase = 'live' FROM items")
        clock.set(due_at + SPEAKING)
        completed = Ended(status="completed", reference="ref-2, in the end")
        yard.provider.report(yard.provider.sent[1].key, completed)
        assert await yard.until_ended(batch_id) == "completed"

    item_id = yard.provider.sent[0].item_id
    assert await history(yard) == [
        {
            "attempt": 1,
            "key": key_of(item_id, 1),
            "status": "busy",
            "sent_at": NOON,
            "ended_at": NOON + RINGING,
            "reference": "ref-1",
            "error_code": "486",
            "error_message": "Busy here",
        },
        {
            "attempt": 2,
            "key": key_of(item_id, 2),
            "status": "completed",
            "sent_at": due_at,
            "ended_at": due_at + SPEAKING,
            "reference": "ref-2, in the end",
            "error_code": None,
            "error_message": None,
        },
    ]


async def test_history_keeps_why_an_outcome_was_unknown_that_a_person_decided(yard: Yard) -> None:
    async def lose_first(request: Request) -> Answer:
        if request.attempt == 1:
            return Lost(code="reset", message="Connection reset")
        return Ended(status="booked", reference="ref-2")

    yard.provider.script = lose_first
    batch_id = await yard.make_batch(items=1)
    async with yard.working():
        await yard.until("SELECT phase = 'unknown' FROM items")
        team = await find_team(yard)
        await outcomes.resolve_unknown(
            yard.db, team=team, verdict=Verdict.RETRY, batch_id=batch_id, actor="cli:ann"
        )
        assert await yard.until_ended(batch_id) == "completed"
    first, second = await history(yard)
    assert (first["attempt"], first["status"]) == (1, "resolved as retry")
    assert (first["error_code"], first["error_message"]) == ("reset", "Connection reset")
    assert first["resolved_by"] == "cli:ann"
    assert (second["attempt"], second["status"], second["reference"]) == (2, "booked", "ref-2")


async def answer_each(request: Request) -> Answer:
    """Say something of the first attempt, and nothing of the second."""
    if request.attempt == 1:
        told = {"rings": 3, "batchyard": {"note": 1}}
        return Ended(status="busy", result=told)
    return Ended(status="failed", error_code="x")


async def test_attempt_that_another_follows_keeps_its_own_answer(yard: Yard) -> None:
    yard.provider.script = answer_each
    policy = RetryPolicy(statuses=("busy",), max_retries=1, intervals_minutes=(0.001,))
    batch_id = await yard.make_batch(items=1, kind=Kind.CALL, retry_policy=policy)
    async with yard.working():
        await yard.until_ended(batch_id)
    first, second = await history(yard)
    assert first["result"] == {"rings": 3}
    assert "result" not in second


@pytest.mark.parametrize(
    "second,phase",
    [
        (Accepted(), "live"),
        (Accepted(reference="ref-2"), "live"),
        (Lost(code="reset", message="Connection reset"), "unknown"),
    ],
)
async def test_answer_of_an_attempt_is_none_of_the_one_that_follows_it(
    yard: Yard, second: Answer, phase: str
) -> None:
    async def answer(request: Request) -> Answer:
        return Ended(status="busy", result={"rings": 3}) if request.attempt == 1 else second

    clock = yard.db.clock = StandingClock(NOON)
    yard.provider.script = answer
    policy = RetryPolicy(statuses=("busy",), max_retries=1, intervals_minutes=(1,))
    await yard.make_batch(items=1, kind=Kind.CALL, retry_policy=policy)
    async with yard.working():
        await yard.until("SELECT phase = 'ready' AND try = 2 FROM items")
    assert await yard.value("SELECT result FROM item_data") == {"rings": 3}
    clock.set(NOON + timedelta(minutes=1))
    async with yard.working():
        await yard.until("SELECT phase = %s FROM items", [phase])
    assert await yard.value("SELECT result FROM item_data") is None
    [first] = await history(yard)
    assert first["result"] == {"rings": 3}


@pytest.mark.parametrize("is_corrected", [True, False])
async def test_attempt_that_a_person_wants_anew_keeps_its_own_answer(
    yard: Yard, *, is_corrected: bool
) -> None:
    yard.provider.script = answer_each
    batch_id = await yard.make_batch(items=1, kind=Kind.CALL)
    async with yard.working():
        await yard.until_ended(batch_id)
        assert "result" not in (await history(yard))[0]
        team, item_id = await find_team(yard), yard.provider.sent[0].item_id
        if is_corrected:
            correction = Correction(
                item_id=item_id, payload={"n": 1}, number=None, reference=None, zone_set=None
            )
            await corrections.correct_item(yard.db, correction, team=team)
        else:
            await changes.retry_item(yard.db, team=team, item_id=item_id)
        await yard.until_ended(batch_id)
    first, second = await history(yard)
    assert first["result"] == {"rings": 3}
    assert (second["attempt"], "result" in second) == (2, False)


ERROR = "SELECT error_code || ': ' || error_message FROM item_data"
REFUSED = Refused(code="connect_failed", message="Nobody listens there.")


async def test_refused_item_says_why_while_it_waits_and_forgets_it_with_its_end(
    yard: Yard,
) -> None:
    async def refuse(_: Request) -> Answer:
        return REFUSED

    clock = yard.db.clock = StandingClock(NOON)
    yard.provider.script = refuse
    batch_id = await yard.make_batch(items=1)
    team = await find_team(yard)
    for _ in range(2):
        async with yard.working():
            await yard.until("SELECT phase = 'ready' AND due_at > %s FROM items", [clock()])
            assert await yard.value(ERROR) == "connect_failed: Nobody listens there."
            found = await waiting.explain_batch(yard.db, team=team, batch_id=batch_id)
        due_at = await yard.value("SELECT due_at FROM items")
        assert isinstance(due_at, datetime)
        told = "connect_failed: Nobody listens there."
        assert found == Waiting(reason="retry", until=due_at, error=told)
        assert await history(yard) == []
        clock.set(due_at)
    yard.provider.script = book
    async with yard.working():
        assert await yard.until_ended(batch_id) == "completed"
    assert await yard.value(ERROR) is None
    assert [entry["status"] for entry in await history(yard)] == ["booked"]


async def test_lost_answer_says_why_until_the_item_is_known_to_be_accepted(
    yard: Yard, clock: StandingClock
) -> None:
    yard.provider.promises(
        policy=Policy.ASKABLE, is_askable=True, timeout=timedelta(milliseconds=50)
    )
    yard.provider.script = lose
    yard.provider.answers_when_asked = lambda _: Lost(code="http_503", message="Try later")
    await yard.make_batch(items=1)
    async with yard.working():
        await yard.until("SELECT error_code = 'reset' FROM item_data")
        # Only time that passes lets anybody ask. It stays so little that nobody seems silent.
        clock.set(NOON + timedelta(seconds=3))
        await yard.until("SELECT error_code = 'http_503' FROM item_data")
        assert await yard.value("SELECT phase FROM items") == "calling"
        yard.provider.answers_when_asked = lambda _: Accepted()
        clock.set(NOON + timedelta(seconds=4))
        await yard.until("SELECT phase = 'live' FROM items")
    assert await yard.value(ERROR) is None
    assert await history(yard) == []


async def test_what_is_handed_back_unsent_keeps_what_it_met_last(yard: Yard) -> None:
    async def refuse(_: Request) -> Answer:
        return REFUSED

    clock = yard.db.clock = StandingClock(NOON)
    yard.provider.script = refuse
    batch_id = await yard.make_batch(items=1, kind=Kind.CALL)
    async with yard.working():
        await yard.until("SELECT phase = 'ready' AND due_at > %s FROM items", [NOON])
    clock.set(NOON + timedelta(minutes=1))
    desk = Desk(yard)
    await desk.take(items=1)
    team = await find_team(yard)
    await control.stop_batch(yard.db, team=team, kind=Kind.CALL, batch_id=batch_id)
    async with desk.writing():
        pass
    assert await yard.value(ERROR) == "connect_failed: Nobody listens there."
    # Its end is the stop, which is no error.
    await control.end_stopped_items(yard.db)
    assert await yard.counts(batch_id) == {"stopped": 1}
    assert await yard.value(ERROR) is None


async def lose(_: Request) -> Answer:
    return Lost(code="reset", message="Connection reset")


async def book(_: Request) -> Answer:
    return Ended(status="booked")

"""Items whose outcome cannot be found out are asked for ever more rarely, and not for ever."""

from datetime import timedelta

import pytest

from batchyard.config import Config
from batchyard.engine.journal import Journal
from batchyard.models import Answer, Ended, Kind, Lost, Policy, Request, RetryPolicy
from tests.engine.conftest import Yard


async def lose(_: Request) -> Answer:
    return Lost(code="reset", message="Connection reset")


def make_askable(yard: Yard) -> None:
    yard.provider.promises(
        policy=Policy.ASKABLE, is_askable=True, timeout=timedelta(milliseconds=100)
    )
    yard.provider.script = lose
    yard.provider.answers_when_asked = lambda _: Lost(code="http_503", message="Try later")


async def test_item_that_stays_undecided_becomes_unknown(yard: Yard) -> None:
    make_askable(yard)
    yard.provider.promises(ask_patience=timedelta(seconds=3))
    batch_id = await yard.make_batch(items=2)
    async with yard.working():
        await yard.until("SELECT count(*) = 2 FROM items WHERE phase = 'unknown'")
    assert await yard.counts(batch_id) == {"unknown": 2}
    assert len(yard.provider.asked) >= 4


async def test_undecided_item_is_asked_for_ever_more_rarely(yard: Yard) -> None:
    make_askable(yard)
    await yard.make_batch(items=1)
    async with yard.working():
        await yard.until("SELECT sends > 0 AND worker_id IS NULL FROM items")
        lost_at = await yard.value("SELECT updated_at FROM items")
        await yard.until("SELECT deadline_at - clock_timestamp() < '10 s' FROM items")
        while len(yard.provider.asked) < 3:
            await yard.until("SELECT deadline_at < clock_timestamp() + '0.1 s' FROM items")
        await yard.until("SELECT deadline_at - updated_at > '4 s' FROM items")
    assert await yard.value("SELECT updated_at FROM items") == lost_at


async def test_item_decided_in_the_end_is_no_longer_undecided(yard: Yard) -> None:
    make_askable(yard)
    yard.provider.answers_when_asked = lambda _: (
        Ended(status="booked") if len(yard.provider.asked) > 1 else Lost(code="x", message="x")
    )
    batch_id = await yard.make_batch(items=1)
    async with yard.working():
        assert await yard.until_ended(batch_id) == "completed"
    assert await yard.value("SELECT updated_at - intent_at > '2 s' FROM items") is True


async def test_late_answer_that_wants_a_retry_reopens_the_ended_batch(yard: Yard) -> None:
    yard.config = Config(stop_seconds=2, unknown_grace_seconds=0)
    yard.provider.script = lose
    policy = RetryPolicy(statuses=("busy",), max_retries=1, intervals_minutes=(0.001,))
    batch_id = await yard.make_batch(items=1, kind=Kind.CALL, retry_policy=policy)
    async with yard.working():
        assert await yard.until_ended(batch_id) == "completed"
        assert await yard.counts(batch_id) == {"unknown": 1}
        yard.provider.script = answer
        yard.provider.report(yard.provider.sent[0].key, Ended(status="busy"))
        await yard.until("SELECT phase = 'done' FROM items")
        assert await yard.until_ended(batch_id) == "completed"
    assert await yard.counts(batch_id) == {"completed": 1}
    assert [request.attempt for request in yard.provider.sent] == [1, 2]


async def answer(_: Request) -> Answer:
    return Ended(status="completed")


async def test_batch_that_ended_while_something_became_due_runs_again(yard: Yard) -> None:
    """A late answer made it due in a flush that the end of the batch did not see."""
    batch_id = await yard.make_batch(items=2)
    async with yard.db.transaction() as conn:
        await conn.execute("UPDATE batches SET state = 'completed', finished_at = now()")
    async with yard.working():
        await yard.until("SELECT bool_and(phase = 'done') FROM items")
        assert await yard.until_ended(batch_id) == "completed"
    assert await yard.counts(batch_id) == {"booked": 2}


@pytest.mark.parametrize("is_followed_up", [True, False])
async def test_late_booking_completes_the_batch_that_had_failed(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, is_followed_up: bool
) -> None:
    yard.config = Config(stop_seconds=2, unknown_grace_seconds=0)
    yard.provider.script = lose
    batch_id = await yard.make_batch(items=2)
    async with yard.working():
        assert await yard.until_ended(batch_id) == "failed"
        if not is_followed_up:
            # As if the process had died right after the commit: housekeeping mends it.
            monkeypatch.setattr(Journal, "_follow_up", nothing_follows)
        yard.provider.report(yard.provider.sent[0].key, Ended(status="booked"))
        await yard.until("SELECT state = 'completed' FROM batches")
    assert await yard.counts(batch_id) == {"booked": 1, "unknown": 1}


async def nothing_follows(*_: object) -> None:
    """Do nothing."""

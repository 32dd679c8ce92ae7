"""A worker runs batches to their end, each item once."""

import asyncio
from datetime import timedelta

import pytest

from batchyard.clock import monotonic
from batchyard.models import (
    Accepted,
    Answer,
    Ended,
    Finding,
    Kind,
    Lost,
    NotReceived,
    Policy,
    Progress,
    Refused,
    Request,
    RetryPolicy,
)
from tests.engine.conftest import Yard

pytestmark = pytest.mark.usefixtures("known_moves")


async def test_worker_ends_each_item_once(yard: Yard) -> None:
    batch_id = await yard.make_batch(items=1200)
    async with yard.working():
        assert await yard.until_ended(batch_id) == "completed"
    assert await yard.counts(batch_id) == {"booked": 1200}
    assert len(yard.provider.effects) == 1200
    assert set(yard.provider.effects.values()) == {1}


async def test_worker_ends_a_repeatable_batch(yard: Yard) -> None:
    yard.provider.promises(policy=Policy.REPEATABLE)
    batch_id = await yard.make_batch(items=1200)
    async with yard.working():
        assert await yard.until_ended(batch_id) == "completed"
    assert await yard.counts(batch_id) == {"booked": 1200}


async def test_worker_fails_a_batch_in_which_nothing_was_booked(yard: Yard) -> None:
    async def refuse(_: Request) -> Answer:
        return Ended(status="failed", error_code="address_refused", error_message="No such street")

    yard.provider.script = refuse
    batch_id = await yard.make_batch(items=3)
    async with yard.working():
        assert await yard.until_ended(batch_id) == "failed"
    codes = await yard.value("SELECT array_agg(DISTINCT error_code) FROM item_data")
    assert codes == ["address_refused"]


async def test_live_item_ends_by_report(yard: Yard) -> None:
    async def accept(request: Request) -> Answer:
        loop = asyncio.get_running_loop()
        for status in ("ringing", "in-progress", "ringing"):
            loop.call_soon(yard.provider.report, request.key, Progress(status=status))
        loop.call_soon(yard.provider.report, request.key, Ended(status="completed"))
        loop.call_soon(yard.provider.report, request.key, Ended(status="busy"))
        return Accepted(reference=f"ref-{request.item_id}")

    yard.provider.script = accept
    batch_id = await yard.make_batch(items=50, kind=Kind.CALL)
    async with yard.working():
        assert await yard.until_ended(batch_id) == "completed"
    assert await yard.counts(batch_id) == {"completed": 50}


async def test_busy_call_is_tried_again_under_a_new_key(yard: Yard) -> None:
    async def busy_first(request: Request) -> Answer:
        return Ended(status="busy" if request.attempt == 1 else "completed")

    yard.provider.script = busy_first
    policy = RetryPolicy(statuses=("busy",), max_retries=2, intervals_minutes=(0.001,))
    batch_id = await yard.make_batch(items=5, kind=Kind.CALL, retry_policy=policy)
    async with yard.working():
        assert await yard.until_ended(batch_id) == "completed"
    assert await yard.counts(batch_id) == {"completed": 5}
    assert set(yard.provider.effects.values()) == {1}
    assert len(yard.provider.effects) == 10
    history = await yard.value("SELECT jsonb_path_query_array(attempts, '$.status') FROM item_data")
    assert history == ["busy", "completed"]


async def test_refused_item_keeps_its_key(yard: Yard) -> None:
    async def refuse_first(request: Request) -> Answer:
        if yard.provider.effects[request.key] == 1:
            return Refused(code="too_many", message="Slow down", retry_after_seconds=0.05)
        return Ended(status="booked")

    yard.provider.script = refuse_first
    batch_id = await yard.make_batch(items=5)
    async with yard.working():
        assert await yard.until_ended(batch_id) == "completed"
    assert sorted(yard.provider.effects.values()) == [2] * 5


async def test_lost_answer_of_a_silent_provider_waits_for_a_person(yard: Yard) -> None:
    async def lose(_: Request) -> Answer:
        return Lost(code="reset", message="Connection reset")

    yard.provider.script = lose
    batch_id = await yard.make_batch(items=2)
    async with yard.working():
        await yard.until("SELECT count(*) = 2 FROM items WHERE phase = 'unknown'")
    assert await yard.counts(batch_id) == {"unknown": 2}
    assert set(yard.provider.effects.values()) == {1}


async def test_lost_answer_is_asked_for(yard: Yard) -> None:
    async def lose(_: Request) -> Answer:
        return Lost(code="reset", message="Connection reset")

    def found(_: Request) -> Finding:
        return Ended(status="booked")

    yard.provider.promises(policy=Policy.ASKABLE, is_askable=True, timeout=timedelta(0))
    yard.provider.script = lose
    yard.provider.answers_when_asked = found
    batch_id = await yard.make_batch(items=3)
    async with yard.working():
        assert await yard.until_ended(batch_id) == "completed"
    assert set(yard.provider.effects.values()) == {1}


async def test_key_that_was_never_received_is_sent_again(yard: Yard) -> None:
    async def lose_first(request: Request) -> Answer:
        if request.delivery == 1:
            return Lost(code="reset", message="Connection reset")
        return Ended(status="booked")

    yard.provider.promises(
        policy=Policy.ASKABLE, is_askable=True, timeout=timedelta(milliseconds=100)
    )
    yard.provider.script = lose_first
    yard.provider.answers_when_asked = lambda _: NotReceived()
    batch_id = await yard.make_batch(items=3)
    async with yard.working():
        assert await yard.until_ended(batch_id) == "completed"
    assert sorted(yard.provider.effects.values()) == [2] * 3


async def test_lost_answer_of_a_repeatable_provider_is_sent_again(yard: Yard) -> None:
    async def lose_first(request: Request) -> Answer:
        if request.delivery == 1:
            return Lost(code="reset", message="Connection reset")
        return Ended(status="booked")

    yard.provider.promises(policy=Policy.REPEATABLE, timeout=timedelta(milliseconds=100))
    yard.provider.script = lose_first
    batch_id = await yard.make_batch(items=3)
    async with yard.working():
        assert await yard.until_ended(batch_id) == "completed"
    assert sorted(yard.provider.effects.values()) == [2] * 3


async def test_team_cap_holds(yard: Yard) -> None:
    async def linger(_: Request) -> Answer:
        await asyncio.sleep(0.005)
        return Ended(status="booked")

    yard.config = yard.config.model_copy(update={"team_concurrency": 7})
    yard.provider.script = linger
    batch_id = await yard.make_batch(items=200)
    async with yard.working(), yard.working():
        assert await yard.until_ended(batch_id) == "completed"
    assert yard.provider.most_busy <= 7


async def test_paused_batch_sends_nothing_more(yard: Yard) -> None:
    async def linger(_: Request) -> Answer:
        await asyncio.sleep(0.02)
        return Ended(status="booked")

    yard.config = yard.config.model_copy(update={"worker_slots": 10})
    yard.provider.script = linger
    batch_id = await yard.make_batch(items=5000)
    async with yard.working():
        await yard.until("SELECT count(*) > 20 FROM items WHERE phase = 'done'")
        async with yard.db.transaction() as conn:
            await conn.execute("UPDATE batches SET state = 'paused'")
        await yard.until("SELECT count(*) = 0 FROM items WHERE phase NOT IN ('ready', 'done')")
        sent = len(yard.provider.sent)
        await asyncio.sleep(0.6)
        assert len(yard.provider.sent) == sent
    assert sum((await yard.counts(batch_id)).values()) == 5000


async def test_unknown_item_holds_its_batch_open_for_the_grace_time(yard: Yard) -> None:
    async def lose(_: Request) -> Answer:
        return Lost(code="reset", message="Connection reset")

    yard.provider.script = lose
    yard.config = yard.config.model_copy(update={"unknown_grace_seconds": 1})
    batch_id = await yard.make_batch(items=2)
    async with yard.working():
        assert await yard.until_ended(batch_id) == "failed"
    waited = "SELECT finished_at - started_at > '1 second' FROM batches"
    assert await yard.value(waited)
    assert await yard.counts(batch_id) == {"unknown": 2}


async def test_retry_after_holds_the_provider_for_everyone(yard: Yard) -> None:
    refused: list[float] = []

    async def refuse_once(_: Request) -> Answer:
        if not refused:
            refused.append(monotonic())
            return Refused(code="429", message="Slow down", retry_after_seconds=1.5)
        refused.append(monotonic())
        return Ended(status="booked")

    yard.provider.script = refuse_once
    yard.config = yard.config.model_copy(update={"worker_slots": 1})
    batch_id = await yard.make_batch(items=3)
    async with yard.working():
        assert await yard.until_ended(batch_id) == "completed"
    assert refused[1] - refused[0] > 1.0


async def test_restored_batch_asks_before_it_sends(yard: Yard) -> None:
    def known(request: Request) -> Finding:
        return Ended(status="booked") if request.payload["n"] == 0 else NotReceived()

    yard.provider.promises(policy=Policy.ASKABLE, is_askable=True, timeout=timedelta(0))
    yard.provider.answers_when_asked = known
    batch_id = await yard.make_batch(items=3)
    async with yard.db.transaction() as conn:
        long_ago = yard.db.clock() - timedelta(minutes=1)
        await conn.execute("UPDATE batches SET restored_at = %s", (long_ago,))
    async with yard.working():
        assert await yard.until_ended(batch_id) == "completed"
    assert len(yard.provider.asked) == 3
    assert sorted(int(str(request.payload["n"])) for request in yard.provider.sent) == [1, 2]


async def test_from_numbers_rotate_over_the_items(yard: Yard) -> None:
    batch_id = await yard.make_batch(items=6, kind=Kind.CALL, state="open")
    async with yard.db.transaction() as conn:
        await conn.execute(
            "UPDATE batches SET from_numbers = '{+4510000001,+4510000002}', state = 'queued'"
        )
    async with yard.working():
        assert await yard.until_ended(batch_id) == "completed"
    used = [request.from_number for request in yard.provider.sent]
    assert sorted(used, key=str) == ["+4510000001"] * 3 + ["+4510000002"] * 3


async def test_scheduled_batch_without_items_ends_at_once(yard: Yard) -> None:
    batch_id = await yard.make_batch(items=0, kind=Kind.CALL, state="open")
    async with yard.db.transaction() as conn:
        await conn.execute("UPDATE batches SET state = 'scheduled', scheduled_at = created_at")
    async with yard.working():
        assert await yard.until_ended(batch_id) == "completed"


async def test_key_older_than_its_provider_remembers_is_not_repeated(yard: Yard) -> None:
    yard.provider.promises(policy=Policy.REPEATABLE, key_ttl=timedelta(minutes=10))
    await yard.make_batch(items=3)
    async with yard.db.transaction() as conn:
        long_ago = yard.db.clock() - timedelta(hours=1)
        await conn.execute(
            "UPDATE batches SET restored_at = %s, backup_at = %s", (long_ago, long_ago)
        )
    async with yard.working():
        await yard.until("SELECT count(*) = 3 FROM items WHERE phase = 'unknown'")
    assert yard.provider.sent == []

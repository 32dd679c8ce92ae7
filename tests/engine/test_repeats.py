"""A key that is sent again because its answer was lost: that it is refused decides nothing."""

from collections.abc import Sequence
from datetime import timedelta

from batchyard.models import Answer, Ended, Lost, Policy, Request
from tests.engine.conftest import Yard

LOST = Lost(code="timeout", message="The provider did not answer in time.")
REFUSED = Ended(status="failed", error_code="http_404", error_message="Not Found.", is_refusal=True)
REASON = "SELECT error_code || ': ' || error_message FROM item_data"


def answer_in_turn(yard: Yard, answers: Sequence[Answer]) -> None:
    """Answer so, the last one again and again."""

    async def answer(_: Request) -> Answer:
        return answers[min(len(yard.provider.sent), len(answers)) - 1]

    yard.provider.promises(policy=Policy.REPEATABLE, timeout=timedelta(milliseconds=100))
    yard.provider.script = answer


async def test_first_request_that_is_refused_ends_its_item(yard: Yard) -> None:
    answer_in_turn(yard, [REFUSED])
    batch_id = await yard.make_batch(items=1)
    async with yard.working():
        await yard.until_ended(batch_id)
    assert await yard.counts(batch_id) == {"failed": 1}
    assert [request.is_repeat for request in yard.provider.sent] == [False]


async def test_refused_repetition_leaves_the_item_undecided_until_it_is_answered(
    yard: Yard,
) -> None:
    answer_in_turn(yard, [LOST, REFUSED, REFUSED, Ended(status="booked")])
    batch_id = await yard.make_batch(items=1)
    async with yard.working():
        await yard.until_ended(batch_id)
    assert await yard.counts(batch_id) == {"booked": 1}
    assert list(yard.provider.effects.values()) == [4]
    assert [request.is_repeat for request in yard.provider.sent] == [False, True, True, True]


async def test_repetition_that_goes_on_being_refused_waits_for_a_person(yard: Yard) -> None:
    answer_in_turn(yard, [LOST, REFUSED])
    yard.provider.promises(ask_patience=timedelta(seconds=2))
    batch_id = await yard.make_batch(items=1)
    async with yard.working():
        await yard.until("SELECT phase = 'unknown' FROM items")
    assert await yard.counts(batch_id) == {"unknown": 1}
    reason = str(await yard.value(REASON))
    assert reason.startswith("http_404: Sent again, it was refused")
    assert reason.endswith("Not Found.")


async def test_answer_to_the_key_itself_is_believed_of_a_repetition_too(yard: Yard) -> None:
    answer_in_turn(yard, [LOST, Ended(status="failed", error_code="no_such_street")])
    batch_id = await yard.make_batch(items=1)
    async with yard.working():
        await yard.until_ended(batch_id)
    assert await yard.counts(batch_id) == {"failed": 1}


async def test_key_that_may_have_been_sent_before_a_restore_is_a_repetition(yard: Yard) -> None:
    """The provider cannot be asked, so the keys go out again."""
    answer_in_turn(yard, [REFUSED])
    yard.provider.promises(ask_patience=timedelta(seconds=1))
    batch_id = await yard.make_batch(items=1)
    async with yard.db.transaction() as conn:
        await conn.execute(
            "UPDATE batches SET restored_at = now(), backup_at = now() - interval '1 minute'"
        )
    async with yard.working():
        await yard.until("SELECT phase = 'unknown' FROM items")
    assert await yard.counts(batch_id) == {"unknown": 1}
    assert all(request.is_repeat for request in yard.provider.sent)

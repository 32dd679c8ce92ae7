"""What a provider calls a request is committed before the request goes on."""

from datetime import timedelta

import pytest

from batchyard.models import Answer, Ended, Finding, Lost, NotReceived, Policy, Refused, Request
from batchyard.operations.outcomes import Verdict, resolve_unknown
from batchyard.operations.teams import find_team
from tests.engine.conftest import Yard

ITEM = """
SELECT jsonb_build_object('phase', i.phase, 'is_held', i.worker_id IS NOT NULL,
                          'reference', d.provider_reference)
  FROM items i JOIN item_data d ON d.item_id = i.id
"""
TAKE_AWAY = "UPDATE items SET worker_id = NULL, lease = lease + 1"
CLAIM_IN_DOUBT = timedelta(milliseconds=100)


def one_sided(yard: Yard) -> None:
    """Promise what a provider of two steps can."""
    yard.provider.promises(
        policy=Policy.ASKABLE, is_askable=True, is_one_sided=True, timeout=CLAIM_IN_DOUBT
    )


async def test_reference_is_committed_while_the_item_is_being_sent(yard: Yard) -> None:
    seen: list[object] = []

    async def two_steps(request: Request) -> Answer:
        assert await yard.provider.keep(request, "draft-1")
        seen.append(await yard.value(ITEM))
        return Ended(status="booked")

    yard.provider.script = two_steps
    batch_id = await yard.make_batch(items=1)
    async with yard.working():
        assert await yard.until_ended(batch_id) == "completed"
    assert seen == [{"phase": "calling", "is_held": True, "reference": "draft-1"}]
    assert await yard.value("SELECT deadline_at IS NULL FROM items")


async def test_nothing_goes_on_under_a_claim_that_was_taken_away(yard: Yard) -> None:
    answers: list[bool] = []

    async def two_steps(request: Request) -> Answer:
        async with yard.db.transaction() as conn:
            await conn.execute(TAKE_AWAY)
        answers.append(await yard.provider.keep(request, "draft-1"))
        return Refused(code="claim_lost", message="Not ours any more.")

    yard.provider.script = two_steps
    await yard.make_batch(items=1)
    async with yard.working():
        await yard.until("SELECT worker_id IS NULL AND phase = 'calling' FROM items")
    assert answers == [False]
    assert await yard.value("SELECT provider_reference FROM item_data") is None


async def test_reference_of_a_refused_request_is_void(yard: Yard) -> None:
    async def refused_once(request: Request) -> Answer:
        assert await yard.provider.keep(request, f"draft-{request.delivery}")
        if request.delivery == 1:
            return Refused(code="busy", message="Later.", retry_after_seconds=0.01)
        references.append(request.reference)
        return Ended(status="booked")

    references: list[str | None] = []
    yard.provider.script = refused_once
    batch_id = await yard.make_batch(items=1)
    async with yard.working():
        await yard.until_ended(batch_id)
    assert references == [None]
    assert await yard.value("SELECT provider_reference FROM item_data") == "draft-2"


@pytest.mark.parametrize("is_certain", [True, False])
async def test_a_one_sided_provider_is_believed_only_where_our_books_prove_it(
    yard: Yard, *, is_certain: bool
) -> None:
    async def lose_first(request: Request) -> Answer:
        if request.delivery == 1:
            return Lost(code="reset", message="Connection reset")
        return Ended(status="booked")

    one_sided(yard)
    yard.provider.script = lose_first
    yard.provider.answers_when_asked = lambda _: NotReceived(is_certain=is_certain)
    await yard.make_batch(items=1)
    async with yard.working():
        if is_certain:
            await yard.until("SELECT status = 'booked' FROM items")
        else:
            await yard.until("SELECT error_code = 'not_found' AND sends = 1 FROM items, item_data")
            await yard.until("SELECT lease > 2 FROM items")
            assert len(yard.provider.sent) == 1


async def test_books_that_a_backup_cut_off_prove_nothing(yard: Yard) -> None:
    async def lose(_: Request) -> Answer:
        return Lost(code="reset", message="Connection reset")

    asked: list[Request] = []

    def absent(request: Request) -> Finding:
        asked.append(request)
        return NotReceived(is_certain=True)

    one_sided(yard)
    yard.provider.script = lose
    yard.provider.answers_when_asked = absent
    await yard.make_batch(items=1)
    async with yard.working():
        await yard.until("SELECT phase = 'calling' AND worker_id IS NULL FROM items")
        async with yard.db.transaction() as conn:
            await conn.execute("UPDATE batches SET restored_at = now() + interval '1 minute'")
        await yard.until("SELECT lease > 2 FROM items")
    assert asked
    assert len(yard.provider.sent) == 1


async def test_restored_item_of_a_one_sided_provider_waits_for_a_person_and_obeys(
    yard: Yard,
) -> None:
    def known(request: Request) -> Finding:
        return Ended(status="booked") if request.payload["n"] == 0 else NotReceived()

    one_sided(yard)
    yard.provider.answers_when_asked = known
    batch_id = await yard.make_batch(items=2)
    async with yard.db.transaction() as conn:
        await conn.execute("UPDATE batches SET restored_at = now() - interval '1 hour'")
    async with yard.working():
        await yard.until("SELECT count(*) = 1 FROM items WHERE status = 'booked'")
        await yard.until("SELECT count(*) = 1 FROM items WHERE phase = 'unknown'")
        assert yard.provider.sent == []
        team = await find_team(yard.db, slug_or_uuid=await slug_of(yard))
        assert team is not None
        await resolve_unknown(yard.db, team=team, verdict=Verdict.RETRY, actor="cli:ann")
        assert await yard.until_ended(batch_id) == "completed"
    assert [request.attempt for request in yard.provider.sent] == [2]


async def slug_of(yard: Yard) -> str:
    return str(await yard.value("SELECT slug FROM teams WHERE id = %s", [yard.team_id]))

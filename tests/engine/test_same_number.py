"""Calls that could not be told apart wait for each other, whatever dies meanwhile."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import pytest

from batchyard import lifecycle
from batchyard.models import (
    Accepted,
    Answer,
    Ended,
    Finding,
    Kind,
    Lost,
    NotReceived,
    Policy,
    Request,
    RetryPolicy,
)
from batchyard.operations import outcomes, waiting
from batchyard.operations.outcomes import Verdict
from batchyard.store import number_claims
from batchyard.store.number_claims import NumberClaim
from tests.engine.calls import DANE, NEW_YORKER, find_team, make_calls
from tests.engine.conftest import Yard


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what takes seconds take a tenth of them."""
    monkeypatch.setattr(lifecycle, "SEND_WITHIN", timedelta(milliseconds=200))
    monkeypatch.setattr(lifecycle, "SAME_NUMBER_PAUSE", timedelta(milliseconds=50))


CLAIMS = "SELECT count(*) FROM number_claims"
HELD = "SELECT array_agg(number ORDER BY number) FROM number_claims"


def be_exclusive(yard: Yard, *, looks: Sequence[float] = (0.2, 0.4)) -> None:
    yard.provider.promises(
        policy=Policy.ASKABLE,
        is_askable=True,
        is_exclusive_per_number=True,
        timeout=timedelta(milliseconds=100),
        looks=tuple(timedelta(seconds=seconds) for seconds in looks),
    )


async def make(yard: Yard, numbers: Sequence[str]) -> UUID:
    return await make_calls(yard, numbers, guardrails=None)


async def test_undecided_calls_between_two_numbers_never_overlap(yard: Yard) -> None:
    out: list[str] = []
    most: list[int] = []

    async def call(request: Request) -> Answer:
        out.append(str(request.number))
        most.append(out.count(str(request.number)))
        await asyncio.sleep(0.02)
        out.remove(str(request.number))
        return Ended(status="completed")

    be_exclusive(yard)
    yard.provider.promises(timeout=timedelta(seconds=30))  # No answer is lost here.
    yard.provider.script = call
    batch_id = await make(yard, [DANE] * 3 + [NEW_YORKER] * 3)
    async with yard.working(), yard.working():
        assert await yard.until_ended(batch_id, seconds=40) == "completed"
    assert max(most) == 1
    assert set(yard.provider.effects.values()) == {1}
    assert await yard.value(CLAIMS) == 0


async def test_item_behind_an_undecided_call_says_so(yard: Yard) -> None:
    async def lose(_: Request) -> Answer:
        return Lost(code="timeout", message="?")

    be_exclusive(yard, looks=(60, 120))
    yard.provider.script = lose
    batch_id = await make(yard, [DANE, DANE])
    async with yard.working():
        await yard.until("SELECT count(*) = 1 FROM items WHERE phase = 'calling'")
        await yard.until(
            "SELECT count(*) = 1 FROM items WHERE phase = 'ready' AND due_at > clock_timestamp()"
            " AND lease > 0"
        )
        # Now and then it is claimed, to see whether its number is free.
        waits = await yard.value("SELECT id FROM items WHERE phase <> 'calling'")
        assert isinstance(waits, UUID)
        team = await find_team(yard)
        found = item = None
        # Between two looks at the number its turn has come, and it only waits for that.
        async with asyncio.timeout(20):
            while found is None:
                found = await waiting.explain_batch(yard.db, team=team, batch_id=batch_id)
            while item is None or item.reason == "earlier_items":
                await asyncio.sleep(0.05)
                item = await waiting.explain_item(yard.db, team=team, item_id=waits)
    assert found is not None
    assert item is not None
    assert (found.reason, item.reason) == ("same_number", "same_number")
    assert item.until is not None


async def test_call_that_is_live_no_longer_holds_its_number(yard: Yard) -> None:
    async def accept(request: Request) -> Answer:
        return Accepted(reference=f"CA-{request.item_id}")

    be_exclusive(yard)
    yard.provider.script = accept
    await make(yard, [DANE, DANE])
    async with yard.working():
        await yard.until("SELECT count(*) = 2 FROM items WHERE phase = 'live'")
    assert await yard.value(CLAIMS) == 0


async def test_unknown_call_holds_its_number_until_a_person_decides(yard: Yard) -> None:
    async def lose(_: Request) -> Answer:
        return Lost(code="timeout", message="?")

    be_exclusive(yard)
    yard.provider.promises(ask_patience=timedelta(0))
    yard.provider.script = lose
    yard.provider.answers_when_asked = lambda _: Lost(code="two", message="Two candidates.")
    batch_id = await make(yard, [DANE])
    async with yard.working():
        await yard.until("SELECT count(*) = 1 FROM items WHERE phase = 'unknown'")
        assert await yard.value(HELD) == [DANE]
        await outcomes.resolve_unknown(
            yard.db, team=await find_team(yard), verdict=Verdict.DONE, actor="a", batch_id=batch_id
        )
    assert await yard.value(CLAIMS) == 0


async def test_reference_of_another_call_is_told_to_who_asks(yard: Yard) -> None:
    async def bind_first(_: Request) -> Answer:
        if len(yard.provider.sent) == 1:
            return Ended(status="busy", reference="CA-1")
        return Lost(code="timeout", message="?")

    def find(request: Request) -> Finding:
        assert request.reference is None
        taken.append(request.taken)
        return Ended(status="completed", reference="CA-2")

    taken: list[frozenset[str]] = []
    be_exclusive(yard)
    yard.provider.script = bind_first
    yard.provider.answers_when_asked = find
    policy = RetryPolicy(statuses=("busy",), max_retries=1, intervals_minutes=(0.001,))
    batch_id = await make_calls(yard, [DANE], guardrails=None, retry_policy=policy)
    async with yard.working():
        await yard.until_ended(batch_id)
    assert taken == [frozenset({"CA-1"})]
    assert await yard.value("SELECT provider_reference FROM item_data") == "CA-2"


async def test_absence_is_believed_only_after_every_look(yard: Yard) -> None:
    async def lose_first(_: Request) -> Answer:
        if len(yard.provider.sent) == 1:
            return Lost(code="timeout", message="?")
        return Ended(status="completed")

    be_exclusive(yard, looks=(0.1, 0.3, 0.8))
    yard.provider.script = lose_first
    batch_id = await make(yard, [DANE])
    async with yard.working():
        await yard.until("SELECT empty_looks = 1 FROM items")
        await yard.until("SELECT empty_looks = 2 FROM items")
        await yard.until_ended(batch_id)
    assert len(yard.provider.asked) == 3
    assert [request.delivery for request in yard.provider.sent] == [1, 2]
    assert await yard.value("SELECT empty_looks FROM items") is None


async def test_absences_are_counted_for_each_key_alone(yard: Yard) -> None:
    async def lose_some(_: Request) -> Answer:
        match len(yard.provider.sent):
            case 3:
                return Ended(status="busy")
            case 5:
                return Ended(status="completed")
            case _:
                return Lost(code="timeout", message="?")

    be_exclusive(yard, looks=(0.1,))
    yard.provider.script = lose_some
    policy = RetryPolicy(statuses=("busy",), max_retries=1, intervals_minutes=(0.001,))
    batch_id = await make_calls(yard, [DANE], guardrails=None, retry_policy=policy)
    async with yard.working():
        await yard.until_ended(batch_id)
    found = [(request.attempt, request.absences) for request in yard.provider.asked]
    assert found == [(1, 0), (1, 1), (2, 0)]


async def test_failed_look_does_not_count(yard: Yard) -> None:
    async def lose_first(_: Request) -> Answer:
        if len(yard.provider.sent) == 1:
            return Lost(code="timeout", message="?")
        return Ended(status="completed")

    def fail_once(_: Request) -> Finding:
        if len(yard.provider.asked) == 2:
            return Lost(code="http_503", message="?")
        return NotReceived()

    be_exclusive(yard, looks=(0.1, 0.2, 0.3))
    yard.provider.script = lose_first
    yard.provider.answers_when_asked = fail_once
    batch_id = await make(yard, [DANE])
    async with yard.working():
        await yard.until_ended(batch_id)
    assert len(yard.provider.asked) == 4


async def test_claim_of_a_repeated_flush_is_its_own(yard: Yard) -> None:
    now = yard.db.clock()
    item = UUID(int=7)
    mine = claim_of(item, lease=1)
    async with yard.db.transaction() as conn:
        assert await number_claims.claim(conn, [mine, claim_of(UUID(int=8), lease=1)], now=now)
        assert await number_claims.claim(conn, [mine], now=now) == {}
        assert item in await number_claims.claim(conn, [claim_of(item, lease=2)], now=now)


async def test_claims_of_decided_and_deleted_items_are_swept(yard: Yard) -> None:
    await yard.make_batch(items=2, kind=Kind.CALL, state="paused")
    async with yard.db.transaction() as conn:
        await conn.execute(
            "UPDATE items SET phase = 'calling', status = 'sending', intent_at = now()"
            " WHERE id = (SELECT min(id::text)::uuid FROM items)"
        )
        rows = await (await conn.execute("SELECT id FROM items ORDER BY id")).fetchall()
        for n, item_id in enumerate([*(row[0] for row in rows), UUID(int=1)]):
            assert isinstance(item_id, UUID)
            await number_claims.claim(
                conn, [claim_of(item_id, lease=0, number=f"+{n}")], now=yard.db.clock()
            )
    async with yard.db.transaction() as conn:
        assert await number_claims.release_stale(conn) == 2
    assert await yard.value(HELD) == ["+0"]


def claim_of(item_id: UUID, *, lease: int, number: str = DANE) -> NumberClaim:
    return NumberClaim(
        item_id=item_id, attempt=1, lease=lease, provider_id=1, number=number, from_number=""
    )

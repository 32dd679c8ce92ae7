"""A provider whose password is wrong is left alone by everyone until a person mended it."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from batchyard import lifecycle
from batchyard.engine import runner
from batchyard.models import Accepted, Answer, Ended, Lost, Policy, Rate, Refused, Request
from batchyard.operations import providers
from batchyard.operations import waiting as why
from batchyard.store import providers as rows
from tests.engine.conftest import Yard
from tests.engine.test_control import find_team


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what takes seconds take a tenth of them."""
    monkeypatch.setattr(lifecycle, "SEND_WITHIN", timedelta(milliseconds=200))
    monkeypatch.setattr(runner, "STOPPED_HERE", timedelta(milliseconds=200))


REASON = "The account says 401: wrong password."


def refusing() -> Callable[[Request], Awaitable[Answer]]:
    async def refuse(_: Request) -> Answer:
        return Refused(code="http_401", message=REASON, stops_provider=True)

    return refuse


async def test_wrong_password_pauses_the_provider_and_fails_nothing(yard: Yard) -> None:
    yard.provider.script = refusing()
    yard.config = yard.config.model_copy(update={"worker_slots": 5})
    batch_id = await yard.make_batch(items=30)
    async with yard.working():
        await yard.until("SELECT paused_reason IS NOT NULL FROM providers")
        await yard.until("SELECT count(*) = 30 FROM items WHERE phase = 'ready'")
        await yard.until("SELECT wait_reason = 'provider_paused' FROM batches")
        refused = len(yard.provider.sent)
        assert refused < 30
        found = await why.explain_batch(yard.db, team=await find_team(yard), batch_id=batch_id)
        assert found is not None
        assert found.reason == "provider_paused"
        assert await yard.value("SELECT paused_reason FROM providers") == REASON

        yard.provider.script = booked
        assert await providers.resume_provider(yard.db, name="sandbox") == REASON
        assert await yard.until_ended(batch_id) == "completed"
    assert await yard.counts(batch_id) == {"booked": 30}
    assert await yard.value("SELECT max(try) FROM items") == 1


async def booked(_: Request) -> Answer:
    return Ended(status="booked")


async def test_refusal_from_before_a_resume_pauses_nothing(yard: Yard) -> None:
    now = yard.db.clock()
    await providers.resume_provider(yard.db, name="sandbox")
    async with yard.db.transaction() as conn:
        assert not await rows.stop(conn, provider_id=1, reason="late", sent_at=now, now=now)
        later = yard.db.clock()
        assert await rows.stop(conn, provider_id=1, reason="new", sent_at=later, now=later)
        assert not await rows.stop(conn, provider_id=1, reason="again", sent_at=later, now=later)
    assert await yard.value("SELECT paused_reason FROM providers") == "new"


async def test_refusal_from_before_a_change_was_followed_pauses_nothing(yard: Yard) -> None:
    now = yard.db.clock()
    async with yard.db.transaction() as conn:
        row = await rows.find(conn, name="sandbox")
        assert row is not None
        assert await rows.change(conn, known=row, changed=row, now=now)
        for seconds, is_news in ((-1, False), (1, False), (6, True)):
            sent_at = now + timedelta(seconds=seconds)
            assert is_news is await rows.stop(
                conn, provider_id=1, reason="401", sent_at=sent_at, now=sent_at
            )


async def test_refusal_of_a_repeated_key_pauses_too_and_decides_nothing(yard: Yard) -> None:
    async def lose_first(request: Request) -> Answer:
        if len(yard.provider.sent) == 1:
            return Lost(code="timeout", message="?")
        return await refusing()(request)

    yard.provider.promises(policy=Policy.REPEATABLE, timeout=timedelta(milliseconds=50))
    yard.provider.script = lose_first
    await yard.make_batch(items=1)
    async with yard.working():
        await yard.until("SELECT paused_reason IS NOT NULL FROM providers")
    assert await yard.value("SELECT phase FROM items") == "calling"


@pytest.mark.parametrize("phase", ["calling", "live"])
async def test_refused_look_up_pauses_too_and_gives_nothing_up(yard: Yard, phase: str) -> None:
    async def accept(_: Request) -> Answer:
        if phase == "calling":
            return Lost(code="timeout", message="?")
        return Accepted(check_at=yard.db.clock())

    yard.provider.promises(
        policy=Policy.ASKABLE,
        is_askable=True,
        timeout=timedelta(milliseconds=50),
        ask_patience=timedelta(0),
    )
    yard.provider.script = accept
    yard.provider.answers_when_asked = lambda _: Lost(
        code="http_401", message=REASON, stops_provider=True
    )
    batch_id = await yard.make_batch(items=1)
    async with yard.working():
        await yard.until("SELECT paused_reason IS NOT NULL FROM providers")
        async with asyncio.timeout(20):
            while len(yard.provider.asked) < 3:  # noqa: ASYNC110  # a list sends no signal
                await asyncio.sleep(0.02)
        assert await yard.value("SELECT phase FROM items") == phase
        assert await yard.value("SELECT paused_reason FROM providers") == REASON

        yard.provider.answers_when_asked = lambda _: Ended(status="booked")
        assert await providers.resume_provider(yard.db, name="sandbox") == REASON
        assert await yard.until_ended(batch_id) == "completed"
    assert await yard.value("SELECT try FROM items") == 1


async def test_provider_paces_itself_unless_a_rate_is_set(yard: Yard) -> None:
    yard.provider.rate = Rate(count=1, seconds=3600)
    await yard.make_batch(items=3)
    async with yard.working():
        await yard.until("SELECT wait_reason = 'provider_rate' FROM batches")
        await yard.until("SELECT count(*) = 1 FROM items WHERE phase = 'done'")
        assert len(yard.provider.sent) == 1
        assert await yard.value("SELECT (count, seconds, burst)::text FROM rates") == "(1,3600,1)"

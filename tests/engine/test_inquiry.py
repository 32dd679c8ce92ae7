"""Each question is asked by itself: none waits for another one's answer, none is asked twice."""

import asyncio
from datetime import timedelta

import pytest

from batchyard.engine import inquiry as asked
from batchyard.models import Accepted, Ended, Finding, Lost, NotReceived, Policy
from batchyard.providers.base import Surroundings
from tests.clocks import StandingClock
from tests.engine.asking import (
    GRACE,
    SANDBOX,
    Lines,
    SlowProvider,
    add_provider,
    asking,
    make_inquiry,
    make_overdue,
)
from tests.engine.conftest import NOON, Yard

IS_ENDED = "SELECT bool_and(phase = 'done') FROM items WHERE batch_id = %s"


@pytest.fixture
def slow(yard: Yard) -> SlowProvider:
    provider = SlowProvider(
        Surroundings(name="slow", clock=yard.db.clock, report=lambda _key, _answer: None)
    )
    provider.answers_when_asked = lambda _: Ended(status="completed")
    return provider


async def asked_of(provider: SlowProvider, count: int) -> None:
    async with asyncio.timeout(30):
        while len(provider.asked) < count:  # noqa: ASYNC110  # a list sends no signal
            await asyncio.sleep(0.01)


async def test_provider_that_is_silent_keeps_nobody_elses_items_waiting(
    yard: Yard, slow: SlowProvider
) -> None:
    other_id = await add_provider(yard, "other")
    yard.provider.promises(is_askable=True)
    yard.provider.answers_when_asked = lambda _: Ended(status="completed")
    many = await make_overdue(yard, items=asked.PARALLEL + 10)
    async with asking(yard, Lines({SANDBOX: slow, other_id: yard.provider})):
        await asked_of(slow, asked.PARALLEL)
        one = await make_overdue(yard, provider_id=other_id)
        await yard.until(IS_ENDED, [one], seconds=20)
        assert len(slow.asked) == asked.PARALLEL
        slow.may_answer.set()
        await yard.until(IS_ENDED, [many])
    assert len({request.key for request in slow.asked}) == asked.PARALLEL + 10


async def test_live_item_does_not_wait_behind_lost_answers_of_its_provider(
    yard: Yard, slow: SlowProvider
) -> None:
    await make_overdue(yard, items=asked.PARALLEL + 10)
    async with asking(yard, Lines({SANDBOX: slow})):
        await asked_of(slow, asked.PARALLEL)
        await make_overdue(yard, status="in-progress")
        await asked_of(slow, asked.PARALLEL + 1)
        assert slow.asked[-1].item_id == await yard.value("SELECT id FROM items WHERE phase='live'")


async def test_question_that_takes_longer_than_it_is_held_is_not_asked_twice(
    yard: Yard, slow: SlowProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asked, "HOLD", timedelta(seconds=1))
    batch_id = await make_overdue(yard)
    async with asking(yard, Lines({SANDBOX: slow})):
        await asked_of(slow, 1)
        await yard.until("SELECT deadline_at + interval '0.3 s' < clock_timestamp() FROM items")
        assert len(slow.asked) == 1
        slow.may_answer.set()
        await yard.until(IS_ENDED, [batch_id])
    assert len(slow.asked) == 1


@pytest.mark.parametrize("status", ["sending", "initiated"])
async def test_news_of_a_question_that_takes_longer_than_it_is_held_is_not_lost(
    yard: Yard, slow: SlowProvider, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    """News that only the holder may write: it says how far it is, and when to look again."""
    monkeypatch.setattr(asked, "HOLD", timedelta(seconds=1))
    check_at = yard.db.clock() + timedelta(days=1)
    slow.answers_when_asked = lambda _: Accepted(
        status="in-progress", reference="r", check_at=check_at
    )
    await make_overdue(yard, status=status)
    async with asking(yard, Lines({SANDBOX: slow})):
        await asked_of(slow, 1)
        await yard.until("SELECT deadline_at + interval '0.3 s' < clock_timestamp() FROM items")
        slow.may_answer.set()
        await yard.until("SELECT status = 'in-progress' FROM items")
    assert await yard.value("SELECT deadline_at FROM items") == check_at
    assert await yard.value("SELECT provider_reference FROM item_data") == "r"
    assert len(slow.asked) == 1


async def test_question_that_is_broken_off_is_asked_by_the_next_who_leads(
    yard: Yard, slow: SlowProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asked, "HOLD", timedelta(seconds=1))
    batch_id = await make_overdue(yard)
    async with asking(yard, Lines({SANDBOX: slow})):
        await asked_of(slow, 1)
    async with asking(yard, Lines({SANDBOX: slow})):
        await asked_of(slow, 2)
        slow.may_answer.set()
        await yard.until(IS_ENDED, [batch_id])


@pytest.mark.parametrize(
    "finding,phase",
    [
        (NotReceived(), "unknown"),
        (Lost(code="http_503", message="Try later"), "unknown"),
        (Ended(status="completed"), "done"),
        (Accepted(status="ringing"), "live"),
    ],
)
async def test_provider_that_promises_nothing_is_asked_once_and_sent_nothing(
    yard: Yard, finding: Finding, phase: str
) -> None:
    yard.provider.promises(policy=Policy.NEITHER, is_askable=True)
    yard.provider.answers_when_asked = lambda _: finding
    await make_overdue(yard)
    async with yard.db.transaction() as conn:
        await conn.execute("UPDATE items SET intent_at = intent_at - interval '1 hour'")
    async with asking(yard, Lines({SANDBOX: yard.provider})):
        await yard.until("SELECT phase <> 'calling' FROM items")
    assert await yard.value("SELECT phase FROM items") == phase
    assert len(yard.provider.asked) == 1
    assert yard.provider.sent == []


@pytest.mark.parametrize("status", ["sending", "in-progress"])
async def test_item_of_a_provider_that_cannot_be_opened_is_unknown_after_the_grace(
    yard: Yard, clock: StandingClock, slow: SlowProvider, status: str
) -> None:
    await make_overdue(yard, status=status)
    lines = Lines({})
    async with asking(yard, lines, only_when_told=True) as running:
        assert await running.look() == 1
        clock.set(NOON + GRACE - timedelta(minutes=1))
        assert await running.look() == 1
        # Opened in between, it has its whole time again.
        lines.by_id[SANDBOX] = slow
        assert await running.look() == 0
        lines.by_id.clear()
        clock.set(NOON + GRACE + timedelta(minutes=1))
        assert await running.look() == 1
        assert await yard.value("SELECT phase <> 'unknown' FROM items")
        clock.set(NOON + 2 * GRACE + timedelta(minutes=1))
        assert await running.look() == 1
        assert await yard.value("SELECT phase = 'unknown' FROM items")
    assert slow.asked == []
    assert await yard.value("SELECT error_code FROM item_data") == "provider_unusable"
    reason = str(await yard.value("SELECT error_message FROM item_data"))
    assert "The provider sandbox cannot be opened" in reason


@pytest.mark.parametrize("status", ["sending", "in-progress"])
async def test_item_that_nobody_is_let_ask_about_is_unknown_after_the_grace(
    yard: Yard, clock: StandingClock, status: str
) -> None:
    yard.provider.promises(policy=Policy.ASKABLE, is_askable=True, ask_patience=timedelta(0))
    yard.provider.answers_when_asked = lambda _: Lost(
        code="http_403", message="The account is closed.", stops_provider=True
    )
    await make_overdue(yard, status=status)
    # What counts is how long nobody is let ask, not how long nothing was heard.
    refused_at = NOON + 2 * GRACE
    clock.set(refused_at)
    async with asking(yard, Lines({SANDBOX: yard.provider})):
        await until_put_off(yard, clock)
        clock.set(refused_at + GRACE - timedelta(minutes=1))
        await until_put_off(yard, clock)
        assert await yard.value("SELECT undecided_since FROM items") is None
        clock.set(refused_at + GRACE)
        await yard.until("SELECT undecided_since = %s FROM items", [clock()])
        clock.set(refused_at + GRACE + timedelta(minutes=1))
        await yard.until("SELECT phase = 'unknown' FROM items")
    assert await yard.value("SELECT error_code FROM item_data") == "http_403"


async def test_provider_that_answers_in_between_has_the_whole_grace_again(
    yard: Yard, clock: StandingClock
) -> None:
    yard.provider.promises(policy=Policy.ASKABLE, is_askable=True, ask_patience=timedelta(0))
    refused = Lost(code="http_403", message="The account is closed.", stops_provider=True)
    yard.provider.answers_when_asked = lambda _: refused
    await make_overdue(yard, status="in-progress")
    async with asking(yard, Lines({SANDBOX: yard.provider})):
        clock.set(NOON + GRACE)
        await until_put_off(yard, clock)
        yard.provider.answers_when_asked = lambda _: Ended(status="completed")
        other = await make_overdue(yard, status="in-progress")
        await yard.until(IS_ENDED, [other])
        yard.provider.answers_when_asked = lambda _: refused
        clock.set(NOON + 2 * GRACE)
        await until_put_off(yard, clock)
    assert await yard.value("SELECT undecided_since FROM items WHERE phase = 'live'") is None


async def until_put_off(yard: Yard, clock: StandingClock) -> None:
    """Wait until an item was asked about in vain, and is left alone for as long as may be."""
    at = clock() + timedelta(minutes=1)
    await yard.until("SELECT bool_or(deadline_at >= %s) FROM items", [at])


async def test_fault_while_asking_leaves_the_others_alone(
    yard: Yard, slow: SlowProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    inquiry, _ = make_inquiry(yard, Lines({SANDBOX: slow}))
    await make_overdue(yard, items=2)
    broken = iter([ValueError("broken"), None])

    async def break_once(*_: object) -> None:
        if (error := next(broken)) is not None:
            raise error
        await asyncio.Event().wait()

    monkeypatch.setattr(inquiry._repeats, "decide", break_once)
    assert await inquiry.ask_overdue() == 2
    await inquiry.room(within_seconds=1)
    assert await inquiry.ask_overdue() == 0
    await inquiry.break_off()

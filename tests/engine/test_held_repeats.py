"""A key whose answer was lost is sent again by the rules of sending; else it is only asked for."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from batchyard import lifecycle
from batchyard.engine import repeats
from batchyard.engine.inquiry import HOLD
from batchyard.engine.repeats import Repeats, Ruling
from batchyard.models import (
    Accepted,
    Answer,
    Ended,
    Finding,
    Kind,
    Lost,
    Phase,
    Policy,
    Rate,
    Refused,
    Request,
)
from batchyard.operations import control, deletions, limits, providers
from batchyard.store import inquiries
from batchyard.store import providers as rows
from batchyard.store.inquiries import OpenQuestion
from tests.clocks import StandingClock
from tests.engine.asking import SANDBOX, Asking, Lines, asking, make_overdue
from tests.engine.conftest import NOON, Yard
from tests.engine.test_control import find_team
from tests.engine.test_limits import EACH_SECOND, SCOPES, scope_of

pytestmark = pytest.mark.usefixtures("known_moves")

HOURLY = Rate(count=1, seconds=3600)
IN_LINE = "SELECT count(*) = %s FROM items WHERE phase = 'calling' AND deadline_at = %s"
PHASES = "SELECT array_agg(DISTINCT phase ORDER BY phase) FROM items"
SLOW = timedelta(hours=1)
LOST = Lost(code="http_503", message="Try later")
PATIENT = timedelta(seconds=30)
"""A timeout that does not cut off what a script asks of the database."""


@pytest.fixture(autouse=True)
def repeatable(yard: Yard) -> None:
    """Honour a key for ever."""
    yard.provider.promises(policy=Policy.REPEATABLE, timeout=timedelta(milliseconds=100))
    yard.provider.script = complete


async def complete(_: Request) -> Answer:
    return Ended(status="completed")


async def pause(yard: Yard, batch_id: UUID) -> None:
    team = await find_team(yard)
    await control.pause_batch(yard.db, team=team, kind=Kind.CALL, batch_id=batch_id)


async def resume(yard: Yard, batch_id: UUID) -> None:
    team = await find_team(yard)
    await control.resume_batch(yard.db, team=team, kind=Kind.CALL, batch_id=batch_id)


async def pause_provider(yard: Yard, _: UUID) -> None:
    await providers.pause_provider(yard.db, name="sandbox", reason="a person")


async def resume_provider(yard: Yard, _: UUID) -> None:
    await providers.resume_provider(yard.db, name="sandbox")


async def slow_down(yard: Yard, _: UUID) -> None:
    async with yard.db.transaction() as conn:
        await rows.slow_down(conn, provider_id=SANDBOX, until=yard.db.clock() + SLOW)


async def wait_on(*_: object) -> None:
    """Do nothing: time alone ends it."""


async def stop(yard: Yard, batch_id: UUID) -> None:
    team = await find_team(yard)
    await control.stop_batch(yard.db, team=team, kind=Kind.CALL, batch_id=batch_id)


async def delete(yard: Yard, batch_id: UUID) -> None:
    team = await find_team(yard)
    await deletions.delete_batch(yard.db, team=team, kind=Kind.CALL, batch_id=batch_id)


Deed = Callable[[Yard, UUID], Awaitable[None]]
HOLDS = [(pause, resume), (pause_provider, resume_provider), (slow_down, wait_on)]


async def until_first_arrived(yard: Yard) -> None:
    """Wait until what was sent first can no longer arrive."""
    await yard.until("SELECT intent_at < clock_timestamp() - interval '2.2 s' FROM items")


def lines(yard: Yard) -> Lines:
    return Lines({SANDBOX: yard.provider})


async def look_at_all(asker: Asking) -> int:
    """Ask about all that is due; return how much that was."""
    looked_at = 0
    while taken := await asker.look():
        looked_at += taken
    return looked_at


@pytest.mark.parametrize("hold,release", HOLDS)
async def test_lost_keys_wait_while_nothing_may_be_sent(
    yard: Yard, clock: StandingClock, hold: Deed, release: Deed
) -> None:
    batch_id = await make_overdue(yard, items=100)
    await hold(yard, batch_id)
    # Where time alone tells, nobody looks before.
    again = 0 if hold is slow_down else 100
    async with asking(yard, lines(yard), only_when_told=True) as asker:
        for second, due in enumerate((100, again, again)):
            clock.set(NOON + timedelta(seconds=second))
            assert await look_at_all(asker) == due
            assert await yard.value(PHASES) == ["calling"]
        assert yard.provider.sent == []
        await release(yard, batch_id)
        clock.set(NOON + SLOW)
        assert await look_at_all(asker) == 100
    assert await yard.value(PHASES) == ["done"]
    assert set(yard.provider.effects.values()) == {1}
    assert len(yard.provider.sent) == 100


@pytest.mark.parametrize("end", [stop, delete])
async def test_lost_keys_of_a_batch_that_is_over_wait_for_a_person(
    yard: Yard, clock: StandingClock, end: Deed
) -> None:
    yard.provider.promises(ask_patience=timedelta(seconds=2))
    batch_id = await make_overdue(yard, items=100)
    await end(yard, batch_id)
    async with asking(yard, lines(yard), only_when_told=True) as asker:
        for second, phase in enumerate(("calling", "calling", "calling", "unknown")):
            clock.set(NOON + timedelta(seconds=second))
            assert await look_at_all(asker) == 100
            assert await yard.value(PHASES) == [phase]
    assert yard.provider.sent == []
    assert await yard.value("SELECT array_agg(DISTINCT error_code) FROM item_data") == [
        "batch_over"
    ]


@pytest.mark.parametrize("hold", [pause, pause_provider, slow_down, stop, delete])
async def test_provider_that_can_be_asked_is_asked_instead(yard: Yard, hold: Deed) -> None:
    yard.provider.promises(is_askable=True)
    batch_id = await make_overdue(yard)
    await until_first_arrived(yard)
    await hold(yard, batch_id)
    async with asking(yard, lines(yard)):
        await yard.until("SELECT phase = 'ready' FROM items")
        await control.end_stopped_items(yard.db)
    assert yard.provider.sent == []
    assert len(yard.provider.asked) == 1
    status = await yard.value("SELECT status FROM items")
    assert status == ("stopped" if hold is stop else "waiting")


async def test_what_asking_cannot_tell_waits_for_the_end_of_a_pause(yard: Yard) -> None:
    yard.provider.promises(is_askable=True, ask_patience=timedelta(seconds=1))
    yard.provider.answers_when_asked = lambda _: LOST
    batch_id = await make_overdue(yard)
    await pause(yard, batch_id)
    async with asking(yard, lines(yard)):
        await yard.until("SELECT lease > 2 AND deadline_at > intent_at + interval '3 s' FROM items")
        assert await yard.value(PHASES) == ["calling"]
        await resume(yard, batch_id)
        await yard.until("SELECT phase = 'done' FROM items")
    assert len(yard.provider.sent) == 1


async def take_one(yard: Yard) -> OpenQuestion:
    await make_overdue(yard)
    async with yard.db.transaction() as conn:
        [question] = await inquiries.take(conn, limit=1, hold=HOLD, now=yard.db.clock())
    return question


@pytest.mark.parametrize(
    "deed,ruling",
    [
        (pause, Ruling.HOLD),
        (pause_provider, Ruling.HOLD),
        (slow_down, Ruling.HOLD),
        (stop, Ruling.OVER),
        (delete, Ruling.OVER),
    ],
)
async def test_what_is_said_after_the_question_was_taken_holds(
    yard: Yard, deed: Deed, ruling: Ruling
) -> None:
    question = await take_one(yard)
    await deed(yard, question.batch_id)
    repeat = await Repeats(yard.db).decide(question, yard.provider)
    assert repeat.ruling is ruling
    assert await yard.value("SELECT sends FROM items") == 1
    assert await yard.value("SELECT repeated_at FROM items") is None


@pytest.mark.parametrize(
    "change",
    [
        "lease = lease + 1",
        "phase = 'live', status = 'initiated'",
        "phase = 'done', status = 'busy'",
    ],
)
async def test_key_is_not_sent_again_by_who_lost_the_question(yard: Yard, change: str) -> None:
    question = await take_one(yard)
    async with yard.db.transaction() as conn:
        await conn.execute(f"UPDATE items SET {change}".encode())
    assert (await Repeats(yard.db).decide(question, yard.provider)).ruling is Ruling.DROP
    assert await yard.value("SELECT sends FROM items") == 1


async def test_key_whose_intent_took_too_long_is_not_sent(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = await take_one(yard)
    times = iter([0.0, lifecycle.SEND_WITHIN.total_seconds() + 0.1])
    monkeypatch.setattr(repeats, "monotonic", lambda: next(times))
    assert (await Repeats(yard.db).decide(question, yard.provider)).ruling is Ruling.DROP
    assert await yard.value("SELECT repeated_at IS NOT NULL FROM items")


async def test_each_repeat_is_written_before_it_is_sent(yard: Yard) -> None:
    noted: list[object] = []

    async def note(request: Request) -> Answer:
        is_new = await yard.value("SELECT repeated_at > intent_at FROM items")
        noted.append((request.delivery, await yard.value("SELECT sends FROM items"), is_new))
        return LOST if len(noted) < 3 else Ended(status="completed")

    yard.provider.promises(timeout=PATIENT)
    yard.provider.script = note
    await make_overdue(yard)
    async with asking(yard, lines(yard)):
        await yard.until("SELECT phase = 'done' FROM items")
    assert noted == [(2, 2, True), (3, 3, True), (4, 4, True)]


async def test_absence_is_not_believed_while_a_repeat_may_arrive(
    yard: Yard, clock: StandingClock
) -> None:
    batch_id = await make_overdue(yard)
    # What was sent first can no longer arrive.
    repeated_at = NOON + timedelta(seconds=3)
    stopping = None

    async def lose(_: Request) -> Answer:
        nonlocal stopping
        # Also where its answer is lost because that took too long.
        stopping = asyncio.create_task(stop(yard, batch_id))
        await asyncio.shield(stopping)
        return LOST

    yard.provider.promises(is_askable=True)
    yard.provider.script = lose
    arrives_until = "repeated_at + interval '2.1 s'"
    believed = "SELECT updated_at FROM items WHERE phase = 'ready'"
    async with asking(yard, lines(yard), only_when_told=True) as asker:
        clock.set(repeated_at)
        assert await asker.look() == 1
        assert stopping is not None
        await stopping
        for second, phase in enumerate(("calling", "calling", "ready"), start=1):
            clock.set(repeated_at + timedelta(seconds=second))
            assert await asker.look() == 1
            assert await yard.value(PHASES) == [phase]
    assert await yard.value(f"SELECT ({believed}) >= {arrives_until} FROM items") is True
    assert len(yard.provider.sent) == 1
    assert len(yard.provider.asked) == 3


async def test_time_that_a_repeat_is_told_to_wait_holds_everybody(yard: Yard) -> None:
    async def refuse(_: Request) -> Answer:
        return Refused(code="http_429", message="Slow down", retry_after_seconds=600)

    yard.provider.script = refuse
    await make_overdue(yard)
    async with asking(yard, lines(yard)):
        await yard.until("SELECT slow_until > clock_timestamp() + '500 s' FROM providers")
        await make_overdue(yard, items=20)
        await yard.until("SELECT bool_and(deadline_at > clock_timestamp() + '500 s') FROM items")
    assert len(yard.provider.sent) == 1


async def test_window_slows_down_nobody(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    async def open_tomorrow(*_: object) -> object:
        return yard.db.clock() + timedelta(days=1)

    monkeypatch.setattr(Repeats, "_opening", open_tomorrow)
    await make_overdue(yard)
    async with asking(yard, lines(yard)):
        await yard.until("SELECT deadline_at > clock_timestamp() + interval '23 h' FROM items")
    assert await yard.value("SELECT slow_until FROM providers WHERE id = 1") is None
    assert yard.provider.sent == []


@pytest.mark.parametrize("finding", [Accepted(status="ringing"), Ended(status="busy")])
async def test_what_asking_tells_during_a_pause_is_written(yard: Yard, finding: Finding) -> None:
    yard.provider.promises(is_askable=True)
    yard.provider.answers_when_asked = lambda _: finding
    batch_id = await make_overdue(yard)
    await pause(yard, batch_id)
    async with asking(yard, lines(yard)):
        await yard.until("SELECT phase IN ('live', 'done') FROM items")
    expected = Phase.LIVE if isinstance(finding, Accepted) else Phase.DONE
    assert await yard.value(PHASES) == [expected]


@pytest.mark.parametrize("scope", SCOPES)
async def test_lost_keys_keep_to_the_rate_of_every_scope(
    yard: Yard, clock: StandingClock, scope: str
) -> None:
    batch_id = await make_overdue(yard, items=10)
    name = await scope_of(yard, scope, batch_id)
    await limits.set_limit(yard.db, scope=name, concurrency=None, rates=[HOURLY])
    async with asking(yard, lines(yard)):
        await yard.until(IN_LINE, [9, NOON + repeats.LONGEST_LINE])
        assert len(yard.provider.sent) == 1
        later = NOON + timedelta(hours=2)
        clock.set(later)
        await yard.until(IN_LINE, [8, later + repeats.LONGEST_LINE])
    assert len(yard.provider.sent) == 2
    assert await yard.value("SELECT sum(sends) FROM items") == 12


@pytest.mark.usefixtures("clock")
async def test_lost_keys_keep_to_the_rate_that_the_provider_asks_for(yard: Yard) -> None:
    yard.provider.rate = HOURLY
    # Whoever sets nothing but a cap has taken away the rate that was there.
    await limits.set_limit(yard.db, scope="provider:sandbox", concurrency=20, rates=[])
    await make_overdue(yard, items=10)
    async with asking(yard, lines(yard)):
        await yard.until(IN_LINE, [9, NOON + repeats.LONGEST_LINE])
    assert len(yard.provider.sent) == 1


DUE = "SELECT array_agg(deadline_at ORDER BY deadline_at) = %s FROM items WHERE phase <> 'done'"


def seconds(*after_noon: int) -> list[list[datetime]]:
    return [[NOON + timedelta(seconds=n) for n in after_noon]]


@pytest.mark.parametrize("is_askable", [False, True])
async def test_lost_keys_come_one_after_the_other_for_the_next_tokens(
    yard: Yard, clock: StandingClock, *, is_askable: bool
) -> None:
    yard.provider.promises(is_askable=is_askable)
    yard.provider.answers_when_asked = lambda _: Lost(code="reset", message="Connection reset")
    await limits.set_limit(yard.db, scope="provider:sandbox", concurrency=None, rates=[EACH_SECOND])
    await make_overdue(yard, items=4)
    async with asking(yard, lines(yard)):
        for second in (0, 1, 2):
            clock.set(NOON + timedelta(seconds=second))
            await yard.until(DUE, seconds(*range(second + 1, 4)))
            assert len(yard.provider.sent) == second + 1
            # What is new stands behind them.
            assert await yard.value("SELECT round(tokens) FROM rates") == -3
        clock.set(NOON + timedelta(seconds=3))
        await yard.until("SELECT bool_and(phase = 'done') FROM items")
    assert set(yard.provider.effects.values()) == {1}


async def test_who_comes_late_for_tokens_takes_others(yard: Yard, clock: StandingClock) -> None:
    await limits.set_limit(yard.db, scope="provider:sandbox", concurrency=None, rates=[EACH_SECOND])
    await make_overdue(yard, items=4)
    async with asking(yard, lines(yard)):
        await yard.until(DUE, seconds(1, 2, 3))
        clock.set(NOON + timedelta(seconds=60))
        await yard.until(DUE, seconds(61, 62))
    assert len(yard.provider.sent) == 2

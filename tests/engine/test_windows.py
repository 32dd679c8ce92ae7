"""Calls stay inside their windows: at admission, at the intent, and when a key is repeated."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from batchyard.clock import monotonic
from batchyard.contact_rules import TeamRules
from batchyard.engine.admission import Admitter
from batchyard.engine.failpoints import Failpoint
from batchyard.engine.journal import Journal
from batchyard.engine.look import Admission
from batchyard.engine.runner import Runner
from batchyard.models import Answer, Ended, Lost, Policy, Request, RetryPolicy
from batchyard.operations import contacts, waiting
from tests.clocks import StandingClock
from tests.engine.calls import (
    DANE,
    JAPANESE,
    NEW_YORKER,
    SATELLITE,
    TOLL_FREE,
    due_at,
    find_team,
    make_calls,
    outcomes,
    set_clock,
    set_rules,
)
from tests.engine.calls import called as called_by
from tests.engine.conftest import Yard

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
"""14:00 in Copenhagen, 08:00 in New York, 21:00 in Tokyo, a Monday."""
NEW_YORK_OPENS = datetime(2026, 6, 1, 13, tzinfo=UTC)
TOKYO_OPENS = datetime(2026, 6, 2, 0, tzinfo=UTC)

PUT_OFF = "SELECT count(*) = %s FROM items WHERE status = 'rescheduled'"


@pytest.mark.parametrize("policy", [Policy.NEITHER, Policy.REPEATABLE])
async def test_calls_wait_for_the_window_of_their_own_zone(yard: Yard, policy: Policy) -> None:
    clock = set_clock(yard, NOON)
    yard.provider.promises(policy=policy)
    batch_id = await make_calls(yard, [JAPANESE, NEW_YORKER, DANE])
    async with yard.working():
        await yard.until(PUT_OFF, [2])
        await yard.until("SELECT count(*) = 1 FROM items WHERE phase = 'done'")
        await yard.until("SELECT wake_at = %s FROM wakes", [NEW_YORK_OPENS])
    assert called_by(yard) == [DANE]
    assert await due_at(yard, NEW_YORKER) == NEW_YORK_OPENS
    assert await due_at(yard, JAPANESE) == TOKYO_OPENS
    told = await waiting.explain_batch(yard.db, team=await find_team(yard), batch_id=batch_id)
    assert told is not None
    assert told.reason in {"window", "no_worker"}

    clock.set(NEW_YORK_OPENS)
    async with yard.working():
        await yard.until("SELECT count(*) = 2 FROM items WHERE phase = 'done'")
    clock.set(TOKYO_OPENS)
    async with yard.working():
        assert await yard.until_ended(batch_id) == "completed"
    assert called_by(yard) == [DANE, NEW_YORKER, JAPANESE]
    for request, zone in zip(
        yard.provider.sent, ("Europe/Copenhagen", "America/New_York", "Asia/Tokyo"), strict=True
    ):
        assert 9 <= request.sent_at.astimezone(ZoneInfo(zone)).hour < 20


async def test_waiting_batch_says_when_its_window_opens(yard: Yard) -> None:
    set_clock(yard, NOON)
    batch_id = await make_calls(yard, [NEW_YORKER])
    async with yard.working():
        await yard.until(PUT_OFF, [1])
        told = await waiting.explain_batch(yard.db, team=await find_team(yard), batch_id=batch_id)
    assert told == waiting.Waiting(reason="window", until=NEW_YORK_OPENS)


async def test_batch_that_bypasses_windows_calls_at_any_hour(yard: Yard) -> None:
    set_clock(yard, NOON)
    await set_rules(yard, TeamRules(days=frozenset({7})))
    batch_id = await make_calls(yard, [JAPANESE, SATELLITE], bypasses=True)
    async with yard.working():
        assert await yard.until_ended(batch_id) == "completed"
    assert await yard.counts(batch_id) == {"completed": 2}


@pytest.mark.parametrize("number", [SATELLITE, TOLL_FREE])
async def test_call_without_any_moment_ends(yard: Yard, number: str) -> None:
    set_clock(yard, NOON)
    batch_id = await make_calls(yard, [number, DANE])
    async with yard.working():
        assert await yard.until_ended(batch_id) == "completed"
    assert await outcomes(yard, batch_id) == {
        number: ("canceled", "zone_unknown"),
        DANE: ("completed", None),
    }
    assert called_by(yard) == [DANE]


@pytest.mark.parametrize("number", [SATELLITE, TOLL_FREE])
async def test_fallback_zone_stands_in_for_unknown_ones(yard: Yard, number: str) -> None:
    clock = set_clock(yard, NOON)
    await set_rules(yard, TeamRules(fallback_zone="America/New_York"))
    batch_id = await make_calls(yard, [number])
    async with yard.working():
        await yard.until(PUT_OFF, [1])
    assert await due_at(yard, number) == NEW_YORK_OPENS
    clock.set(NEW_YORK_OPENS)
    async with yard.working():
        await yard.until_ended(batch_id)
    assert called_by(yard) == [number]


async def test_number_of_any_zone_is_called_without_a_window(yard: Yard) -> None:
    set_clock(yard, NOON)
    batch_id = await make_calls(yard, [SATELLITE], guardrails=None)
    async with yard.working():
        await yard.until_ended(batch_id)
    assert called_by(yard) == [SATELLITE]


async def test_weekend_and_holidays_of_the_team_are_kept(yard: Yard) -> None:
    saturday = datetime(2026, 6, 6, 10, tzinfo=UTC)
    set_clock(yard, saturday)
    rules = TeamRules(days=frozenset({1, 2, 3, 4, 5}), holidays=frozenset({date(2026, 6, 8)}))
    await set_rules(yard, rules)
    await make_calls(yard, [DANE], guardrails=None)
    async with yard.working():
        await yard.until(PUT_OFF, [1])
    # Tuesday, midnight in Copenhagen.
    assert await due_at(yard, DANE) == datetime(2026, 6, 8, 22, tzinfo=UTC)


async def test_changed_days_are_looked_at_anew(yard: Yard) -> None:
    set_clock(yard, datetime(2026, 6, 6, 10, tzinfo=UTC))
    await set_rules(yard, TeamRules(days=frozenset({1})))
    batch_id = await make_calls(yard, [DANE])
    async with yard.working():
        await yard.until(PUT_OFF, [1])
        await set_rules(yard, TeamRules())
        await yard.until_ended(batch_id)
    assert called_by(yard) == [DANE]


async def test_retry_outside_the_window_moves_to_its_next_start(yard: Yard) -> None:
    async def busy(_: Request) -> Answer:
        return Ended(status="busy")

    evening = datetime(2026, 6, 1, 17, 50, tzinfo=UTC)
    clock = set_clock(yard, evening)
    yard.provider.script = busy
    policy = RetryPolicy(statuses=("busy",), max_retries=1, intervals_minutes=(30,))
    batch_id = await make_calls(yard, [DANE], retry_policy=policy)
    async with yard.working():
        await yard.until("SELECT count(*) = 1 FROM items WHERE status = 'retrying'")
    clock.set(evening + timedelta(minutes=31))
    async with yard.working():
        await yard.until(PUT_OFF, [1])
    morning = datetime(2026, 6, 2, 7, tzinfo=UTC)
    assert await due_at(yard, DANE) == morning
    clock.set(morning)
    async with yard.working():
        await yard.until_ended(batch_id)
    assert [request.attempt for request in yard.provider.sent] == [1, 2]


async def test_many_closed_items_do_not_hide_an_open_one(yard: Yard) -> None:
    set_clock(yard, NOON)
    numbers = [f"+8131234{n:04}" for n in range(10_000)] + [f"+8131235{n:04}" for n in range(3000)]
    await make_calls(yard, [*numbers, DANE])
    async with yard.working():
        await yard.until("SELECT count(*) = 1 FROM items WHERE phase = 'done'", seconds=60)
        await yard.until(PUT_OFF, [13_000], seconds=60)
    assert called_by(yard) == [DANE]


async def test_agent_with_senseless_hours_holds_its_batch(yard: Yard) -> None:
    set_clock(yard, NOON)
    batch_id = await make_calls(yard, [DANE], guardrails={"call_start_hour": 20})
    other = await make_calls(yard, [NEW_YORKER], guardrails=None)
    async with yard.working():
        await yard.until_ended(other)
        await yard.until(
            "SELECT wait_reason = 'window_invalid' FROM batches WHERE id = %s", [batch_id]
        )
    assert called_by(yard) == [NEW_YORKER]


async def admit(yard: Yard, admitter: Admitter) -> Admission:
    team = await find_team(yard)
    async with yard.db.transaction() as conn:
        return await admitter.admit(
            conn, team, slots=lambda: 10, singles_only=False, now=yard.db.clock()
        )


@pytest.mark.parametrize("policy", [Policy.NEITHER, Policy.REPEATABLE])
async def test_window_that_closes_after_admission_is_kept(yard: Yard, policy: Policy) -> None:
    last_moment = datetime(2026, 6, 1, 17, 59, 59, tzinfo=UTC)
    clock = yard.db.clock = StandingClock(last_moment)
    yard.provider.promises(policy=policy)
    await make_calls(yard, [DANE])
    switchboard = await yard.connect(yard.config, yard.db, report=yard.report)
    journal = Journal(yard.db, unknown_grace=timedelta(hours=1), worker_id=1)
    runner = Runner(yard.db, journal, slots=10, failpoint=Failpoint(None))
    writing = asyncio.create_task(journal.run())
    admitter = Admitter(yard.config, switchboard, worker_id=1)
    admission = await admit(yard, admitter)
    assert admission.count == 1

    clock.set(last_moment + timedelta(seconds=1))
    for assignment, claimed in admission.started:
        runner.start(assignment, claimed)
    await yard.until("SELECT phase = 'ready' FROM items")
    ((run, hours),) = (await admit(yard, admitter)).ajar
    async with yard.db.transaction() as conn:
        assert await admitter.put_off(conn, run, hours, now=yard.db.clock())

    writing.cancel()
    assert yard.provider.sent == []
    assert await due_at(yard, DANE) == datetime(2026, 6, 2, 7, tzinfo=UTC)
    assert await yard.value("SELECT phase FROM items") == "ready"


async def test_admission_without_windows_asks_nothing_more(yard: Yard) -> None:
    set_clock(yard, NOON)
    await make_calls(yard, [DANE], guardrails=None)
    switchboard = await yard.connect(yard.config, yard.db, report=yard.report)
    admission = await admit(yard, Admitter(yard.config, switchboard, worker_id=1))
    ((assignment, _),) = admission.started
    assert assignment.hours is None
    assert assignment.counted_zones is None
    assert admission.ajar == []


async def test_key_is_not_repeated_outside_the_window(yard: Yard) -> None:
    async def lose(_: Request) -> Answer:
        return Lost(code="reset", message="Connection reset")

    evening = datetime(2026, 6, 1, 17, 59, 0, tzinfo=UTC)
    clock = set_clock(yard, evening)
    yard.provider.promises(policy=Policy.REPEATABLE, timeout=timedelta(seconds=30))
    yard.provider.script = lose
    batch_id = await make_calls(yard, [DANE])
    async with yard.working():
        await yard.until(
            "SELECT count(*) = 1 FROM items WHERE phase = 'calling' AND worker_id IS NULL"
        )
    clock.set(evening + timedelta(minutes=2))
    opens_at = datetime(2026, 6, 2, 7, tzinfo=UTC)
    async with yard.working():
        await yard.until("SELECT deadline_at >= %s FROM items", [opens_at])
    assert len(yard.provider.sent) == 1

    async def complete(_: Request) -> Answer:
        return Ended(status="completed")

    yard.provider.script = complete
    clock.set(opens_at + timedelta(minutes=1))
    started = monotonic()
    async with yard.working():
        assert await yard.until_ended(batch_id) == "completed"
    assert monotonic() - started < 20
    assert [request.attempt for request in yard.provider.sent] == [1, 1]


async def test_reconsidering_moves_only_what_waits_for_a_window(yard: Yard) -> None:
    set_clock(yard, NOON)
    await make_calls(yard, [NEW_YORKER])
    async with yard.working():
        await yard.until(PUT_OFF, [1])
    team = await find_team(yard)
    assert await contacts.reconsider_windows(yard.db, team=team) == 1
    async with yard.working():
        await yard.until("SELECT due_at = %s FROM items", [NEW_YORK_OPENS])
    assert yard.provider.sent == []

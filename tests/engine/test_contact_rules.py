"""Rules that nothing bypasses: do-not-contact, attempts, countries, premium rate."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from batchyard.contact_rules import TeamRules
from batchyard.engine.admission import Admitter
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
)
from batchyard.operations import contacts, control
from batchyard.store import attempts, limits
from tests.engine.calls import (
    DANE,
    JAPANESE,
    NEW_YORKER,
    called,
    find_team,
    make_calls,
    outcomes,
    set_clock,
    set_rules,
)
from tests.engine.conftest import OneLine, Yard
from tests.engine.test_windows import admit

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
POLICIES = pytest.mark.parametrize("policy", [Policy.NEITHER, Policy.REPEATABLE])
PREMIUM = "+4590123456"


async def list_number(yard: Yard, number: str, *, until: datetime | None = None) -> None:
    await contacts.add_do_not_contact(
        yard.db, team=await find_team(yard), number=number, until=until
    )


async def completes(_: Request) -> Answer:
    return Ended(status="completed")


async def hangs_up(_: Request) -> Answer:
    return Ended(status="completed", result={"opt_out": True})


@POLICIES
async def test_listed_number_is_not_called_whatever_is_bypassed(yard: Yard, policy: Policy) -> None:
    yard.provider.promises(policy=policy)
    batch_id = await make_calls(yard, [DANE, NEW_YORKER], guardrails=None, bypasses=True)
    await list_number(yard, DANE)
    async with yard.working():
        assert await yard.until_ended(batch_id) == "completed"
    assert await outcomes(yard, batch_id) == {
        DANE: ("canceled", "do_not_contact"),
        NEW_YORKER: ("completed", None),
    }
    assert called(yard) == [NEW_YORKER]
    assert await yard.value("SELECT bool_and(ended_at IS NOT NULL) FROM item_data")


async def test_first_number_of_a_list_holds_for_an_admission_that_waits_meanwhile(
    yard: Yard,
) -> None:
    yard.provider.promises(policy=Policy.REPEATABLE)
    batch_id = await make_calls(yard, [DANE, NEW_YORKER], guardrails=None)
    admitter = Admitter(yard.config, OneLine(yard.provider), worker_id=1)
    async with yard.db.transaction() as conn:
        key = limits.team_key(yard.team_id)
        await limits.lock(conn, [key], defaults={key: 5})
        admitting = asyncio.create_task(admit(yard, admitter))
        await yard.until(
            "SELECT count(*) = 1 FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        await list_number(yard, DANE)
    admission = await admitting
    assert [item.number for _, claimed in admission.started for item in claimed] == [NEW_YORKER]
    assert (await outcomes(yard, batch_id))[DANE] == ("canceled", "do_not_contact")


async def test_list_of_another_team_does_not_count(yard: Yard) -> None:
    batch_id = await make_calls(yard, [DANE], guardrails=None)
    async with yard.db.transaction() as conn:
        await conn.execute(
            "WITH other AS (INSERT INTO teams (uuid, slug, name, created_at)"
            " VALUES (gen_random_uuid(), 'other', 'Other', now()) RETURNING id)"
            " INSERT INTO do_not_contact (team_id, number, source, created_at)"
            " SELECT id, %s, 'person', now() FROM other",
            (DANE,),
        )
    async with yard.working():
        await yard.until_ended(batch_id)
    assert called(yard) == [DANE]


async def test_listed_number_is_called_again_after_its_time(yard: Yard) -> None:
    clock = set_clock(yard, NOON)
    await list_number(yard, DANE, until=NOON + timedelta(hours=1))
    early = await make_calls(yard, [DANE], guardrails=None)
    async with yard.working():
        await yard.until_ended(early)
    assert called(yard) == []
    clock.set(NOON + timedelta(hours=1))
    late = await make_calls(yard, [DANE], guardrails=None)
    async with yard.working():
        await yard.until_ended(late)
    assert called(yard) == [DANE]


@POLICIES
async def test_opt_out_in_a_result_ends_later_calls_to_the_number(
    yard: Yard, policy: Policy
) -> None:
    yard.provider.promises(policy=policy)
    yard.provider.script = hangs_up
    first = await make_calls(yard, [DANE], guardrails=None)
    async with yard.working():
        await yard.until_ended(first)
        second = await make_calls(yard, [DANE], guardrails=None)
        await yard.until(
            "SELECT count(*) = 1 FROM items WHERE batch_id = %s AND phase = 'done'", [second]
        )
    assert await outcomes(yard, second) == {DANE: ("canceled", "do_not_contact")}
    (entry,) = await contacts.list_do_not_contact(yard.db, team=await find_team(yard))
    assert (entry.number, entry.source, entry.until) == (DANE, "opt_out", None)
    assert len(yard.provider.sent) == 1


async def test_opt_out_holds_against_a_planned_retry(yard: Yard) -> None:
    yard.provider.script = hangs_up
    policy = RetryPolicy(statuses=("completed",), max_retries=1, intervals_minutes=(0.001,))
    batch_id = await make_calls(yard, [DANE], guardrails=None, retry_policy=policy)
    async with yard.working():
        await yard.until_ended(batch_id)
    assert await outcomes(yard, batch_id) == {DANE: ("canceled", "do_not_contact")}
    assert len(yard.provider.sent) == 1


async def test_opt_out_told_too_late_for_its_item_counts_all_the_same(yard: Yard) -> None:
    batch_id = await make_calls(yard, [DANE], guardrails=None)
    async with yard.working():
        await yard.until_ended(batch_id)
        key = yard.provider.sent[0].key
        yard.report(key, Ended(status="completed", result={"opt_out": True}))
        await yard.until("SELECT count(*) = 1 FROM do_not_contact")


async def test_opt_out_outlives_an_entry_that_would_end(yard: Yard) -> None:
    async def accept(_: Request) -> Answer:
        return Accepted()

    yard.provider.script = accept
    batch_id = await make_calls(yard, [DANE], guardrails=None)
    async with yard.working():
        await yard.until("SELECT count(*) = 1 FROM items WHERE phase = 'live'")
        await list_number(yard, DANE, until=yard.db.clock() + timedelta(days=1))
        yard.report(yard.provider.sent[0].key, Ended(status="completed", result={"opt_out": True}))
        await yard.until_ended(batch_id)
    assert await yard.value("SELECT until IS NULL AND source = 'opt_out' FROM do_not_contact")


@POLICIES
async def test_attempts_of_a_day_count_over_all_batches(yard: Yard, policy: Policy) -> None:
    clock = set_clock(yard, NOON)
    yard.provider.promises(policy=policy)
    await set_rules(yard, TeamRules(attempts_per_day=2))
    first = await make_calls(yard, [DANE, DANE, DANE, NEW_YORKER], guardrails=None)
    async with yard.working():
        await yard.until_ended(first)
        second = await make_calls(yard, [DANE, NEW_YORKER], guardrails=None)
        await yard.until_ended(second)
    assert await yard.counts(first) == {"completed": 3, "canceled": 1}
    assert await outcomes(yard, second) == {
        DANE: ("canceled", "attempts_reached"),
        NEW_YORKER: ("completed", None),
    }
    assert Counter(called(yard)) == {DANE: 2, NEW_YORKER: 2}

    # The day ends with the recipient's, at 22:00 UTC in Copenhagen.
    clock.set(datetime(2026, 6, 1, 21, 59, 0, tzinfo=UTC))
    early = await make_calls(yard, [DANE], guardrails=None)
    async with yard.working():
        await yard.until_ended(early)
    clock.set(datetime(2026, 6, 1, 22, 0, 1, tzinfo=UTC))
    late = await make_calls(yard, [DANE], guardrails=None)
    async with yard.working():
        await yard.until_ended(late)
    assert await outcomes(yard, early) == {DANE: ("canceled", "attempts_reached")}
    assert await outcomes(yard, late) == {DANE: ("completed", None)}


async def test_attempts_of_seven_days_count(yard: Yard) -> None:
    clock = set_clock(yard, NOON)
    await set_rules(yard, TeamRules(attempts_per_week=2))
    for day, calls in ((0, 1), (3, 2), (6, 2), (7, 3)):
        clock.set(NOON + timedelta(days=day))
        batch_id = await make_calls(yard, [DANE], guardrails=None)
        async with yard.working():
            await yard.until_ended(batch_id)
        assert len(yard.provider.sent) == calls, day


async def test_attempts_made_before_the_limit_count(yard: Yard) -> None:
    set_clock(yard, NOON)
    batch_id = await make_calls(yard, [DANE, JAPANESE], guardrails=None)
    async with yard.working():
        await yard.until_ended(batch_id)
        await set_rules(yard, TeamRules(attempts_per_day=1))
        again = await make_calls(yard, [DANE, NEW_YORKER], guardrails=None)
        await yard.until_ended(again)
    assert await outcomes(yard, again) == {
        DANE: ("canceled", "attempts_reached"),
        NEW_YORKER: ("completed", None),
    }


@POLICIES
async def test_key_that_came_back_unsent_is_no_attempt_whatever_becomes_of_it(
    yard: Yard, policy: Policy
) -> None:
    async def refuse(_: Request) -> Answer:
        return Refused(code="connect_failed", message="Nobody there")

    await set_rules(yard, TeamRules(attempts_per_day=1))
    yard.provider.promises(policy=policy)
    yard.provider.script = refuse
    stopped = await make_calls(yard, [DANE], guardrails=None)
    async with yard.working():
        await yard.until("SELECT sends > 0 AND phase = 'ready' FROM items")
    assert await yard.value("SELECT count(*) FROM contact_attempts") == 1
    team = await find_team(yard)
    await control.stop_batch(yard.db, team=team, kind=Kind.CALL, batch_id=stopped)
    await control.end_stopped_items(yard.db)
    async with yard.db.pool.connection() as conn:
        days = (yard.db.clock() - timedelta(days=1), yard.db.clock() - timedelta(days=6))
        reached = await attempts.find_reached(conn, team_id=yard.team_id, numbers=[(DANE, *days)])
    assert reached == set()
    async with yard.db.transaction() as conn:
        await conn.execute("UPDATE providers SET slow_until = NULL")
    yard.provider.script = completes
    later = await make_calls(yard, [DANE], guardrails=None)
    async with yard.working():
        await yard.until_ended(later)
    assert await outcomes(yard, later) == {DANE: ("completed", None)}


async def test_limit_does_not_hold_before_all_is_counted(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = await make_calls(yard, [DANE], guardrails=None)
    async with yard.working():
        await yard.until_ended(batch_id)

    async def break_off(*_: object, **__: object) -> None:
        raise ConnectionError

    with monkeypatch.context() as broken:
        broken.setattr(attempts, "recall", break_off)
        with pytest.raises(ConnectionError):
            await set_rules(yard, TeamRules(attempts_per_day=1))
    assert await yard.value("SELECT count(*) FROM team_rules") == 0
    await set_rules(yard, TeamRules(attempts_per_day=1))
    assert await yard.value("SELECT count(*) FROM contact_attempts") == 1


async def test_retry_is_an_attempt(yard: Yard) -> None:
    set_clock(yard, NOON)

    async def busy(_: Request) -> Answer:
        return Ended(status="busy")

    await set_rules(yard, TeamRules(attempts_per_day=2))
    yard.provider.script = busy
    policy = RetryPolicy(statuses=("busy",), max_retries=3, intervals_minutes=(0.001,))
    batch_id = await make_calls(yard, [DANE], guardrails=None, retry_policy=policy)
    async with yard.working():
        await yard.until_ended(batch_id)
    assert await outcomes(yard, batch_id) == {DANE: ("canceled", "attempts_reached")}
    assert [request.attempt for request in yard.provider.sent] == [1, 2]


async def test_call_over_the_limit_is_ended_with_the_claim_that_carries_its_intent(
    yard: Yard,
) -> None:
    """A process that dies right behind it leaves nothing whose key would be sent again."""
    set_clock(yard, NOON)
    yard.provider.promises(policy=Policy.REPEATABLE)
    await set_rules(yard, TeamRules(attempts_per_day=1))
    batch_id = await make_calls(yard, [DANE, DANE], guardrails=None)
    admission = await admit(yard, Admitter(yard.config, OneLine(yard.provider), worker_id=1))
    assert (admission.count, len(admission.blocked)) == (1, 1)
    assert await yard.counts(batch_id) == {"sending": 1, "canceled": 1}
    ended = "SELECT error_code FROM item_data WHERE ended_at IS NOT NULL"
    assert await yard.value(ended) == "attempts_reached"


@POLICIES
async def test_attempts_hold_with_several_workers_at_once(yard: Yard, policy: Policy) -> None:
    set_clock(yard, NOON)
    yard.provider.promises(policy=policy)
    await set_rules(yard, TeamRules(attempts_per_day=3))
    numbers = [f"+452012345{n}" for n in range(5)]
    batches = [await make_calls(yard, numbers * 8, guardrails=None) for _ in range(4)]
    async with yard.working(), yard.working():
        for batch_id in batches:
            await yard.until_ended(batch_id)
    assert Counter(called(yard)) == dict.fromkeys(numbers, 3)


async def test_refused_key_that_is_sent_again_is_one_attempt(yard: Yard) -> None:
    async def lose_then_answer(request: Request) -> Answer:
        if request.delivery == 1:
            return Lost(code="reset", message="gone")
        return Ended(status="completed")

    yard.provider.promises(policy=Policy.REPEATABLE, timeout=timedelta(0))
    yard.provider.script = lose_then_answer
    await set_rules(yard, TeamRules(attempts_per_day=1))
    batch_id = await make_calls(yard, [DANE], guardrails=None)
    async with yard.working():
        await yard.until_ended(batch_id)
    assert await outcomes(yard, batch_id) == {DANE: ("completed", None)}
    assert await yard.value("SELECT count(*) FROM contact_attempts") == 1


async def test_attempts_are_forgotten_when_no_limit_counts_them(yard: Yard) -> None:
    clock = set_clock(yard, NOON)
    await set_rules(yard, TeamRules(attempts_per_day=1))
    batch_id = await make_calls(yard, [DANE], guardrails=None)
    async with yard.working():
        await yard.until_ended(batch_id)
    clock.set(NOON + timedelta(days=7))
    await contacts.forget_attempts(yard.db)
    assert await yard.value("SELECT count(*) FROM contact_attempts") == 1
    clock.set(NOON + timedelta(days=9))
    await contacts.forget_attempts(yard.db)
    assert await yard.value("SELECT count(*) FROM contact_attempts") == 0


async def test_nothing_is_counted_where_nothing_is_limited(yard: Yard) -> None:
    batch_id = await make_calls(yard, [DANE], guardrails=None)
    async with yard.working():
        await yard.until_ended(batch_id)
    assert await yard.value("SELECT count(*) FROM contact_attempts") == 0


@POLICIES
@pytest.mark.parametrize(
    "rules,number,code",
    [
        (TeamRules(countries=frozenset({"US"})), DANE, "country_not_allowed"),
        (TeamRules(countries=frozenset({"US"})), "+870773111632", "country_not_allowed"),
        (TeamRules(refuses_premium=True), PREMIUM, "premium_rate"),
    ],
)
async def test_rules_set_after_the_upload_hold(
    yard: Yard, policy: Policy, rules: TeamRules, number: str, code: str
) -> None:
    yard.provider.promises(policy=policy)
    batch_id = await make_calls(yard, [number, NEW_YORKER], guardrails=None, bypasses=True)
    await set_rules(yard, rules)
    async with yard.working():
        assert await yard.until_ended(batch_id) == "completed"
    assert await outcomes(yard, batch_id) == {
        number: ("canceled", code),
        NEW_YORKER: ("completed", None),
    }
    assert called(yard) == [NEW_YORKER]


async def test_lost_call_to_a_number_listed_since_is_not_repeated(yard: Yard) -> None:
    has_called = asyncio.Event()
    listed = asyncio.Event()

    async def lose(_: Request) -> Answer:
        has_called.set()
        await listed.wait()
        return Lost(code="reset", message="gone")

    yard.provider.promises(policy=Policy.REPEATABLE, timeout=timedelta(seconds=1))
    yard.provider.script = lose
    await make_calls(yard, [DANE], guardrails=None)
    async with yard.working():
        async with asyncio.timeout(30):
            await has_called.wait()
        await list_number(yard, DANE)
        listed.set()
        await yard.until("SELECT error_code = 'not_askable' FROM item_data")
    assert len(yard.provider.sent) == 1


async def test_team_held_by_its_cap_goes_on_after_blocked_items(yard: Yard) -> None:
    yard.config = yard.config.model_copy(update={"team_concurrency": 2})
    for number in (DANE, JAPANESE):
        await list_number(yard, number)
    batch_id = await make_calls(yard, [DANE, JAPANESE] * 20 + [NEW_YORKER], guardrails=None)
    async with yard.working():
        assert await yard.until_ended(batch_id) == "completed"
    assert await yard.counts(batch_id) == {"canceled": 40, "completed": 1}

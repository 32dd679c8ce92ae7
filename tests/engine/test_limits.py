"""No cap and no rate is exceeded, with several workers, counted from outside."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from uuid import UUID

import pytest

from batchyard.engine.admission import Admitter
from batchyard.engine.look import Admission
from batchyard.engine.runner import Runner
from batchyard.errors import InvalidRequest, NotFound
from batchyard.models import Answer, Ended, Kind, Policy, Rate, Request
from batchyard.operations import limits
from tests.clocks import StandingClock
from tests.engine.calls import set_clock
from tests.engine.conftest import NOON, OneLine, Yard
from tests.engine.test_lock_order import make_turns
from tests.engine.test_windows import admit

SCOPES = ("team", "provider", "agent", "batch")

A_SECOND = timedelta(seconds=1.02)
"""With what is to spare for requests that leave the house late or early."""

EACH_SECOND = Rate(count=50, seconds=49)
"""One a second, at the pace that is kept: a little slower than the rate."""


async def briefly(request: Request) -> Answer:
    await asyncio.sleep(0.01)
    return Ended(status="booked" if request.kind is Kind.SHIPMENT else "completed")


async def scope_of(yard: Yard, scope: str, batch_id: UUID) -> str:
    """Name the limit of this scope that a batch of calls is under."""
    name = {
        "team": await yard.value("SELECT slug FROM teams WHERE id = %s", [yard.team_id]),
        "provider": "sandbox",
        "agent": await yard.value("SELECT agent_id FROM batches WHERE id = %s", [batch_id]),
        "batch": batch_id,
    }[scope]
    return f"{scope}:{name}"


@pytest.mark.parametrize("scope", SCOPES)
async def test_cap_holds_in_every_scope(yard: Yard, scope: str) -> None:
    yard.provider.script = briefly
    batch_id = await yard.make_batch(items=150, kind=Kind.CALL)
    name = await scope_of(yard, scope, batch_id)
    await limits.set_limit(yard.db, scope=name, concurrency=6, rates=[])
    async with yard.working(), yard.working():
        assert await yard.until_ended(batch_id) == "completed"
    assert yard.provider.most_busy <= 6


@pytest.mark.parametrize("scope", SCOPES)
async def test_rate_holds_over_every_stretch_of_time(yard: Yard, scope: str) -> None:
    # The intent, which is what is held to the rate, is then of the very moment of the admission:
    # how late a busy machine sends tells nothing.
    yard.provider.promises(policy=Policy.REPEATABLE)
    batch_id = await yard.make_batch(items=60, kind=Kind.CALL)
    name = await scope_of(yard, scope, batch_id)
    rates = [Rate(count=20, seconds=1)]
    await limits.set_limit(yard.db, scope=name, concurrency=None, rates=rates)
    async with yard.working(), yard.working():
        assert await yard.until_ended(batch_id, seconds=40) == "completed"
    sent_at = sorted(request.sent_at for request in yard.provider.sent)
    assert len(sent_at) == 60
    for i, first in enumerate(sent_at):
        assert sum(later < first + A_SECOND for later in sent_at[i:]) <= 20


@pytest.mark.parametrize("scope", SCOPES)
async def test_rate_is_used_to_the_full_in_every_scope(yard: Yard, scope: str) -> None:
    clock = yard.db.clock = StandingClock(NOON)
    batch_id = await yard.make_batch(items=60, kind=Kind.CALL)
    name = await scope_of(yard, scope, batch_id)
    await limits.set_limit(yard.db, scope=name, concurrency=None, rates=[EACH_SECOND])
    admitter = Admitter(yard.config, OneLine(yard.provider), worker_id=1)
    for _ in range(59):
        assert (await admit(yard, admitter)).count == 1
        held = await admit(yard, admitter)
        assert held.count == 0
        assert held.opens_at is not None
        clock.set(held.opens_at)
    assert (await admit(yard, admitter)).count == 1
    assert clock() == NOON + timedelta(seconds=59)


class Held:
    """Lets nothing in for a moment, some times, and then has nothing left."""

    moment = timedelta(milliseconds=50)

    def __init__(self, yard: Yard, *, times: int) -> None:
        self.yard = yard
        self.left = times

    async def admit(self, *_: object, **__: object) -> Admission:
        self.left -= 1
        opens_at = None if self.left < 0 else self.yard.db.clock() + self.moment
        return Admission(started=(), is_capped=False, opens_at=opens_at)


async def test_turn_goes_on_with_the_next_token_and_does_not_wait_to_be_woken(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    naps: list[float | None] = []

    async def nap(_: Runner, *, within_seconds: float | None = None) -> None:
        naps.append(within_seconds)

    monkeypatch.setattr(Runner, "changed", nap)
    yard.db.clock = StandingClock(NOON)
    await yard.make_batch(items=1)
    await make_turns(yard, Held(yard, times=3)).serve(yard.team_id)
    assert naps == [Held.moment.total_seconds()] * 3


@pytest.mark.parametrize("burst,at_once", [(None, 1), (5, 5)])
async def test_burst_is_what_may_start_at_one_moment_after_a_quiet_time(
    yard: Yard, burst: int | None, at_once: int
) -> None:
    clock = set_clock(yard, NOON)
    batch_id = await yard.make_batch(items=20)
    await limits.set_limit(
        yard.db,
        scope=f"batch:{batch_id}",
        concurrency=None,
        rates=[Rate(count=1, seconds=3600)],
        burst=burst,
    )
    clock.set(clock() + timedelta(days=1))
    async with yard.working():
        await yard.until("SELECT wait_reason = 'batch_rate' FROM batches")
        await yard.until("SELECT count(*) = 0 FROM items WHERE phase NOT IN ('ready', 'done')")
    assert len(yard.provider.sent) == at_once


async def test_rate_token_never_holds_a_slot(yard: Yard) -> None:
    slots = 3
    yard.provider.script = briefly
    yard.config = yard.config.model_copy(update={"worker_slots": slots, "team_concurrency": slots})
    slow = await yard.make_batch(items=20)
    await limits.set_limit(
        yard.db, scope=f"batch:{slow}", concurrency=None, rates=[Rate(count=1, seconds=3600)]
    )
    async with yard.working():
        await yard.until("SELECT wait_reason = 'batch_rate' FROM batches")
        await yard.until("SELECT count(*) = 0 FROM items WHERE phase NOT IN ('ready', 'done')")
        yard.provider.most_busy = 0
        quick = await yard.make_batch(items=60)
        assert await yard.until_ended(quick) == "completed"
    assert yard.provider.most_busy == slots
    assert sum(request.batch_id == slow for request in yard.provider.sent) == 1


async def test_strictest_of_several_limits_wins(yard: Yard) -> None:
    yard.provider.script = briefly
    batch_id = await yard.make_batch(items=60)
    await limits.set_limit(yard.db, scope="provider:sandbox", concurrency=9, rates=[])
    await limits.set_limit(yard.db, scope=f"batch:{batch_id}", concurrency=3, rates=[])
    async with yard.working():
        assert await yard.until_ended(batch_id) == "completed"
    assert yard.provider.most_busy <= 3


@pytest.mark.parametrize(
    "counts,told",
    [
        ({1: 100, 60: 50}, ["50 in 60 s wins over 100 in 1 s whenever more than 50 are due."]),
        ({1: 1, 60: 5000}, ["1 in 1 s wins over 5000 in 60 s, which can never be reached."]),
        ({1: 1, 60: 60}, ["1 in 1 s wins over 60 in 60 s, which can never be reached."]),
        ({1: 1, 60: 59}, []),
        ({1: 5, 86_400: 10_000}, []),
    ],
)
async def test_contradictory_rates_are_told(
    yard: Yard, counts: Mapping[int, int], told: Sequence[str]
) -> None:
    batch_id = await yard.make_batch(items=1)
    done = await limits.set_limit(
        yard.db,
        scope=f"batch:{batch_id}",
        concurrency=None,
        rates=[Rate(count=count, seconds=seconds) for seconds, count in counts.items()],
    )
    assert done.remarks == told


@pytest.mark.parametrize(
    "scope,concurrency,fault",
    [
        ("batch:nonsense", 3, InvalidRequest),
        ("planet:earth", 3, InvalidRequest),
        ("team:nobody", 3, NotFound),
        ("provider:sandbox", 0, InvalidRequest),
        ("provider:sandbox", -1, InvalidRequest),
    ],
)
async def test_wrong_limit_is_refused(
    yard: Yard, scope: str, concurrency: int, fault: type[Exception]
) -> None:
    with pytest.raises(fault):
        await limits.set_limit(yard.db, scope=scope, concurrency=concurrency, rates=[])


@pytest.mark.parametrize("rate", [Rate(count=0, seconds=60), Rate(count=-1, seconds=60)])
async def test_rate_below_one_is_refused_and_changes_nothing(yard: Yard, rate: Rate) -> None:
    await limits.set_limit(yard.db, scope="provider:sandbox", concurrency=3, rates=[])
    with pytest.raises(InvalidRequest):
        await limits.set_limit(yard.db, scope="provider:sandbox", concurrency=4, rates=[rate])
    assert await yard.value("SELECT concurrency FROM limits WHERE key = 'provider:1'") == 3
    assert await yard.value("SELECT count(*) FROM rates") == 0


async def test_weight_is_set_with_the_limits_of_a_team_alone(yard: Yard) -> None:
    weight = "SELECT weight FROM teams WHERE id = %s"
    scope = f"team:{await yard.value('SELECT slug FROM teams WHERE id = %s', [yard.team_id])}"
    await limits.set_limit(yard.db, scope=scope, concurrency=None, rates=[], weight=3)
    assert await yard.value(weight, [yard.team_id]) == 3
    await limits.set_limit(yard.db, scope=scope, concurrency=9, rates=[])
    for wrong, given in ((scope, 0), (scope, -1), ("provider:sandbox", 2)):
        with pytest.raises(InvalidRequest):
            await limits.set_limit(yard.db, scope=wrong, concurrency=1, rates=[], weight=given)
    assert await yard.value(weight, [yard.team_id]) == 3

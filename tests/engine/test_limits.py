"""No cap and no rate is exceeded, with several workers, counted from outside."""

import asyncio
from itertools import pairwise

import pytest

from batchyard.clock import monotonic
from batchyard.errors import InvalidRequest, NotFound
from batchyard.models import Answer, Ended, Request
from batchyard.operations import limits
from batchyard.operations.providers import Rate
from tests.engine.conftest import Yard


async def briefly(_: Request) -> Answer:
    await asyncio.sleep(0.01)
    return Ended(status="booked")


@pytest.mark.parametrize("scope", ["team", "provider", "batch"])
async def test_cap_holds_in_every_scope(yard: Yard, scope: str) -> None:
    yard.provider.script = briefly
    batch_id = await yard.make_batch(items=150)
    slug = await yard.value("SELECT slug FROM teams WHERE id = %s", [yard.team_id])
    name = {"team": slug, "provider": "sandbox", "batch": batch_id}[scope]
    await limits.set_limit(yard.db, scope=f"{scope}:{name}", concurrency=6, rates=[])
    async with yard.working(), yard.working():
        assert await yard.until_ended(batch_id) == "completed"
    assert yard.provider.most_busy <= 6


async def test_rate_holds_over_every_stretch_of_time(yard: Yard) -> None:
    sent_at: list[float] = []

    async def note(_: Request) -> Answer:
        sent_at.append(monotonic())
        return Ended(status="booked")

    yard.provider.script = note
    batch_id = await yard.make_batch(items=60)
    rates = [Rate(count=20, seconds=1)]
    await limits.set_limit(yard.db, scope=f"batch:{batch_id}", concurrency=None, rates=rates)
    async with yard.working(), yard.working():
        assert await yard.until_ended(batch_id, seconds=40) == "completed"
    sent_at.sort()
    for i, first in enumerate(sent_at):
        assert sum(first <= later < first + 1.0 for later in sent_at[i:]) <= 20
    gaps = [later - earlier for earlier, later in pairwise(sent_at)]
    assert sum(gaps) < 12


async def test_strictest_of_several_limits_wins(yard: Yard) -> None:
    yard.provider.script = briefly
    batch_id = await yard.make_batch(items=60)
    await limits.set_limit(yard.db, scope="provider:sandbox", concurrency=9, rates=[])
    await limits.set_limit(yard.db, scope=f"batch:{batch_id}", concurrency=3, rates=[])
    async with yard.working():
        assert await yard.until_ended(batch_id) == "completed"
    assert yard.provider.most_busy <= 3


async def test_contradictory_rates_are_told(yard: Yard) -> None:
    batch_id = await yard.make_batch(items=1)
    done = await limits.set_limit(
        yard.db,
        scope=f"batch:{batch_id}",
        concurrency=None,
        rates=[Rate(count=100, seconds=1), Rate(count=50, seconds=60)],
    )
    assert len(done.remarks) == 1
    assert "50 in 60 s wins over 100 in 1 s" in done.remarks[0]


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

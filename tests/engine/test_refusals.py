"""An item that its provider refuses is sent ever more rarely, unless the provider names a time."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from batchyard.models import Answer, Policy, Refused, Request
from tests.clocks import StandingClock
from tests.engine.conftest import Yard

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)

NOT_NOW = Refused(code="http_409", message="Not now.")


def answer_with(yard: Yard, refusals: Iterator[Refused]) -> None:
    async def refuse(_: Request) -> Answer:
        return next(refusals)

    yard.provider.script = refuse


async def waits(yard: Yard, *, times: int) -> list[float]:
    """Let an item be refused so often, each time when it is due; return how long it then waits."""
    clock = StandingClock(NOON)
    yard.db.clock = clock
    await yard.make_batch(items=1)
    seconds = []
    for _ in range(times):
        async with yard.working():
            await yard.until("SELECT phase = 'ready' AND due_at > %s FROM items", [clock()])
        due_at = await yard.value("SELECT due_at FROM items")
        assert isinstance(due_at, datetime)
        seconds.append((due_at - clock()).total_seconds())
        clock.set(due_at)
    assert [request.delivery for request in yard.provider.sent] == list(range(1, times + 1))
    assert len(yard.provider.effects) == 1
    return seconds


@pytest.mark.parametrize("policy", [Policy.NEITHER, Policy.REPEATABLE])
async def test_each_refusal_doubles_the_wait(yard: Yard, policy: Policy) -> None:
    yard.provider.promises(policy=policy)
    answer_with(yard, iter([NOT_NOW] * 4))
    assert await waits(yard, times=4) == [1, 2, 4, 8]


async def test_named_time_wins_and_the_wait_goes_on_from_there(yard: Yard) -> None:
    named = Refused(code="http_429", message="Not now.", retry_after_seconds=60)
    answer_with(yard, iter([NOT_NOW, named, NOT_NOW]))
    assert await waits(yard, times=3) == [1, 60, 4]


@pytest.mark.parametrize("policy", [Policy.NEITHER, Policy.REPEATABLE])
async def test_item_that_was_sent_as_often_as_can_be_counted_is_sent_again(
    yard: Yard, policy: Policy
) -> None:
    yard.provider.promises(policy=policy)
    batch_id = await yard.make_batch(items=3)
    async with yard.db.transaction() as conn:
        await conn.execute("UPDATE items SET sends = 32767")
    async with yard.working():
        assert await yard.until_ended(batch_id) == "completed"
    assert await yard.value("SELECT max(sends) FROM items") == 32_767

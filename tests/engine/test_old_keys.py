"""A key is sent again only while its provider honours it; then it is asked for, or unknown."""

from datetime import timedelta
from uuid import UUID

import pytest

from batchyard.models import Answer, Ended, Lost, Policy, Request
from tests.clocks import StandingClock
from tests.engine.conftest import NOON, Yard

TIMEOUT, KEY_TTL = timedelta(seconds=5), timedelta(minutes=10)

YOUNG = KEY_TTL - TIMEOUT - timedelta(seconds=1)
"""Sent now, the key would still be honoured when it arrives."""
OLD = KEY_TTL - TIMEOUT


async def lose(yard: Yard, *, is_askable: bool) -> UUID:
    """Lose the answer to the first and only send of an item, at noon."""

    async def lose_first(request: Request) -> Answer:
        if request.delivery == 1:
            return Lost(code="reset", message="Connection reset")
        return Ended(status="booked")

    yard.provider.promises(
        policy=Policy.REPEATABLE, key_ttl=KEY_TTL, timeout=TIMEOUT, is_askable=is_askable
    )
    yard.provider.script = lose_first
    yard.provider.answers_when_asked = lambda _: Ended(status="booked")
    batch_id = await yard.make_batch(items=1)
    async with yard.working():
        await yard.until("SELECT phase = 'calling' AND worker_id IS NULL FROM items")
    assert len(yard.provider.sent) == 1
    return batch_id


@pytest.mark.parametrize("is_askable", [True, False])
async def test_young_key_is_sent_again(yard: Yard, clock: StandingClock, is_askable: bool) -> None:
    batch_id = await lose(yard, is_askable=is_askable)
    clock.set(NOON + YOUNG)
    async with yard.working():
        assert await yard.until_ended(batch_id) == "completed"
    assert list(yard.provider.effects.values()) == [2]
    assert yard.provider.asked == []


async def test_old_key_is_asked_for_where_the_provider_can_be_asked(
    yard: Yard, clock: StandingClock
) -> None:
    batch_id = await lose(yard, is_askable=True)
    clock.set(NOON + OLD)
    async with yard.working():
        assert await yard.until_ended(batch_id) == "completed"
    assert list(yard.provider.effects.values()) == [1]
    assert [request.key for request in yard.provider.asked] == list(yard.provider.effects)


async def test_old_key_is_unknown_where_the_provider_cannot_be_asked(
    yard: Yard, clock: StandingClock
) -> None:
    batch_id = await lose(yard, is_askable=False)
    clock.set(NOON + OLD)
    async with yard.working():
        await yard.until("SELECT phase = 'unknown' FROM items")
    assert await yard.counts(batch_id) == {"unknown": 1}
    assert list(yard.provider.effects.values()) == [1]
    assert yard.provider.asked == []

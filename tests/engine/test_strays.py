"""What was claimed without its worker learning of it is done all the same, and once."""

import asyncio
from datetime import timedelta

import psycopg
import pytest

from batchyard.engine.turn import Turns
from batchyard.models import Policy, Team
from batchyard.store.db import Database
from tests.engine.conftest import Yard


@pytest.mark.parametrize("policy", list(Policy))
async def test_admission_whose_commit_was_not_confirmed_is_not_lost(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, policy: Policy
) -> None:
    yard.provider.promises(policy=policy, timeout=timedelta(milliseconds=100))
    monkeypatch.setattr("batchyard.engine.strays.LOOK_SECONDS", 0.3)
    commit_and_lose_the_answer(monkeypatch, times=1)
    batch_id = await yard.make_batch(items=20)
    async with yard.working():
        assert await yard.until_ended(batch_id) == "completed"
    assert await yard.counts(batch_id) == {"booked": 20}
    assert set(yard.provider.effects.values()) == {1}


async def test_item_that_takes_long_is_not_astray(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchyard.engine.strays.LOOK_SECONDS", 0.05)
    ended = asyncio.Event()
    answer = yard.provider.script

    async def linger(request: object) -> object:
        await ended.wait()
        return await answer(request)  # type: ignore[arg-type]

    yard.provider.script = linger  # type: ignore[assignment]
    batch_id = await yard.make_batch(items=5)
    async with yard.working():
        await yard.until("SELECT count(*) = 5 FROM items WHERE phase = 'calling'")
        leases = await yard.value("SELECT array_agg(lease ORDER BY id) FROM items")
        with pytest.raises(TimeoutError):
            await yard.until("SELECT count(*) < 5 FROM items WHERE phase = 'calling'", seconds=1)
        assert await yard.value("SELECT array_agg(lease ORDER BY id) FROM items") == leases
        ended.set()
        assert await yard.until_ended(batch_id) == "completed"
    assert set(yard.provider.effects.values()) == {1}


def commit_and_lose_the_answer(monkeypatch: pytest.MonkeyPatch, *, times: int) -> None:
    left = times

    async def admit(turns: Turns, team: Team, **how: int) -> object:
        nonlocal left
        if left:
            left -= 1
            db: Database = turns._db
            async with db.transaction() as conn:
                await turns._admitter.admit(conn, team, **how, now=db.clock())  # type: ignore[arg-type]
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        return await original(turns, team, **how)  # type: ignore[arg-type]

    original = Turns._admit
    monkeypatch.setattr(Turns, "_admit", admit)

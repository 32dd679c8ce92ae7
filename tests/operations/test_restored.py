"""What a restored database tells about workers that may still run."""

from datetime import timedelta
from types import SimpleNamespace

import pytest

from batchyard.clock import machine_now
from batchyard.operations import restore
from batchyard.operations.restore import WATCH_SECONDS, is_worker_alive
from batchyard.store import workers
from batchyard.store.db import Database
from tests.clocks import StandingClock


async def test_worker_is_heard_though_the_machine_stands_still_meanwhile(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = db.clock = StandingClock(machine_now())
    before = clock() - timedelta(seconds=1)
    async with db.transaction() as conn:
        given = {"worker_id": await workers.register(conn, host="here", pid=1, now=before)}
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 1:
            clock.set(clock() + timedelta(seconds=WATCH_SECONDS + 1))
        else:
            async with db.transaction() as conn:
                await conn.execute(workers.BEAT, {**given, "now": clock()})

    monkeypatch.setattr(restore, "asyncio", SimpleNamespace(sleep=pause))

    assert await is_worker_alive(db)
    assert len(pauses) == 2

"""A process that was stopped, or taken for dead, holds up nobody for long and loses nothing."""

import asyncio
from datetime import datetime, timedelta

import psycopg
import pytest

from batchyard.clock import monotonic
from batchyard.engine import beat, housekeeping
from batchyard.engine.housekeeping import Housekeeping
from batchyard.models import Answer, Ended, Request
from batchyard.store import leadership, workers
from batchyard.store.db import TRANSIENT, Connection
from tests.clocks import StandingClock
from tests.engine.conftest import Yard

# Its lock is of one number, of a bigint; that of a worker's life is of two.
HAS_THE_LEAD = """
SELECT count(*) = 1 FROM pg_locks l
  JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()
 WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted AND l.pid <> %s
"""


async def test_silent_leader_is_unseated(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "DEAD_AFTER", housekeeping.DEAD_AFTER / 10)
    batch_id = await yard.make_batch(items=3)
    async with await psycopg.AsyncConnection.connect(yard.db.url, autocommit=True) as frozen:
        assert await leadership.try_to_lead(frozen)
        async with yard.working():
            assert await yard.until_ended(batch_id) == "completed"
            await yard.until(HAS_THE_LEAD, [frozen.info.backend_pid])


async def test_leader_that_is_heard_of_keeps_the_lead(yard: Yard) -> None:
    async with await psycopg.AsyncConnection.connect(yard.db.url, autocommit=True) as leader:
        assert await leadership.try_to_lead(leader)
        long_ago = yard.db.clock() - housekeeping.DEAD_AFTER
        async with yard.db.pool.connection() as conn:
            assert not await leadership.unseat_silent(conn, before=long_ago)
            assert not await leadership.try_to_lead(conn)
        await leader.execute("SELECT 1")


async def test_transaction_of_a_stopped_process_is_undone(yard: Yard) -> None:
    with pytest.raises(TRANSIENT):
        await stop_inside_a_transaction(yard)


async def stop_inside_a_transaction(yard: Yard) -> None:
    async with yard.db.transaction() as conn:
        await conn.execute("LOCK TABLE limits")
        await yard.until(
            "SELECT NOT EXISTS (SELECT FROM pg_locks WHERE relation = 'limits'::regclass)"
        )
        await conn.execute("SELECT 1")


async def test_new_leader_listens_before_it_takes_anybody_for_dead(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Who beat just now is heard of just now, however long the machine stands still.
    clock = yard.db.clock = StandingClock(yard.db.clock())
    beaten_at: float | None = None
    has_looked = asyncio.Event()
    free_dead_workers = Housekeeping.free_dead_workers

    def listening() -> float:
        if beaten_at is None:
            return 0.0
        return housekeeping.LISTEN_SECONDS + monotonic() - beaten_at

    async def look(self: Housekeeping) -> None:
        try:
            await free_dead_workers(self)
        finally:
            has_looked.set()

    monkeypatch.setattr(housekeeping, "monotonic", listening)
    monkeypatch.setattr(Housekeeping, "free_dead_workers", look)
    # Longer than there is a connection that would tell of a worker that went alone.
    long_ago = clock() - timedelta(hours=1)
    async with yard.db.transaction() as conn:
        silent = await workers.register(conn, host="elsewhere", pid=1, now=long_ago)
        heard = await workers.register(conn, host="elsewhere", pid=2, now=long_ago)
    async with yard.working():
        await asyncio.wait_for(has_looked.wait(), 60)
        assert await yard.value("SELECT bool_and(ended_at IS NULL) FROM workers")
        async with yard.db.transaction() as conn:
            await conn.execute(workers.BEAT, {"worker_id": heard, "now": clock()})
        beaten_at = monotonic()
        await yard.until("SELECT ended_at IS NOT NULL FROM workers WHERE id = %s", [silent])
        assert await yard.value("SELECT ended_at FROM workers WHERE id = %s", [heard]) is None


async def test_who_waited_for_the_lead_has_listened_meanwhile(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    at, tried = 0.0, asyncio.Semaphore(0)
    try_to_lead = leadership.try_to_lead

    async def told(conn: Connection) -> bool:
        leads = await try_to_lead(conn)
        tried.release()
        return leads

    monkeypatch.setattr(housekeeping, "monotonic", lambda: at)
    monkeypatch.setattr(leadership, "try_to_lead", told)
    async with yard.db.transaction() as conn:
        long_ago = yard.db.clock() - timedelta(minutes=1)
        silent = await workers.register(conn, host="elsewhere", pid=1, now=long_ago)
    async with await psycopg.AsyncConnection.connect(yard.db.url, autocommit=True) as leader:
        assert await try_to_lead(leader)
        async with yard.working():
            for _ in range(3):
                await asyncio.wait_for(tried.acquire(), 30)
                at += housekeeping.LISTEN_SECONDS / 2
            await leader.close()
            # Its time stands still from here on.
            await yard.until("SELECT ended_at IS NOT NULL FROM workers WHERE id = %s", [silent])


STARTS = "backend_start) FROM pg_stat_activity WHERE datname = current_database()"
HOLDS_LIFE = """
SELECT count(*) = %s FROM pg_locks l
  JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()
 WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.granted
"""


async def test_worker_whose_connection_is_gone_is_dead_sooner(yard: Yard) -> None:
    now = yard.db.clock()
    before, lost_before = now - housekeeping.DEAD_AFTER, now - housekeeping.LOST_AFTER
    async with yard.db.transaction() as conn:
        stopped, killed, silent, heard = [
            await workers.register(conn, host="elsewhere", pid=1, now=beat_at)
            for beat_at in (
                lost_before - timedelta(seconds=1),
                lost_before - timedelta(seconds=1),
                before - timedelta(seconds=1),
                lost_before,
            )
        ]
    async with await psycopg.AsyncConnection.connect(yard.db.url, autocommit=True) as life:
        for worker_id in (stopped, silent):
            given = {"key": workers.LIFE_LOCK, "worker_id": worker_id}
            await life.execute(workers.HOLD_LIFE, given)
        assert await end_silent(yard, before=before, lost_before=None) == [silent]
        assert await end_silent(yard, before=before, lost_before=lost_before) == [killed]
    await yard.until(HOLDS_LIFE, [0])
    assert await end_silent(yard, before=before, lost_before=lost_before) == [stopped]
    assert await yard.value("SELECT id FROM workers WHERE ended_at IS NULL") == heard


async def end_silent(yard: Yard, *, before: datetime, lost_before: datetime | None) -> list[int]:
    async with yard.db.transaction() as conn:
        return await workers.end_silent(
            conn, before=before, lost_before=lost_before, is_steady=True, now=yard.db.clock()
        )


async def test_connection_that_outlived_a_worker_tells_that_only_the_worker_went(
    yard: Yard,
) -> None:
    began = await yard.value(f"SELECT min({STARTS}")
    assert isinstance(began, datetime)
    moment = timedelta(milliseconds=1)
    async with yard.db.transaction() as conn:
        alone, _ = [
            await workers.register(conn, host="elsewhere", pid=1, now=beat_at)
            for beat_at in (began + moment, began - moment)
        ]
        later = began + housekeeping.LOST_AFTER
        assert await workers.end_silent(conn, before=None, lost_before=later, now=later) == [alone]


async def test_new_leader_need_not_listen_for_a_worker_that_went_alone(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "monotonic", lambda: 0.0)  # It has not listened yet.
    monkeypatch.setattr(housekeeping, "LOST_AFTER", timedelta(milliseconds=1))
    async with yard.db.transaction() as conn:
        killed = await workers.register(conn, host="elsewhere", pid=1, now=yard.db.clock())
    async with yard.working():
        await yard.until("SELECT ended_at IS NOT NULL FROM workers WHERE id = %s", [killed])


async def test_who_beats_holds_a_lock_until_its_connection_ends(yard: Yard) -> None:
    async with yard.working(), yard.working():
        await yard.until(HOLDS_LIFE, [2])
    await yard.until(HOLDS_LIFE, [0])


async def test_worker_given_up_still_writes_what_comes_back(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beat, "BEAT_SECONDS", 0.1)
    answers = asyncio.Event()

    async def late(_: Request) -> Answer:
        await answers.wait()
        return Ended(status="booked")

    yard.provider.script = late
    yard.config = yard.config.model_copy(update={"stop_seconds": 0})
    batch_id = await yard.make_batch(items=5)
    async with yard.working(), yard.working():
        await yard.until("SELECT count(*) = 5 FROM items WHERE phase = 'calling'")
        async with yard.db.transaction() as conn:
            await conn.execute(
                "UPDATE workers SET ended_at = now() WHERE id IN (SELECT worker_id FROM items)"
            )
        await yard.until("SELECT count(*) = 5 FROM items WHERE worker_id IS NULL")
        answers.set()
        assert await yard.until_ended(batch_id) == "completed"
    assert await yard.counts(batch_id) == {"booked": 5}
    assert set(yard.provider.effects.values()) == {1}

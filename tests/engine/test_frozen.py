"""A process that was stopped holds up nobody for long: not as leader, not inside a transaction."""

import psycopg
import pytest

from batchyard.engine import housekeeping
from batchyard.store import leadership
from batchyard.store.db import TRANSIENT
from tests.engine.conftest import Yard


async def test_silent_leader_is_unseated(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "DEAD_AFTER", housekeeping.DEAD_AFTER / 10)
    batch_id = await yard.make_batch(items=3)
    async with await psycopg.AsyncConnection.connect(yard.db.url, autocommit=True) as frozen:
        assert await leadership.try_to_lead(frozen)
        async with yard.working():
            assert await yard.until_ended(batch_id) == "completed"
            await yard.until(
                "SELECT count(*) = 1 FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
                " WHERE d.datname = current_database() AND locktype = 'advisory' AND granted"
                " AND pid <> %s",
                [frozen.info.backend_pid],
            )


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

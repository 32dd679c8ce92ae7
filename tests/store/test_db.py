"""Connections that ended while they lay in the pool are not lent."""

import asyncio
import json
from datetime import timedelta

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from batchyard.clock import machine_now
from batchyard.store import db as databases
from batchyard.store.db import TRANSIENT, Connection, Database


async def pid_of(conn: Connection) -> int:
    row = await (await conn.execute("SELECT pg_backend_pid()")).fetchone()
    assert row is not None
    return int(str(row[0]))


IS_LOCKED_OR_GONE = """
SELECT EXISTS (SELECT FROM pg_locks
                WHERE pid = %(pid)s AND relation = 'teams'::regclass
                  AND mode = 'AccessExclusiveLock' AND granted)
    OR NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = %(pid)s)
"""


async def until_locked_or_gone(conn: Connection, *, pid: int) -> None:
    """Wait until a server has locked the teams, or is not there any more."""
    async with asyncio.timeout(60):
        while True:
            row = await (await conn.execute(IS_LOCKED_OR_GONE, {"pid": pid})).fetchone()
            if row == (True,):
                return
            await asyncio.sleep(0.01)


async def test_connection_whose_server_ended_is_replaced(db: Database) -> None:
    async with db.pool.connection() as first:
        ended = await pid_of(first)
        async with db.pool.connection() as other:
            assert await pid_of(other) != ended
        # Both are back in the pool now and used a moment ago.
    async with db.pool.connection() as conn, db.pool.connection() as second:
        pids = {await pid_of(conn), await pid_of(second)}
    assert ended in pids
    async with db.pool.connection() as conn:
        (victim,) = pids - {await pid_of(conn)}
        await conn.execute("SELECT pg_terminate_backend(%s, 5000)", [victim])

    async with db.pool.connection() as conn, db.pool.connection() as second:
        assert victim not in {await pid_of(conn), await pid_of(second)}


async def test_fresh_connection_is_not_asked_whether_it_lives(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    async def ask(conn: object) -> None:
        asked.append(conn)

    monkeypatch.setattr(AsyncConnectionPool, "check_connection", staticmethod(ask))
    db = Database(database_url, max_connections=1)
    await db.open()
    async with db.pool.connection():
        asked.clear()
    async with db.pool.connection():
        assert not asked
    monkeypatch.setattr(databases, "FRESH_SECONDS", -1)
    async with db.pool.connection() as conn:
        assert asked == [conn]
    await db.close()


@pytest.mark.parametrize("steps", range(6))
async def test_cancellation_that_comes_together_with_a_connection_is_kept(
    database_url: str, steps: int
) -> None:
    db = Database(database_url, max_connections=1)
    await db.open()

    async def hold() -> None:
        async with db.statement():
            await asyncio.Event().wait()

    async with db.pool.connection():
        holding = asyncio.create_task(hold())
        while not db.pool.get_stats()["requests_waiting"]:  # noqa: ASYNC110  # pools send no signal
            await asyncio.sleep(0)
    for _ in range(steps):
        await asyncio.sleep(0)
    holding.cancel()
    await asyncio.wait({holding}, timeout=30)
    assert holding.cancelled()
    async with asyncio.timeout(30), db.statement() as conn:
        assert await pid_of(conn)
    await db.close()


async def test_clock_that_goes_wrong_is_put_right_in_every_process(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "CLOCK_SECONDS", 0.05)
    db = Database(database_url)
    await db.open()
    # As if somebody had put the machine's clock forward.
    db.clock._offset += timedelta(hours=1)
    async with asyncio.timeout(30):
        while abs(db.clock() - machine_now()) > timedelta(minutes=1):  # noqa: ASYNC110  # clocks tell nobody
            await asyncio.sleep(0.01)
    await db.close()


async def test_connection_to_a_server_that_is_only_read_is_not_lent_again(
    database_url: str,
) -> None:
    db = Database(database_url, max_connections=1)
    await db.open()
    async with db.pool.connection() as conn:
        await conn.execute("SET default_transaction_read_only = on")
    with pytest.raises(TRANSIENT):
        async with db.transaction() as conn:
            await conn.execute("CREATE TABLE written ()")
    async with db.transaction() as conn:
        await conn.execute("CREATE TABLE written ()")
    await db.close()


@pytest.mark.parametrize(
    "text", ["123456789012345678901234567890", "-12345678901234567", "[1.5, 7, true, null]", '"æ"']
)
async def test_json_is_read_to_the_digit(db: Database, text: str) -> None:
    async with db.pool.connection() as conn:
        row = await (await conn.execute(f"SELECT '{text}'::jsonb, '{text}'::json")).fetchone()
    assert row == (json.loads(text), json.loads(text))
    assert repr(row) == repr((json.loads(text), json.loads(text)))


async def test_process_that_is_stopped_in_a_pipeline_does_not_hold_its_locks(db: Database) -> None:
    """PostgreSQL takes it for idle in a transaction, and ends it."""
    state = "SELECT state FROM pg_stat_activity WHERE pid = %s"

    async def stand_still() -> None:
        async with db.pipeline() as conn:
            pid = await pid_of(conn)
            await conn.execute("LOCK teams")
            await (await conn.execute("SELECT 1")).fetchone()
            async with db.pool.connection() as other:
                row = await (await other.execute(state, [pid])).fetchone()
                assert row == ("idle in transaction",)
                await conn.execute("SET LOCAL idle_in_transaction_session_timeout = 200")
                await (await conn.execute("SELECT 1")).fetchone()
                # It waits for the lock.
                await other.execute("SELECT count(*) FROM teams")
            await (await conn.execute("SELECT 1")).fetchone()

    with pytest.raises(TRANSIENT):
        await stand_still()


async def test_pipeline_that_was_not_even_asked_for_an_answer_does_not_hold_its_locks(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "LIMIT_PIPELINE", "SET LOCAL transaction_timeout = 500")
    async with db.pool.connection() as conn:
        if conn.info.server_version < databases.TRANSACTION_TIMEOUT_SINCE:
            pytest.skip("PostgreSQL 16 knows no timeout of a transaction")

    async def stand_still() -> None:
        async with db.pipeline() as conn:
            await conn.execute("LOCK teams")
            async with db.pool.connection() as other:
                # Known on this side: the connection itself is asked nothing.
                await until_locked_or_gone(other, pid=conn.info.backend_pid)
                await other.execute("SELECT count(*) FROM teams")
            await (await conn.execute("SELECT 1")).fetchone()

    with pytest.raises(TRANSIENT):
        await stand_still()


@pytest.mark.parametrize("is_fetched", [True, False])
async def test_pipeline_with_a_fault_that_nobody_fetched_is_undone(
    db: Database, is_fetched: bool
) -> None:
    """It is raised by what is fetched next, or on leaving; never taken for a commit."""

    async def spoil() -> None:
        async with db.pipeline() as conn:
            await conn.execute("CREATE TABLE kept (n int)")
            await conn.execute("INSERT INTO kept VALUES (1), (1)")
            await conn.execute("CREATE UNIQUE INDEX ON kept (n)")
            if is_fetched:
                await (await conn.execute("SELECT 1")).fetchone()

    with pytest.raises(psycopg.errors.UniqueViolation):
        await spoil()
    async with db.pipeline() as conn:
        found = await conn.execute("SELECT to_regclass('kept')")
        assert await found.fetchone() == (None,)

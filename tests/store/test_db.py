"""Connections that ended while they lay in the pool are not lent."""

import asyncio
import json
from datetime import timedelta

import pytest
from psycopg_pool import AsyncConnectionPool

from batchyard.clock import machine_now
from batchyard.store import db as databases
from batchyard.store.db import TRANSIENT, Connection, Database


async def pid_of(conn: Connection) -> int:
    row = await (await conn.execute("SELECT pg_backend_pid()")).fetchone()
    assert row is not None
    return int(str(row[0]))


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


async def test_clock_that_goes_wrong_is_put_right_in_every_process(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "CLOCK_SECONDS", 0.05)
    db = Database(database_url)
    await db.open()
    # As if somebody had put the machine's clock forward.
    db.clock._offset += timedelta(hours=1)
    async with asyncio.timeout(10):
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

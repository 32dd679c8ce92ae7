"""Connections that ended while they lay in the pool are not lent."""

import pytest
from psycopg_pool import AsyncConnectionPool

from batchyard.store import db as databases
from batchyard.store.db import Connection, Database


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

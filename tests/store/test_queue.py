"""Turns are queued by many at once."""

import asyncio
from datetime import timedelta

import psycopg
import pytest

from batchyard.store import queue
from batchyard.store.db import TRANSIENT, Database

WAITS_FOR_A_LOCK = """
SELECT EXISTS (SELECT FROM pg_stat_activity
                WHERE datname = current_database() AND wait_event_type = 'Lock')
"""


async def make_teams(db: Database, count: int) -> list[int]:
    async with db.transaction() as conn:
        rows = await conn.execute(
            "INSERT INTO teams (uuid, slug, name, created_at)"
            " SELECT gen_random_uuid(), 'team-' || n, 'Team', now()"
            " FROM generate_series(1, %s) AS n RETURNING id",
            (count,),
        )
        return [int(str(row[0])) for row in await rows.fetchall()]


async def until_somebody_waits(db: Database) -> None:
    async with asyncio.timeout(10), db.pool.connection() as conn:
        while True:
            row = await (await conn.execute(WAITS_FOR_A_LOCK)).fetchone()
            if row and row[0]:
                return
            await asyncio.sleep(0.01)


async def test_two_who_defer_for_the_same_teams_do_not_deadlock(db: Database) -> None:
    first, second = await make_teams(db, 2)
    now = db.clock()
    async with db.transaction() as conn:
        # The second team has waited for longer.
        await conn.execute(
            "INSERT INTO wakes (team_id, wake_at) VALUES (%s, %s), (%s, %s)",
            (first, now - timedelta(seconds=1), second, now - timedelta(seconds=2)),
        )

    async def defer_due() -> None:
        async with db.transaction() as conn:
            await queue.defer_due_turns(conn, now=now)

    async with db.transaction() as conn:
        await queue.defer_turn(conn, team_id=first)
        other = asyncio.create_task(defer_due())
        await until_somebody_waits(db)
        await queue.defer_turn(conn, team_id=second)
    await other

    async with db.pool.connection() as conn:
        jobs = await conn.execute("SELECT queueing_lock FROM procrastinate_jobs ORDER BY 1")
        assert await jobs.fetchall() == [(f"team:{first}",), (f"team:{second}",)]


async def test_fault_of_the_database_is_told_as_one_to_be_repeated(db: Database) -> None:
    [team_id] = await make_teams(db, 1)

    async def defer_impatiently() -> None:
        async with db.transaction() as conn:
            await conn.execute("SET LOCAL lock_timeout = '10ms'")
            await queue.defer_turn(conn, team_id=team_id)

    async with db.transaction() as conn:
        await queue.defer_turn(conn, team_id=team_id)
        with pytest.raises(TRANSIENT) as told:
            await defer_impatiently()
    assert isinstance(told.value, psycopg.errors.LockNotAvailable)


async def test_only_teams_that_are_not_served_here_wait(db: Database) -> None:
    first, second = await make_teams(db, 2)
    async with db.transaction() as conn:
        for team_id in (first, second):
            await queue.wake(conn, team_id=team_id, now=db.clock())
    async with db.transaction() as conn:
        assert await queue.do_others_wait(conn, team_ids={first})
        assert not await queue.do_others_wait(conn, team_ids={first, second})

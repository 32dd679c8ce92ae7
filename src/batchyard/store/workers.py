"""Who is alive: worker rows, their beat, and what a dead worker leaves behind."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from batchyard.lifecycle import CANCELED_STATUS
from batchyard.store.db import Connection

REGISTER = """
INSERT INTO workers (host, pid, started_at, beat_at)
VALUES (%(host)s, %(pid)s, %(now)s, %(now)s) RETURNING id
"""


async def register(conn: Connection, *, host: str, pid: int, now: datetime) -> int:
    """Enter a worker; return its id, new at every start."""
    row = await (await conn.execute(REGISTER, {"host": host, "pid": pid, "now": now})).fetchone()
    return int(str(row[0])) if row else 0


BEAT = "UPDATE workers SET beat_at = %(now)s WHERE id = %(worker_id)s AND ended_at IS NULL"
"""Run by the beating thread on a connection of its own; no row means the worker was given up."""

LIFE_LOCK = 0x62656174  # 'beat'
HOLD_LIFE = "SELECT pg_try_advisory_lock(%(key)s, %(worker_id)s)"
"""Taken on the beating connection and never given back: it ends with the process."""

END = "UPDATE workers SET ended_at = %(now)s WHERE id = %(worker_id)s AND ended_at IS NULL"


async def end(conn: Connection, *, worker_id: int, now: datetime) -> None:
    """Sign a worker off."""
    await conn.execute(END, {"worker_id": worker_id, "now": now})


# A lock of two whole numbers shows as class and object. It outlives a process that is stopped, not
# one that is killed. A connection that is older than the silence tells that PostgreSQL was there
# meanwhile, so that the lock went with its process; else all of them may have gone together.
END_SILENT = """
UPDATE workers w SET ended_at = %(now)s
 WHERE w.ended_at IS NULL
   AND (w.beat_at < %(before)s
        OR w.beat_at < %(lost_before)s
           AND (%(is_steady)s OR EXISTS (
               SELECT FROM pg_stat_activity a
                WHERE a.datname = current_database() AND a.backend_type = 'client backend'
                  AND a.backend_start < w.beat_at))
           AND NOT EXISTS (
               SELECT FROM pg_locks l
                 JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()
                WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
                  AND l.classid = %(key)s::oid AND l.objid = w.id::oid))
RETURNING w.id
"""


async def end_silent(
    conn: Connection,
    *,
    before: datetime | None,
    lost_before: datetime | None = None,
    is_steady: bool = False,
    now: datetime,
) -> list[int]:
    """Give up workers that have not beaten since `before`; from now on they are fenced.

    Those whose beating connection is gone already if they have not beaten since `lost_before`:
    `is_steady` says that nobody's connection went with PostgreSQL's; else an older one has to.
    """
    given = {"before": before, "lost_before": lost_before, "is_steady": is_steady}
    cursor = await conn.execute(END_SILENT, {**given, "key": LIFE_LOCK, "now": now})
    return [int(str(row[0])) for row in await cursor.fetchall()]


# Claimed: certain that nothing left the house. Calling: asked for once `deadline_at` has come.
# The lease rises, so the worker, should it come back, can write nothing but a true answer. Of whom
# an erasure has noted nothing becomes ready.
FREED = f"""
    UPDATE items i
       SET phase = CASE WHEN i.phase <> 'claimed' THEN i.phase
                        WHEN l.is_erased THEN 'done' ELSE 'ready' END,
           status = CASE WHEN i.phase = 'claimed' AND l.is_erased THEN '{CANCELED_STATUS}'
                         ELSE i.status END,
           worker_id = NULL, lease = i.lease + 1, updated_at = %(now)s
      FROM left_behind l
     WHERE i.id = l.id
    RETURNING i.team_id
"""

TAKE_BACK = f"""
WITH left_behind AS (
    SELECT i.id,
           EXISTS (SELECT FROM pending_erasures p WHERE p.item_id = i.id) AS is_erased
      FROM items i
     WHERE i.phase IN ('claimed', 'calling') AND i.worker_id IS NOT NULL
       AND i.worker_id IN (SELECT id FROM workers WHERE ended_at IS NOT NULL)
     ORDER BY i.id
     LIMIT 10000
       FOR UPDATE SKIP LOCKED
), moved AS ({FREED})
SELECT DISTINCT team_id FROM moved ORDER BY team_id
"""


async def take_back(conn: Connection, *, now: datetime) -> list[int]:
    """Free what ended workers still hold; return the teams concerned, to be woken in this order.

    Whoever wakes several teams goes by id, or two of them deadlock.
    """
    cursor = await conn.execute(TAKE_BACK, {"now": now})
    return [int(str(row[0])) for row in await cursor.fetchall()]


LIST_HELD = """
SELECT id, lease FROM items
 WHERE worker_id = %(worker_id)s AND phase IN ('claimed', 'calling')
"""


async def list_held(conn: Connection, *, worker_id: int) -> dict[UUID, int]:
    """Return what a worker holds, with its leases, as the database knows it."""
    cursor = await conn.execute(LIST_HELD, {"worker_id": worker_id})
    return {row[0]: int(str(row[1])) for row in await cursor.fetchall() if isinstance(row[0], UUID)}


GIVE_BACK = f"""
WITH left_behind AS (
    SELECT i.id,
           EXISTS (SELECT FROM pending_erasures p WHERE p.item_id = i.id) AS is_erased
      FROM unnest(%(ids)s::uuid[], %(leases)s::bigint[]) AS stray (id, lease)
      JOIN items i ON i.id = stray.id AND i.lease = stray.lease
     WHERE i.phase IN ('claimed', 'calling') AND i.worker_id = %(worker_id)s
     ORDER BY i.id
       FOR UPDATE OF i SKIP LOCKED
), moved AS ({FREED})
SELECT DISTINCT team_id FROM moved
"""


async def give_back(
    conn: Connection, strays: Mapping[UUID, int], *, worker_id: int, now: datetime
) -> list[int]:
    """Free items, by id and lease, of which their worker knows nothing; return the teams."""
    cursor = await conn.execute(
        GIVE_BACK,
        {
            "ids": list(strays),
            "leases": list(strays.values()),
            "worker_id": worker_id,
            "now": now,
        },
    )
    return [int(str(row[0])) for row in await cursor.fetchall()]


COUNT_ALIVE = "SELECT count(*) FROM workers WHERE ended_at IS NULL AND beat_at >= %(since)s"


async def count_alive(conn: Connection, *, since: datetime) -> int:
    """Count workers that have beaten since."""
    row = await (await conn.execute(COUNT_ALIVE, {"since": since})).fetchone()
    return int(str(row[0])) if row else 0


FORGET = """
DELETE FROM workers w
 WHERE ended_at < %(before)s AND NOT EXISTS (
       SELECT FROM items i
        WHERE i.worker_id = w.id AND i.phase IN ('claimed', 'calling') AND i.worker_id IS NOT NULL)
"""


async def forget(conn: Connection, *, before: datetime) -> None:
    """Remove workers that ended long ago and hold nothing."""
    await conn.execute(FORGET, {"before": before})

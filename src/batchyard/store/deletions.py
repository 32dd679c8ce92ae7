"""Deleted batches: marked at once, gone row by row once nothing of them is live."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from batchyard.store.db import Connection

# What was not sent yet must not be sent any more, so a batch that could go on is ended as well.
MARK = """
UPDATE batches
   SET deleted_at = %(now)s, updated_at = %(now)s,
       state = CASE WHEN state = 'open' THEN 'cancelled'
                    WHEN state IN ('scheduled', 'queued', 'running', 'paused') THEN 'stopped'
                    ELSE state END,
       finished_at = coalesce(finished_at, %(now)s), wait_reason = NULL, wait_until = NULL,
       paused_by = NULL
 WHERE id = ANY (%(batch_ids)s) AND deleted_at IS NULL
"""


async def mark(conn: Connection, *, batch_ids: Sequence[UUID], now: datetime) -> None:
    """Mark locked batches as deleted: clients no longer see them, and nothing more is sent."""
    await conn.execute(MARK, {"batch_ids": list(batch_ids), "now": now})


# In id order, as whoever locks several batches.
LOCK_OF_DELETED_AGENTS = """
SELECT b.id FROM batches b JOIN agents a ON a.id = b.agent_id
 WHERE a.deleted_at IS NOT NULL AND b.deleted_at IS NULL AND b.state <> 'importing'
   AND (%(agent_id)s::uuid IS NULL OR a.id = %(agent_id)s)
 ORDER BY b.id
 LIMIT %(limit)s
   FOR UPDATE OF b
"""


async def lock_of_deleted_agents(
    conn: Connection, *, agent_id: UUID | None, limit: int
) -> list[UUID]:
    """Lock some batches whose agent is deleted: this one, or any."""
    cursor = await conn.execute(LOCK_OF_DELETED_AGENTS, {"agent_id": agent_id, "limit": limit})
    return [row[0] for row in await cursor.fetchall() if isinstance(row[0], UUID)]


LIST = """
SELECT id FROM batches WHERE deleted_at IS NOT NULL ORDER BY deleted_at, id
"""


async def list_deleted(conn: Connection) -> list[UUID]:
    """List batches that are deleted and not purged yet."""
    return [
        row[0] for row in await (await conn.execute(LIST)).fetchall() if isinstance(row[0], UUID)
    ]


# Rows in flight stay: they count against the caps until their call has ended.
PURGE_ITEMS = """
WITH doomed AS (
    SELECT i.id FROM items i JOIN batches b ON b.id = i.batch_id
     WHERE i.batch_id = %(id)s AND b.deleted_at IS NOT NULL
       AND (i.phase IN ('ready', 'done')
            OR i.phase = 'unknown' AND i.updated_at <= %(unknown_before)s)
     LIMIT %(limit)s
       FOR UPDATE OF i SKIP LOCKED
)
DELETE FROM items i USING doomed WHERE i.id = doomed.id
"""

PURGE_REJECTED = """
DELETE FROM rejected_rows
 WHERE batch_id = %(id)s AND line IN (
       SELECT line FROM rejected_rows WHERE batch_id = %(id)s
        LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
"""

PURGE_WARNINGS = """
DELETE FROM row_warnings
 WHERE ctid IN (SELECT ctid FROM row_warnings WHERE batch_id = %(id)s
                 LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
"""

PURGE_DELIVERIES = """
DELETE FROM webhook_deliveries
 WHERE id IN (SELECT id FROM webhook_deliveries WHERE batch_id = %(id)s AND state <> 'sending'
               LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
"""


async def purge_some(
    conn: Connection, *, batch_id: UUID, limit: int, unknown_before: datetime
) -> int:
    """Delete up to `limit` rows of each kind that belong to a deleted batch; return how many."""
    purged = 0
    for statement in (PURGE_ITEMS, PURGE_REJECTED, PURGE_WARNINGS, PURGE_DELIVERIES):
        cursor = await conn.execute(
            statement, {"id": batch_id, "limit": limit, "unknown_before": unknown_before}
        )
        purged += cursor.rowcount
    return purged


# What is on its way is not deleted under whoever sends it, and has in it what was said: the batch
# waits for that, or nobody would come back for it.
PURGE_BATCH = """
WITH gone AS (
    DELETE FROM batches b
     WHERE b.id = %(id)s AND b.deleted_at IS NOT NULL
       AND NOT EXISTS (SELECT FROM items WHERE batch_id = %(id)s)
       AND NOT EXISTS (SELECT FROM webhook_deliveries d
                        WHERE d.team_id = b.team_id AND d.batch_id = b.id)
    RETURNING b.id
), unlimited AS (
    DELETE FROM limits l USING gone WHERE l.key = 'batch:' || gone.id
)
DELETE FROM batch_counts c USING gone WHERE c.batch_id = gone.id
"""


async def purge_batch(conn: Connection, *, batch_id: UUID) -> None:
    """Delete a deleted batch that has no items or deliveries any more, and its counts."""
    await conn.execute(PURGE_BATCH, {"id": batch_id})

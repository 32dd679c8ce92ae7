"""Batches and items as a person steers them: paused, resumed, stopped."""

from datetime import datetime
from uuid import UUID

from batchyard.models import BatchState
from batchyard.store.db import Connection

SET_STATE = """
UPDATE batches
   SET state = %(state)s, updated_at = %(now)s, wait_reason = %(reason)s, wait_until = NULL,
       paused_by = %(paused_by)s,
       started_at = CASE WHEN %(state)s = 'running' THEN coalesce(started_at, %(now)s)
                         ELSE started_at END,
       brake_from = CASE WHEN %(state)s = 'running' THEN %(now)s ELSE brake_from END,
       finished_at = CASE WHEN %(state)s = 'stopped' THEN %(now)s ELSE finished_at END
 WHERE id = %(batch_id)s
"""


async def set_state(
    conn: Connection,
    *,
    batch_id: UUID,
    state: BatchState,
    reason: str | None,
    paused_by: str | None = None,
    now: datetime,
) -> None:
    """Write the state of a locked batch, why it waits, and who paused it."""
    await conn.execute(
        SET_STATE,
        {
            "batch_id": batch_id,
            "state": state,
            "reason": reason,
            "paused_by": paused_by,
            "now": now,
        },
    )


REOPEN = """
UPDATE batches
   SET state = %(state)s, finished_at = NULL, expired = '{}', brake_from = %(now)s,
       updated_at = %(now)s
 WHERE id = %(batch_id)s
"""


async def reopen(conn: Connection, *, batch_id: UUID, state: BatchState, now: datetime) -> None:
    """Let a locked batch that had ended run again."""
    await conn.execute(REOPEN, {"batch_id": batch_id, "state": state, "now": now})


# In slices, so that a batch of a million holds no lock for long. Rows a worker just holds are
# skipped; it hands them back, and they are met next time.
END_READY = """
WITH chosen AS (
    SELECT i.id FROM items i
     WHERE i.batch_id = %(batch_id)s AND i.phase = 'ready'
     ORDER BY i.id
     LIMIT %(limit)s
       FOR UPDATE SKIP LOCKED
), ended AS (
    UPDATE items i SET phase = 'done', status = 'stopped', updated_at = %(now)s
      FROM chosen c WHERE i.id = c.id
    RETURNING i.id
)
UPDATE item_data d SET ended_at = %(now)s FROM ended e WHERE d.item_id = e.id
"""


async def end_ready(conn: Connection, *, batch_id: UUID, limit: int, now: datetime) -> int:
    """End unsent items of a stopped batch; return how many."""
    cursor = await conn.execute(END_READY, {"batch_id": batch_id, "limit": limit, "now": now})
    return cursor.rowcount


STOPPED_WITH_READY = """
SELECT b.id FROM batches b
 WHERE b.state = 'stopped' AND b.deleted_at IS NULL
   AND EXISTS (SELECT FROM batch_counts c
                WHERE c.batch_id = b.id AND c.phase = 'ready' AND c.n > 0)
 LIMIT 20
"""


async def list_stopped_with_ready(conn: Connection) -> list[UUID]:
    """List stopped batches that still have unsent items."""
    rows = await (await conn.execute(STOPPED_WITH_READY)).fetchall()
    return [row[0] for row in rows if isinstance(row[0], UUID)]


STOP_ITEM = """
UPDATE items SET phase = 'done', status = 'stopped', updated_at = %(now)s
 WHERE id = %(item_id)s AND team_id = %(team_id)s AND phase = 'ready'
"""

HAS_ITEM = "SELECT FROM items WHERE id = %(item_id)s AND team_id = %(team_id)s"


async def stop_item(conn: Connection, *, team_id: int, item_id: UUID, now: datetime) -> bool | None:
    """End an unsent item; False when it is not unsent, None when the team has none such."""
    given = {"item_id": item_id, "team_id": team_id, "now": now}
    if (await conn.execute(STOP_ITEM, given)).rowcount == 1:
        return True
    return False if (await conn.execute(HAS_ITEM, given)).rowcount == 1 else None


STATUS = "SELECT status FROM items WHERE id = %(item_id)s AND team_id = %(team_id)s"


async def read_status(conn: Connection, *, team_id: int, item_id: UUID) -> str | None:
    """Return the status of an item; None when the team has none such."""
    given = {"item_id": item_id, "team_id": team_id}
    row = await (await conn.execute(STATUS, given)).fetchone()
    return None if row is None else str(row[0])

"""Batches and items as a person steers them: paused, resumed, stopped, cancelled."""

from collections.abc import Sequence
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


# In slices, so that a batch of a million holds no lock for long: each reads the next ones by their
# index, and no others. Rows a worker just holds are skipped; it hands them back, and they are met
# next time. The batches are locked, before their items as everywhere: one that was opened again
# meanwhile keeps what it has. The items are locked in id order.
END_READY = """
WITH closed AS MATERIALIZED (
    SELECT b.id, CASE b.state WHEN 'cancelled' THEN 'canceled' ELSE 'stopped' END AS status
      FROM batches b
     WHERE b.id = ANY (%(batch_ids)s) AND b.state IN ('stopped', 'cancelled')
     ORDER BY b.id
       FOR NO KEY UPDATE
), slab AS MATERIALIZED (
    SELECT i.id, c.status
      FROM closed c
     CROSS JOIN LATERAL (
           SELECT id FROM items
            WHERE batch_id = c.id AND phase = 'ready'
            ORDER BY due_at, id
            LIMIT %(limit)s) AS i
     LIMIT %(limit)s
), chosen AS MATERIALIZED (
    SELECT i.id, s.status
      FROM slab s JOIN items i ON i.id = s.id
     WHERE i.phase = 'ready'
     ORDER BY i.id
       FOR UPDATE OF i SKIP LOCKED
), ended AS (
    UPDATE items i SET phase = 'done', status = c.status, updated_at = %(now)s
      FROM chosen c WHERE i.id = c.id
    RETURNING i.id
)
UPDATE item_data d SET ended_at = %(now)s, error_code = NULL, error_message = NULL
  FROM ended e WHERE d.item_id = e.id
"""


async def end_ready(
    conn: Connection, *, batch_ids: Sequence[UUID], limit: int, now: datetime
) -> int:
    """End unsent items of those of these batches that are stopped or cancelled; return how many."""
    given = {"batch_ids": list(batch_ids), "limit": limit, "now": now}
    return (await conn.execute(END_READY, given)).rowcount


# What a worker holds it hands back, and then it is ready.
STOPPED_WITH_UNSENT = """
SELECT b.id FROM batches b
 WHERE b.id = ANY (%(batch_ids)s) AND b.state = 'stopped'
   AND EXISTS (SELECT FROM batch_counts c
                WHERE c.batch_id = b.id AND c.phase IN ('ready', 'claimed') AND c.n > 0)
"""


async def find_stopped_with_unsent(conn: Connection, *, batch_ids: Sequence[UUID]) -> set[UUID]:
    """Return which of these batches are stopped and have unsent items left."""
    given = {"batch_ids": list(batch_ids)}
    rows = await (await conn.execute(STOPPED_WITH_UNSENT, given)).fetchall()
    return {row[0] for row in rows if isinstance(row[0], UUID)}


# A single item is cancelled with its batch; of those there are many, and none is looked up. Every
# second, so the condition is the index's very own.
ENDED_WITH_READY = """
SELECT b.id FROM batches b
 WHERE b.deleted_at IS NULL
   AND (b.state = 'stopped' OR b.state = 'cancelled' AND NOT b.is_single)
   AND EXISTS (SELECT FROM batch_counts c
                WHERE c.batch_id = b.id AND c.phase = 'ready' AND c.n > 0)
 LIMIT 20
"""


async def list_ended_with_ready(conn: Connection) -> list[UUID]:
    """List stopped and cancelled batches that still have unsent items."""
    rows = await (await conn.execute(ENDED_WITH_READY)).fetchall()
    return [row[0] for row in rows if isinstance(row[0], UUID)]


# The batch first, as everywhere: admission waits here, or has taken the item before.
LOCK_BATCH_OF_ITEM = """
SELECT b.id FROM batches b
 WHERE b.id = (SELECT i.batch_id FROM items i WHERE i.id = %(item_id)s)
   AND b.team_id = %(team_id)s AND b.deleted_at IS NULL AND b.state <> 'importing'
   FOR UPDATE
"""


async def lock_batch_of_item(conn: Connection, *, team_id: int, item_id: UUID) -> UUID | None:
    """Lock the batch of an item, of any kind; None when the team has no such item."""
    given = {"item_id": item_id, "team_id": team_id}
    row = await (await conn.execute(LOCK_BATCH_OF_ITEM, given)).fetchone()
    return None if row is None else UUID(str(row[0]))


# What a cancelled batch has left is as good as ended, and gets the word of that.
STOP_ITEM = """
WITH ended AS (
    UPDATE items i SET phase = 'done', status = 'stopped', updated_at = %(now)s
     WHERE i.id = %(item_id)s AND i.phase = 'ready'
       AND NOT EXISTS (SELECT FROM batches b WHERE b.id = i.batch_id AND b.state = 'cancelled')
    RETURNING i.id
)
UPDATE item_data d SET ended_at = %(now)s, error_code = NULL, error_message = NULL
  FROM ended e WHERE d.item_id = e.id
"""


async def stop_item(conn: Connection, *, item_id: UUID, now: datetime) -> bool:
    """End an item of a locked batch that nobody has taken; False when it is too late."""
    cursor = await conn.execute(STOP_ITEM, {"item_id": item_id, "now": now})
    return cursor.rowcount == 1


# A queued batch of which nothing is due is never looked at again: it runs, so that it can end.
START_IF_ALL_ENDED = """
UPDATE batches b SET state = 'running', started_at = coalesce(b.started_at, %(now)s),
       updated_at = %(now)s
 WHERE b.id = ANY (%(batch_ids)s) AND b.state = 'queued'
   AND NOT EXISTS (SELECT FROM batch_counts c
                    WHERE c.batch_id = b.id AND c.phase <> 'done' AND c.n > 0)
"""


async def start_if_all_ended(conn: Connection, *, batch_ids: Sequence[UUID], now: datetime) -> None:
    """Let those of these locked batches that are queued and have no open item run, and so end."""
    await conn.execute(START_IF_ALL_ENDED, {"batch_ids": list(batch_ids), "now": now})


STATUS = "SELECT status FROM items WHERE id = %(item_id)s AND team_id = %(team_id)s"


async def read_status(conn: Connection, *, team_id: int, item_id: UUID) -> str | None:
    """Return the status of an item; None when the team has none such."""
    given = {"item_id": item_id, "team_id": team_id}
    row = await (await conn.execute(STATUS, given)).fetchone()
    return None if row is None else str(row[0])

"""Why something waits: what is needed to derive it."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row

from batchyard.store.db import Connection


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchWait:
    """A batch, its recorded reason, and the ready item that falls due next."""

    state: str
    scheduled_at: datetime | None
    wait_reason: str | None
    wait_until: datetime | None
    alive_workers: int
    next_status: str | None
    next_due_at: datetime | None


READ_BATCH = """
SELECT b.state, b.scheduled_at, b.wait_reason, b.wait_until,
       (SELECT count(*)::int FROM workers
         WHERE ended_at IS NULL AND beat_at >= %(alive_since)s) AS alive_workers,
       i.status AS next_status, i.due_at AS next_due_at
  FROM batches b
  LEFT JOIN LATERAL (
       SELECT status, due_at FROM items
        WHERE batch_id = b.id AND phase = 'ready'
        ORDER BY due_at LIMIT 1) AS i ON true
 WHERE b.id = %(batch_id)s AND b.team_id = %(team_id)s
"""


async def read_batch(
    conn: Connection, *, team_id: int, batch_id: UUID, alive_since: datetime
) -> BatchWait | None:
    """Read what tells why a batch of the team waits."""
    async with conn.cursor(row_factory=class_row(BatchWait)) as cursor:
        await cursor.execute(
            READ_BATCH, {"batch_id": batch_id, "team_id": team_id, "alive_since": alive_since}
        )
        return await cursor.fetchone()


@dataclass(frozen=True, kw_only=True, slots=True)
class ItemWait:
    """Where an item stands."""

    batch_id: UUID
    phase: str
    status: str
    due_at: datetime
    deadline_at: datetime | None


READ_ITEM = """
SELECT batch_id, phase, status, due_at, deadline_at FROM items
 WHERE id = %(item_id)s AND team_id = %(team_id)s
"""


async def read_item(conn: Connection, *, team_id: int, item_id: UUID) -> ItemWait | None:
    """Read what tells why an item of the team waits."""
    async with conn.cursor(row_factory=class_row(ItemWait)) as cursor:
        await cursor.execute(READ_ITEM, {"item_id": item_id, "team_id": team_id})
        return await cursor.fetchone()

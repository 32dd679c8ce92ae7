"""Why something waits: what is needed to derive it."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row

from batchyard.store.audit import NAME_OF_ACTOR
from batchyard.store.db import Connection


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchWait:
    """A batch, its recorded reason, and the ready item that falls due next."""

    state: str
    scheduled_at: datetime | None
    wait_reason: str | None
    wait_until: datetime | None
    wait_noted_at: datetime | None
    paused_by: str | None
    """The name of whoever paused it, where that is known."""
    alive_workers: int
    next_status: str | None
    next_due_at: datetime | None
    next_error: str | None
    """What the next item met last."""
    is_next_held: bool | None
    """Another call to the next item's number is undecided."""
    is_behind: bool
    """Another batch of the team, which has work, was served after it; it was not just now."""
    is_unserved: bool
    """Nothing of it was let in lately."""


# Whether somebody else holds the number of a ready item, at the provider it was claimed for last.
IS_HELD = """
EXISTS (SELECT FROM number_claims c JOIN item_data d ON d.item_id = i.id
         WHERE c.provider_id = i.provider_id AND c.number = d.number AND c.item_id <> i.id)
"""

# What a batch may have to wait behind has something due, or out.
IS_BEHIND = """
coalesce(b.served_at < %(served_before)s, true) AND EXISTS (
    SELECT FROM batches o
     WHERE o.team_id = b.team_id AND o.id <> b.id AND o.state IN ('queued', 'running')
       AND (b.served_at IS NULL OR o.served_at > b.served_at)
       AND (EXISTS (SELECT FROM batch_counts c
                     WHERE c.batch_id = o.id AND c.n > 0
                       AND c.phase IN ('claimed', 'calling', 'live'))
            OR EXISTS (SELECT FROM items d
                        WHERE d.batch_id = o.id AND d.phase = 'ready' AND d.due_at <= %(now)s)))
"""

READ_BATCH = f"""
SELECT b.state, b.scheduled_at, b.wait_reason, b.wait_until, b.wait_noted_at,
       {NAME_OF_ACTOR.format(actor="b.paused_by", team_id="b.team_id")} AS paused_by,
       (SELECT count(*)::int FROM workers
         WHERE ended_at IS NULL AND beat_at >= %(alive_since)s) AS alive_workers,
       i.status AS next_status, i.due_at AS next_due_at,
       (SELECT concat_ws(': ', d.error_code, nullif(d.error_message, '')) FROM item_data d
         WHERE d.item_id = i.id AND d.error_code IS NOT NULL) AS next_error,
       i.id IS NOT NULL AND {IS_HELD.strip()} AS is_next_held,
       {IS_BEHIND.strip()} AS is_behind,
       coalesce(b.served_at < %(served_before)s, true) AS is_unserved
  FROM batches b
  LEFT JOIN LATERAL (
       SELECT id, provider_id, status, due_at FROM items
        WHERE batch_id = b.id AND phase = 'ready'
        ORDER BY due_at LIMIT 1) AS i ON true
 WHERE b.id = %(batch_id)s AND b.team_id = %(team_id)s
"""


async def read_batch(
    conn: Connection,
    *,
    team_id: int,
    batch_id: UUID,
    alive_since: datetime,
    served_before: datetime,
    now: datetime,
) -> BatchWait | None:
    """Read what tells why a batch of the team waits."""
    async with conn.cursor(row_factory=class_row(BatchWait)) as cursor:
        await cursor.execute(
            READ_BATCH,
            {
                "batch_id": batch_id,
                "team_id": team_id,
                "alive_since": alive_since,
                "served_before": served_before,
                "now": now,
            },
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
    is_held: bool
    """Another call to its number is undecided."""


READ_ITEM = f"""
SELECT i.batch_id, i.phase, i.status, i.due_at, i.deadline_at, {IS_HELD.strip()} AS is_held
  FROM items i
 WHERE i.id = %(item_id)s AND i.team_id = %(team_id)s
"""


async def read_item(conn: Connection, *, team_id: int, item_id: UUID) -> ItemWait | None:
    """Read what tells why an item of the team waits."""
    async with conn.cursor(row_factory=class_row(ItemWait)) as cursor:
        await cursor.execute(READ_ITEM, {"item_id": item_id, "team_id": team_id})
        return await cursor.fetchone()

"""Failed items that are to be tried again, and what may be changed about a batch."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from psycopg.types.json import Jsonb

from batchyard.store.db import Connection
from batchyard.store.histories import with_answer
from batchyard.store.taken_out import TAKEN_OUT

# Answered items only: each was proven not done. A retry is a new intended effect, so it gets a new
# key. `before` keeps out what failed anew since the operation began; what was erased, or is
# to be, is not sent.
RETRY = f"""
WITH chosen AS (
    SELECT i.id FROM items i
     WHERE i.batch_id = %(batch_id)s AND i.phase = 'done' AND i.status = ANY (%(statuses)s)
       AND i.updated_at <= %(before)s
       AND NOT EXISTS (SELECT FROM item_data g
                        WHERE g.item_id = i.id
                          AND g.payload IN {TAKEN_OUT})
       AND NOT EXISTS (SELECT FROM pending_erasures p WHERE p.item_id = i.id)
       AND (%(item_ids)s::uuid[] IS NULL OR i.id = ANY (%(item_ids)s))
     ORDER BY i.id
     LIMIT %(limit)s
       FOR UPDATE
), again AS (
    UPDATE items i
       SET phase = 'ready', status = 'retrying', try = i.try + 1, due_at = %(now)s,
           deadline_at = NULL, updated_at = %(now)s
      FROM chosen c
     WHERE i.id = c.id
    RETURNING i.id, i.try - 1 AS attempt
)
UPDATE item_data d
   SET attempts = {with_answer("a.attempt")}, ended_at = NULL, provider_reference = NULL
  FROM again a WHERE d.item_id = a.id
"""


async def retry_failed(
    conn: Connection,
    *,
    batch_id: UUID,
    statuses: Sequence[str],
    item_ids: Sequence[UUID] | None,
    limit: int,
    before: datetime,
    now: datetime,
) -> int:
    """Make up to `limit` ended items of a locked batch ready again; return how many."""
    cursor = await conn.execute(
        RETRY,
        {
            "batch_id": batch_id,
            "statuses": list(statuses),
            "item_ids": None if item_ids is None else list(item_ids),
            "limit": limit,
            "before": before,
            "now": now,
        },
    )
    return cursor.rowcount


CHANGE = """
UPDATE batches
   SET priority = coalesce(%(priority)s, priority),
       retry_policy = coalesce(%(retry_policy)s, retry_policy),
       reference = coalesce(%(reference)s, reference),
       has_brake = coalesce(%(has_brake)s, has_brake),
       bypass_windows = coalesce(%(bypass_windows)s, bypass_windows),
       updated_at = %(now)s
 WHERE id = %(batch_id)s
"""


async def change_batch(
    conn: Connection,
    *,
    batch_id: UUID,
    priority: int | None,
    retry_policy: Mapping[str, object] | None,
    reference: str | None,
    has_brake: bool | None,
    bypass_windows: bool | None,
    now: datetime,
) -> None:
    """Change what is given of a locked batch; None leaves it."""
    await conn.execute(
        CHANGE,
        {
            "batch_id": batch_id,
            "priority": priority,
            "retry_policy": None if retry_policy is None else Jsonb(dict(retry_policy)),
            "reference": reference,
            "has_brake": has_brake,
            "bypass_windows": bypass_windows,
            "now": now,
        },
    )

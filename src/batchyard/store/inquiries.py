"""Items whose answer is missing: taken one block at a time, to be asked for."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from psycopg.rows import class_row

from batchyard.store.db import Connection


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenQuestion:
    """A sent item nobody has an answer for."""

    id: UUID
    batch_id: UUID
    team_id: int
    team: str
    kind: str
    provider_id: int
    attempt: int
    lease: int
    sends: int
    phase: str
    status: str
    intent_at: datetime
    updated_at: datetime
    number: str | None
    from_number: str | None
    reference: str | None
    provider_reference: str | None
    zone_set: int | None
    payload: Mapping[str, object]
    result: Mapping[str, object] | None
    retry_policy: Mapping[str, object]
    empty_looks: int
    backup_at: datetime | None
    """Set after a restore: the key may have been used from this time on."""
    restored_at: datetime | None
    """When its batch was brought back from a backup, which may not know all that was sent."""
    sender: Mapping[str, object] | None
    """Where the team sends from; of shipments."""


QUESTION = """
SELECT t.id, t.batch_id, t.team_id, m.slug AS team, b.kind, t.provider_id,
       t.try AS attempt, t.lease, t.sends, t.phase,
       t.status, t.intent_at, t.updated_at, t.zone_set, d.number, d.reference,
       coalesce(d.from_number, b.from_numbers[1 + mod(
           coalesce(d.turn, d.position), nullif(cardinality(b.from_numbers), 0))]) AS from_number,
       d.provider_reference, d.payload, d.result, b.retry_policy, b.restored_at, b.backup_at,
       coalesce(t.empty_looks, 0) AS empty_looks,
       CASE b.kind WHEN 'shipment' THEN (
           SELECT s.sender FROM senders s WHERE s.team_id = t.team_id) END AS sender
"""

# The lease rises and the deadline moves on: whoever asks holds the question until then, and a
# crash while asking only delays it. `updated_at` stays, it tells since when the item is undecided.
TAKE = f"""
WITH picked AS (
    SELECT id FROM items
     WHERE phase IN ('calling', 'live') AND worker_id IS NULL AND deadline_at <= %(now)s
       AND (%(of_batch)s::uuid IS NULL OR batch_id = %(of_batch)s)
     ORDER BY deadline_at
     LIMIT %(limit)s
       FOR UPDATE SKIP LOCKED
), taken AS (
    UPDATE items i SET lease = i.lease + 1, deadline_at = %(held_until)s
      FROM picked p WHERE i.id = p.id
    RETURNING i.*
)
{QUESTION}
  FROM taken t
  JOIN item_data d ON d.item_id = t.id
  JOIN batches b ON b.id = t.batch_id
  JOIN teams m ON m.id = t.team_id
 ORDER BY t.id
"""


async def take(
    conn: Connection, *, limit: int, hold: timedelta, now: datetime, of_batch: UUID | None = None
) -> list[OpenQuestion]:
    """Take overdue items to ask about; they are left alone by others for `hold`."""
    async with conn.cursor(row_factory=class_row(OpenQuestion)) as cursor:
        await cursor.execute(
            TAKE, {"limit": limit, "held_until": now + hold, "now": now, "of_batch": of_batch}
        )
        return await cursor.fetchall()


READ = f"""
{QUESTION}
  FROM items t
  JOIN item_data d ON d.item_id = t.id
  JOIN batches b ON b.id = t.batch_id
  JOIN teams m ON m.id = t.team_id
 WHERE t.id = %(item_id)s AND t.intent_at IS NOT NULL AND t.provider_id IS NOT NULL
"""


async def read(conn: Connection, *, item_id: UUID) -> OpenQuestion | None:
    """Read an item that was sent at some time, without taking it."""
    async with conn.cursor(row_factory=class_row(OpenQuestion)) as cursor:
        await cursor.execute(READ, {"item_id": item_id})
        return await cursor.fetchone()


KEYS = """
SELECT i.id, i.intent_at, b.kind, b.retry_policy
  FROM items i JOIN batches b ON b.id = i.batch_id
 WHERE i.id = ANY (%(ids)s)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyContext:
    """What is needed to judge news about an item's current key."""

    id: UUID
    intent_at: datetime | None
    kind: str
    retry_policy: Mapping[str, object]


async def read_contexts(conn: Connection, ids: list[UUID]) -> dict[UUID, KeyContext]:
    """Read the context of items that a provider has reported on."""
    async with conn.cursor(row_factory=class_row(KeyContext)) as cursor:
        await cursor.execute(KEYS, {"ids": ids})
        return {row.id: row for row in await cursor.fetchall()}

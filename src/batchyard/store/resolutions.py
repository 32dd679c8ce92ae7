"""Unknown outcomes that a person decides."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row

from batchyard.lifecycle import SUCCESS_STATUS
from batchyard.models import Kind
from batchyard.store.db import Connection

# Batches before items, as everywhere; in id order.
LOCK_BATCHES = """
SELECT b.id FROM batches b
 WHERE b.team_id = %(team_id)s
   AND b.id IN (
       SELECT i.batch_id FROM items i
        WHERE i.team_id = %(team_id)s AND i.phase = 'unknown'
          AND (%(batch_id)s::uuid IS NULL OR i.batch_id = %(batch_id)s)
          AND (%(item_ids)s::uuid[] IS NULL OR i.id = ANY (%(item_ids)s)))
 ORDER BY b.id
   FOR UPDATE
"""

# A retry is a new intended effect, so it gets a new key. The note keeps who decided what.
RESOLVE = """
WITH chosen AS MATERIALIZED (
    SELECT i.id FROM items i
     WHERE i.batch_id = ANY (%(batch_ids)s) AND i.phase = 'unknown'
       AND i.updated_at <= %(before)s
       AND (%(item_ids)s::uuid[] IS NULL OR i.id = ANY (%(item_ids)s))
     ORDER BY i.id
     LIMIT %(limit)s
       FOR UPDATE
), resolved AS (
    UPDATE items i
       SET phase = CASE WHEN %(verdict)s = 'retry' THEN 'ready' ELSE 'done' END,
           status = CASE %(verdict)s
               WHEN 'retry' THEN 'retrying'
               WHEN 'failed' THEN 'failed'
               ELSE CASE b.kind WHEN 'call' THEN %(call_done)s ELSE %(shipment_done)s END END,
           try = CASE WHEN %(verdict)s = 'retry' THEN i.try + 1 ELSE i.try END,
           due_at = %(now)s, deadline_at = NULL, updated_at = %(now)s
      FROM chosen c, batches b
     WHERE i.id = c.id AND b.id = i.batch_id
    RETURNING i.id, i.batch_id, i.phase, i.status,
              CASE WHEN %(verdict)s = 'retry' THEN i.try - 1 ELSE i.try END AS attempt, i.intent_at
), released AS (
    DELETE FROM number_claims c USING resolved r WHERE c.item_id = r.id
), noted AS (
    UPDATE item_data d
       SET attempts = d.attempts || jsonb_build_object(
               'attempt', r.attempt, 'key', r.id || '.' || r.attempt,
               'status', 'resolved as ' || %(verdict)s, 'sent_at', r.intent_at,
               'ended_at', %(now)s::timestamptz, 'resolved_by', %(actor)s::text,
               'reference', d.provider_reference,
               'error_code', d.error_code, 'error_message', d.error_message),
           provider_reference = CASE WHEN r.phase = 'done' THEN d.provider_reference END,
           result = d.result - 'batchyard' - 'documents',
           error_code = CASE WHEN %(verdict)s = 'failed' THEN 'resolved_failed' END,
           error_message = CASE WHEN %(verdict)s = 'failed'
               THEN 'A person found that it was not done.' END,
           ended_at = CASE WHEN r.phase = 'done' THEN %(now)s::timestamptz END
      FROM resolved r
     WHERE d.item_id = r.id
)
SELECT batch_id, count(*)::int AS n FROM resolved GROUP BY batch_id ORDER BY batch_id
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Resolved:
    """How many items of a batch were decided."""

    batch_id: UUID
    n: int


async def resolve(
    conn: Connection,
    *,
    team_id: int,
    verdict: str,
    batch_id: UUID | None,
    item_ids: Sequence[UUID] | None,
    actor: str,
    limit: int,
    before: datetime,
    now: datetime,
) -> list[Resolved]:
    """Decide up to `limit` items of a team, unknown since `before`: `done`, `failed`, `retry`."""
    chosen = {
        "team_id": team_id,
        "batch_id": batch_id,
        "item_ids": None if item_ids is None else list(item_ids),
    }
    locked = await (await conn.execute(LOCK_BATCHES, chosen)).fetchall()
    async with conn.cursor(row_factory=class_row(Resolved)) as cursor:
        await cursor.execute(
            RESOLVE,
            chosen
            | {
                "batch_ids": [row[0] for row in locked],
                "verdict": verdict,
                "call_done": SUCCESS_STATUS[Kind.CALL],
                "shipment_done": SUCCESS_STATUS[Kind.SHIPMENT],
                "actor": actor,
                "limit": limit,
                "before": before,
                "now": now,
            },
        )
        return await cursor.fetchall()


REOPEN = """
UPDATE batches SET state = 'running', finished_at = NULL, expired = '{}', updated_at = %(now)s
 WHERE id = ANY (%(batch_ids)s) AND state IN ('completed', 'failed', 'stopped')
"""


async def reopen(conn: Connection, *, batch_ids: Sequence[UUID], now: datetime) -> None:
    """Let ended batches run again for items that are ready again."""
    await conn.execute(REOPEN, {"batch_ids": list(batch_ids), "now": now})


# A shipment batch has failed when nothing was booked; a decision may change that either way.
CORRECT_ENDS = """
UPDATE batches b
   SET state = CASE WHEN EXISTS (
                   SELECT FROM batch_counts c
                    WHERE c.batch_id = b.id AND c.status = %(booked)s AND c.n > 0)
               THEN 'completed' ELSE 'failed' END,
       updated_at = %(now)s
 WHERE b.id = ANY (%(batch_ids)s) AND b.kind = 'shipment' AND b.state IN ('completed', 'failed')
"""


async def correct_ends(conn: Connection, *, batch_ids: Sequence[UUID], now: datetime) -> None:
    """Let the state of ended batches follow their corrected counts."""
    await conn.execute(
        CORRECT_ENDS,
        {"batch_ids": list(batch_ids), "booked": SUCCESS_STATUS[Kind.SHIPMENT], "now": now},
    )


COUNT_UNKNOWN = """
SELECT count(*) FROM items i
 WHERE i.team_id = %(team_id)s AND i.phase = 'unknown'
   AND (%(batch_id)s::uuid IS NULL OR i.batch_id = %(batch_id)s)
   AND (%(item_ids)s::uuid[] IS NULL OR i.id = ANY (%(item_ids)s))
"""


async def count_unknown(
    conn: Connection,
    *,
    team_id: int,
    batch_id: UUID | None,
    item_ids: Sequence[UUID] | None,
) -> int:
    """Count what `resolve` would decide."""
    chosen = {
        "team_id": team_id,
        "batch_id": batch_id,
        "item_ids": None if item_ids is None else list(item_ids),
    }
    row = await (await conn.execute(COUNT_UNKNOWN, chosen)).fetchone()
    return int(str(row[0])) if row else 0


@dataclass(frozen=True, kw_only=True, slots=True)
class UnknownItem:
    """What a person needs to decide one unknown outcome."""

    item_id: UUID
    batch_id: UUID
    kind: str
    position: int
    reference: str | None
    number: str | None
    key: str
    provider: str | None
    provider_reference: str | None
    sent_at: datetime | None
    since: datetime
    error_code: str | None
    error_message: str | None


# The oldest first: whoever waits longest is decided first.
LIST_UNKNOWN = """
SELECT i.id AS item_id, i.batch_id, b.kind, d.position, d.reference, d.number,
       i.id || '.' || i.try AS key, coalesce(p.name, d.provider) AS provider,
       d.provider_reference, i.intent_at AS sent_at, i.updated_at AS since,
       d.error_code, d.error_message
  FROM items i
  JOIN batches b ON b.id = i.batch_id
  JOIN item_data d ON d.item_id = i.id
  LEFT JOIN providers p ON p.id = i.provider_id
 WHERE i.team_id = %(team_id)s AND i.phase = 'unknown'
   AND (%(batch_id)s::uuid IS NULL OR i.batch_id = %(batch_id)s)
 ORDER BY i.updated_at, i.batch_id, d.position
 LIMIT %(limit)s
"""


async def list_unknown(
    conn: Connection, *, team_id: int, batch_id: UUID | None, limit: int
) -> list[UnknownItem]:
    """List unknown items of a team, the oldest first."""
    async with conn.cursor(row_factory=class_row(UnknownItem)) as cursor:
        await cursor.execute(
            LIST_UNKNOWN, {"team_id": team_id, "batch_id": batch_id, "limit": limit}
        )
        return await cursor.fetchall()

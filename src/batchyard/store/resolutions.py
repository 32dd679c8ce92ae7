"""Unknown outcomes that a person decides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row

from batchyard.lifecycle import SUCCESS_STATUS
from batchyard.models import Kind
from batchyard.store.db import Connection
from batchyard.store.item_filters import (
    NO_FILTERS,
    ItemFilters,
    join_conditions,
    plan_and_fetch,
)
from batchyard.store.taken_out import TAKEN_OUT


@dataclass(frozen=True, kw_only=True, slots=True)
class Unknowns:
    """Which unknown outcomes of a team are meant; what is not given does not narrow them."""

    team_id: int
    batch_id: UUID | None = None
    item_ids: Sequence[UUID] | None = None
    filters: ItemFilters = NO_FILTERS

    @property
    def values(self) -> dict[str, object]:
        """What the conditions compare with."""
        item_ids = None if self.item_ids is None else list(self.item_ids)
        return self.filters.values | {
            "team_id": self.team_id,
            "batch_id": self.batch_id,
            "item_ids": item_ids,
        }

    @property
    def where(self) -> str:
        """The conditions on `items` as `i` and `item_data` as `d`, each behind an AND."""
        return join_conditions(NARROWED, self.values) + self.filters.where


NARROWED: Mapping[str, str] = {
    "batch_id": "i.batch_id = %(batch_id)s",
    "item_ids": "i.id = ANY (%(item_ids)s)",
}

# Nothing is to happen any more for a batch that was deleted.
UNKNOWN = """
  FROM items i
  JOIN item_data d ON d.item_id = i.id
  JOIN batches b ON b.id = i.batch_id
 WHERE i.team_id = %(team_id)s AND i.phase = 'unknown' AND b.deleted_at IS NULL{where}
"""

# Batches before items, as everywhere; in id order.
LOCK_BATCHES = f"""
SELECT l.id FROM batches l
 WHERE l.id IN (SELECT i.batch_id {UNKNOWN}) AND l.deleted_at IS NULL
 ORDER BY l.id
   FOR UPDATE
"""

# A retry is a new intended effect, so it gets a new key; what was erased is not sent. The note
# keeps who decided what.
RESOLVE = """
WITH chosen AS MATERIALIZED (
    SELECT i.id
      FROM items i JOIN item_data d ON d.item_id = i.id
     WHERE i.batch_id = ANY (%(batch_ids)s) AND i.phase = 'unknown'
       AND i.updated_at <= %(before)s
       AND (%(verdict)s <> 'retry'
            OR d.payload NOT IN {taken_out}
           AND NOT EXISTS (SELECT FROM pending_erasures p WHERE p.item_id = i.id)){where}
     ORDER BY i.id
     LIMIT %(limit)s
       FOR UPDATE OF i
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
""".replace("{taken_out}", TAKEN_OUT)


@dataclass(frozen=True, kw_only=True, slots=True)
class Resolved:
    """How many items of a batch were decided."""

    batch_id: UUID
    n: int


async def lock_batches(conn: Connection, chosen: Unknowns) -> list[UUID]:
    """Lock the batches that these items are in, and return them."""
    rows = await plan_and_fetch(conn, LOCK_BATCHES.format(where=chosen.where), chosen.values)
    return [UUID(str(row[0])) for row in rows]


async def resolve(
    conn: Connection,
    chosen: Unknowns,
    *,
    verdict: str,
    batch_ids: Sequence[UUID],
    actor: str,
    limit: int,
    before: datetime,
    now: datetime,
) -> list[Resolved]:
    """Decide up to `limit` such items of locked batches, unknown since `before`.

    The verdict is `done`, `failed` or `retry`.
    """
    async with conn.cursor(row_factory=class_row(Resolved)) as cursor:
        await cursor.execute(
            RESOLVE.replace("{where}", chosen.where).encode(),
            chosen.values
            | {
                "batch_ids": list(batch_ids),
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
UPDATE batches
   SET state = 'running', finished_at = NULL, expired = '{}', brake_from = %(now)s,
       updated_at = %(now)s
 WHERE id = ANY (%(batch_ids)s) AND state IN ('completed', 'failed', 'stopped')
   AND deleted_at IS NULL
"""


async def reopen(conn: Connection, *, batch_ids: Sequence[UUID], now: datetime) -> None:
    """Let ended batches run again for items that are ready again; a person decided that now."""
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


COUNT_UNKNOWN = f"SELECT count(*) {UNKNOWN}"


async def count_unknown(conn: Connection, chosen: Unknowns) -> int:
    """Count what `resolve` would decide."""
    statement = COUNT_UNKNOWN.format(where=chosen.where)
    ((n,),) = await plan_and_fetch(conn, statement, chosen.values)
    return int(str(n))


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
LIST_UNKNOWN = f"""
SELECT i.id AS item_id, i.batch_id, b.kind, d.position, d.reference, d.number,
       i.id || '.' || i.try AS key,
       coalesce((SELECT p.name FROM providers p WHERE p.id = i.provider_id), d.provider)
           AS provider,
       d.provider_reference, i.intent_at AS sent_at, i.updated_at AS since,
       d.error_code, d.error_message
{UNKNOWN}
 ORDER BY i.updated_at, i.batch_id, d.position
 LIMIT %(limit)s
"""


async def list_unknown(conn: Connection, chosen: Unknowns, *, limit: int) -> list[UnknownItem]:
    """List unknown items, the oldest first."""
    async with conn.cursor(row_factory=class_row(UnknownItem)) as cursor:
        statement = LIST_UNKNOWN.format(where=chosen.where)
        await cursor.execute(statement.encode(), chosen.values | {"limit": limit}, prepare=False)
        return await cursor.fetchall()

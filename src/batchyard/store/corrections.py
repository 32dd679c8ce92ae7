"""Single items whose payload a person corrects."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from batchyard.models import JsonObject
from batchyard.store.db import Connection
from batchyard.store.histories import with_answer
from batchyard.store.taken_out import TAKEN_OUT


@dataclass(frozen=True, kw_only=True, slots=True)
class Correction:
    """What is put in the place of what an item had."""

    item_id: UUID
    payload: JsonObject
    number: str | None
    reference: str | None
    zone_set: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class CorrectedItem:
    """An item as it stands."""

    batch_id: UUID
    batch_state: str
    kind: str
    phase: str
    status: str
    number: str | None
    payload: JsonObject
    is_noted: bool
    """To be erased."""
    is_taken_out: bool
    """Erased, or kept no longer."""


ITEM = f"""
SELECT i.batch_id, b.state AS batch_state, b.kind, i.phase, i.status, d.number, d.payload,
       EXISTS (SELECT FROM pending_erasures p WHERE p.item_id = i.id) AS is_noted,
       d.payload IN {TAKEN_OUT} AS is_taken_out
  FROM items i JOIN batches b ON b.id = i.batch_id JOIN item_data d ON d.item_id = i.id
 WHERE i.id = %(item_id)s AND b.team_id = %(team_id)s
   AND b.deleted_at IS NULL AND b.state NOT IN ('importing', 'cancelled')
"""


async def read(conn: Connection, *, team_id: int, item_id: UUID) -> CorrectedItem | None:
    """Read an item of a team."""
    async with conn.cursor(row_factory=class_row(CorrectedItem)) as cursor:
        await cursor.execute(ITEM, {"item_id": item_id, "team_id": team_id})
        return await cursor.fetchone()


# The batch before its item, as everywhere. Read anew after the locks.
LOCK_BATCH = """
SELECT id FROM batches WHERE id = (SELECT batch_id FROM items WHERE id = %(item_id)s) FOR UPDATE
"""
LOCK_ITEM = "SELECT id FROM items WHERE id = %(item_id)s FOR UPDATE"


async def lock(conn: Connection, *, team_id: int, item_id: UUID) -> CorrectedItem | None:
    """Lock an item of a team and its batch, and return it."""
    await conn.execute(LOCK_BATCH, {"item_id": item_id})
    await conn.execute(LOCK_ITEM, {"item_id": item_id})
    return await read(conn, team_id=team_id, item_id=item_id)


# An effect that failed and is wanted again gets a new key.
WRITE = f"""
WITH corrected AS (
    UPDATE items
       SET zone_set = %(zone_set)s, updated_at = %(now)s,
           phase = 'ready',
           status = CASE WHEN %(tries_again)s THEN 'retrying' ELSE status END,
           try = CASE WHEN %(tries_again)s THEN try + 1 ELSE try END,
           due_at = CASE WHEN %(tries_again)s THEN %(now)s ELSE due_at END,
           deadline_at = CASE WHEN %(tries_again)s THEN NULL ELSE deadline_at END
     WHERE id = %(item_id)s
    RETURNING id, batch_id, CASE WHEN %(tries_again)s THEN try - 1 ELSE try END AS attempt
), settled AS (
    DELETE FROM rejected_rows r USING corrected c
     WHERE r.batch_id = c.batch_id AND r.item_id = c.id
)
UPDATE item_data d
   SET corrections = d.corrections || jsonb_build_object(
           'at', %(now)s::timestamptz, 'attempt', c.attempt, 'number', d.number,
           'payload', d.payload),
       attempts = {with_answer("c.attempt")},
       payload = %(payload)s, number = %(number)s, reference = %(reference)s, ended_at = NULL,
       provider_reference = CASE WHEN NOT %(tries_again)s THEN d.provider_reference END
  FROM corrected c
 WHERE d.item_id = c.id
"""


async def write(
    conn: Connection, correction: Correction, *, tries_again: bool, now: datetime
) -> None:
    """Replace what a locked item has; what was replaced is kept."""
    await conn.execute(
        WRITE,
        {
            "item_id": correction.item_id,
            "payload": Jsonb(dict(correction.payload)),
            "number": correction.number,
            "reference": correction.reference,
            "zone_set": correction.zone_set,
            "tries_again": tries_again,
            "now": now,
        },
    )

"""How often each number was called, for the teams that limit it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import orjson

from batchyard.store.db import Connection


@dataclass(frozen=True, kw_only=True, slots=True)
class Contact:
    """An item about to be sent, and since when attempts on its number count."""

    item_id: UUID
    attempt: int
    team_id: int
    number: str
    day_at: datetime | None
    """When the recipient's day began; None where attempts are not limited."""
    week_at: datetime | None
    """When the sixth day before it began."""


# One transaction at a time counts and adds for a team; comes after the limits, before the items.
LOCK_RULES = """
SELECT FROM team_rules WHERE team_id = ANY (%(team_ids)s) ORDER BY team_id FOR NO KEY UPDATE
"""


async def lock(conn: Connection, team_ids: Collection[int]) -> None:
    """Let no other transaction count for these teams until this one ends."""
    await conn.execute(LOCK_RULES, {"team_ids": sorted(team_ids)})


# A key that came back unsent has been no attempt, whatever became of its item since: it is neither
# out nor in the history. Of an item that is deleted nothing speaks against what was counted.
WAS_SENT = """
          AND NOT EXISTS (
              SELECT FROM items i JOIN item_data d ON d.item_id = i.id
               WHERE i.id = a.item_id
                 AND NOT (i.try = a.try AND i.phase IN ('calling', 'live', 'unknown'))
                 AND NOT d.attempts @> jsonb_build_array(jsonb_build_object('attempt', a.try)))
""".strip()

# Items of one number in the same block follow each other: each counts those before it.
REACHED = f"""
WITH wanted AS MATERIALIZED (
    SELECT w.*, row_number() OVER (PARTITION BY w.team_id, w.number ORDER BY w.item_id) AS nth
      FROM json_to_recordset(%(rows)s::json) AS w (
           item_id uuid, attempt smallint, team_id bigint, number text,
           day_at timestamptz, week_at timestamptz)
)
SELECT w.item_id
  FROM wanted w
  JOIN team_rules r ON r.team_id = w.team_id
 CROSS JOIN LATERAL (
       SELECT count(*) AS in_week, count(*) FILTER (WHERE a.sent_at >= w.day_at) AS in_day
         FROM contact_attempts a
        WHERE a.team_id = w.team_id AND a.number = w.number AND a.sent_at >= w.week_at
          AND (a.item_id, a.try) <> (w.item_id, w.attempt)
          {WAS_SENT}) AS made
 WHERE made.in_day + w.nth > r.attempts_per_day OR made.in_week + w.nth > r.attempts_per_week
"""


async def lock_reached(conn: Connection, contacts: Sequence[Contact]) -> set[UUID]:
    """Return the items whose number was called often enough; the rest may be sent, and `add`ed.

    Others that count for the same teams wait until the transaction ends.
    """
    await lock(conn, {contact.team_id for contact in contacts})
    cursor = await conn.execute(REACHED, {"rows": orjson.dumps(contacts).decode()})
    return {row[0] for row in await cursor.fetchall() if isinstance(row[0], UUID)}


ADD = """
INSERT INTO contact_attempts (team_id, number, item_id, try, sent_at)
SELECT team_id, number, item_id, attempt, %(now)s
  FROM json_to_recordset(%(rows)s::json) AS w (
       item_id uuid, attempt smallint, team_id bigint, number text)
 ORDER BY team_id, number, item_id
ON CONFLICT (team_id, number, item_id, try) DO UPDATE SET sent_at = excluded.sent_at
"""


async def add(conn: Connection, contacts: Sequence[Contact], *, now: datetime) -> None:
    """Count these as sent; the same key sent again is counted once."""
    if contacts:
        await conn.execute(ADD, {"rows": orjson.dumps(contacts).decode(), "now": now})


LIST_REACHED = f"""
SELECT w.number
  FROM unnest(%(numbers)s::text[], %(day_ats)s::timestamptz[], %(week_ats)s::timestamptz[])
       AS w (number, day_at, week_at)
  JOIN team_rules r ON r.team_id = %(team_id)s
 CROSS JOIN LATERAL (
       SELECT count(*) AS in_week, count(*) FILTER (WHERE a.sent_at >= w.day_at) AS in_day
         FROM contact_attempts a
        WHERE a.team_id = %(team_id)s AND a.number = w.number AND a.sent_at >= w.week_at
          {WAS_SENT}) AS made
 WHERE made.in_day >= r.attempts_per_day OR made.in_week >= r.attempts_per_week
"""


async def find_reached(
    conn: Connection,
    *,
    team_id: int,
    numbers: Collection[tuple[str, datetime, datetime]],
) -> set[str]:
    """Return which numbers, each with the starts of its day and week, were called often enough."""
    cursor = await conn.execute(
        LIST_REACHED,
        {
            "team_id": team_id,
            "numbers": [number for number, _, _ in numbers],
            "day_ats": [day_at for _, day_at, _ in numbers],
            "week_ats": [week_at for _, _, week_at in numbers],
        },
    )
    return {str(row[0]) for row in await cursor.fetchall()}


LIST_BATCHES = """
SELECT id FROM batches
 WHERE team_id = %(team_id)s AND kind = 'call' AND started_at IS NOT NULL
   AND (finished_at IS NULL OR finished_at >= %(since)s)
 ORDER BY id
"""


async def list_batches(conn: Connection, *, team_id: int, since: datetime) -> list[UUID]:
    """List the batches whose calls may have been made since."""
    cursor = await conn.execute(LIST_BATCHES, {"team_id": team_id, "since": since})
    return [row[0] for row in await cursor.fetchall() if isinstance(row[0], UUID)]


# The history names the keys that were answered; an item that is out now has one more.
RECALL = """
WITH slice AS MATERIALIZED (
    SELECT id, team_id, try, phase, intent_at FROM items
     WHERE batch_id = %(batch_id)s AND (%(after)s::uuid IS NULL OR id > %(after)s)
     ORDER BY id
     LIMIT %(limit)s
), added AS (
    INSERT INTO contact_attempts (team_id, number, item_id, try, sent_at)
    SELECT s.team_id, d.number, s.id, known.try, known.sent_at
      FROM slice s
      JOIN item_data d ON d.item_id = s.id
     CROSS JOIN LATERAL (
           SELECT (e ->> 'attempt')::smallint AS try, (e ->> 'sent_at')::timestamptz AS sent_at
             FROM jsonb_array_elements(d.attempts) AS e
            UNION
           SELECT s.try, s.intent_at WHERE s.phase IN ('calling', 'live', 'unknown')) AS known
     WHERE s.intent_at >= %(since)s AND d.number IS NOT NULL AND known.sent_at >= %(since)s
     ORDER BY d.number, s.id
    ON CONFLICT (team_id, number, item_id, try) DO NOTHING
)
SELECT id FROM slice ORDER BY id DESC LIMIT 1
"""


async def recall(
    conn: Connection, *, batch_id: UUID, after: UUID | None, since: datetime, limit: int
) -> UUID | None:
    """Count attempts of a batch that were made before its team limited them.

    Looks at `limit` items behind `after`; returns the last one, None when there are no more.
    """
    cursor = await conn.execute(
        RECALL, {"batch_id": batch_id, "after": after, "since": since, "limit": limit}
    )
    row = await cursor.fetchone()
    return row[0] if row and isinstance(row[0], UUID) else None


FORGET = """
DELETE FROM contact_attempts
 WHERE ctid IN (SELECT ctid FROM contact_attempts WHERE sent_at < %(before)s LIMIT %(limit)s)
"""


async def forget(conn: Connection, *, before: datetime, limit: int) -> int:
    """Delete some attempts that no limit counts any more; return how many."""
    return (await conn.execute(FORGET, {"before": before, "limit": limit})).rowcount

"""What is no longer kept: taken out in slices, while every count stays."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from psycopg.rows import args_row, dict_row

from batchyard.store.contacts import LOCK_TEAM
from batchyard.store.db import Connection
from batchyard.store.deliveries import IS_UNKNOWN, LET_GO, NOTHING_FOLLOWS
from batchyard.store.taken_out import EXPIRED, TAKEN_OUT
from batchyard.store.terms import Term, since

TRANSCRIPT_KEYS = ("transcript", "recording_url", "summary", "extracted_data")


@dataclass(frozen=True, kw_only=True, slots=True)
class Days:
    """What a team has set; None takes the default."""

    items_days: int | None = None
    transcripts_days: int | None = None
    documents_days: int | None = None
    events_days: int | None = None
    webhooks_days: int | None = None
    idempotency_days: int | None = None


READ = """
SELECT items_days, transcripts_days, documents_days, events_days, webhooks_days, idempotency_days
  FROM retention WHERE team_id = %(team_id)s
"""


async def read(conn: Connection, *, team_id: int) -> Days:
    """Return what a team has set."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(READ, {"team_id": team_id})
        row = await cursor.fetchone()
    return Days(**row) if row else Days()


async def lock(conn: Connection, *, team_id: int) -> Days:
    """Return what a team has set, and keep others from changing it meanwhile."""
    await conn.execute(LOCK_TEAM, {"team_id": team_id})
    return await read(conn, team_id=team_id)


WRITE = """
INSERT INTO retention (team_id, items_days, transcripts_days, documents_days, events_days,
                       webhooks_days, idempotency_days, updated_at)
VALUES (%(team_id)s, %(items_days)s, %(transcripts_days)s, %(documents_days)s, %(events_days)s,
        %(webhooks_days)s, %(idempotency_days)s, %(now)s)
ON CONFLICT (team_id) DO UPDATE
   SET items_days = excluded.items_days, transcripts_days = excluded.transcripts_days,
       documents_days = excluded.documents_days, events_days = excluded.events_days,
       webhooks_days = excluded.webhooks_days, idempotency_days = excluded.idempotency_days,
       updated_at = excluded.updated_at
"""


async def write(
    conn: Connection, *, team_id: int, days: Mapping[str, int | None], now: datetime
) -> None:
    """Set all of a team's days."""
    await conn.execute(WRITE, {**days, "team_id": team_id, "now": now})


LIST_TEAMS = "SELECT id FROM teams ORDER BY id"


async def list_teams(conn: Connection) -> list[int]:
    """List every team."""
    return [int(str(row[0])) for row in await (await conn.execute(LIST_TEAMS)).fetchall()]


LIST_DUE = """
SELECT id, finished_at FROM batches
 WHERE team_id = %(team_id)s AND finished_at < {since} AND NOT %(what)s = ANY (expired)
   AND state IN ('completed', 'failed', 'stopped', 'cancelled')
   AND (%(after_at)s::timestamptz IS NULL
        OR (finished_at, id) > (%(after_at)s, %(after_id)s::uuid))
 ORDER BY finished_at, id LIMIT %(limit)s
"""


class Due(NamedTuple):
    """A batch of which something is kept for too long."""

    batch_id: UUID
    finished_at: datetime


async def list_due(
    conn: Connection, term: Term, *, after: Due | None = None, limit: int, now: datetime
) -> list[Due]:
    """List batches behind `after` that ended too long ago and of which this is still kept."""
    values = {
        **term.values(now),
        "after_at": None if after is None else after.finished_at,
        "after_id": None if after is None else after.batch_id,
        "limit": limit,
    }
    query = LIST_DUE.format(since=since(term.what))
    async with conn.cursor(row_factory=args_row(Due)) as cursor:
        await cursor.execute(query.encode(), values)
        return await cursor.fetchall()


IS_DUE = "SELECT finished_at < {since} FROM batches WHERE id = %(batch_id)s"


async def is_due(conn: Connection, term: Term, batch_id: UUID, *, now: datetime) -> bool:
    """Tell whether a batch ended too long ago, by what the team has set now."""
    query = IS_DUE.format(since=since(term.what))
    cursor = await conn.execute(query.encode(), {**term.values(now), "batch_id": batch_id})
    return await cursor.fetchone() == (True,)


# An unknown item may be answered after it expired: what the answer brought goes as well.
EXPIRE_ITEMS = f"""
UPDATE item_data
   SET payload = '{EXPIRED}', number = NULL, reference = NULL, result = NULL, corrections = '[]',
       error_message = NULL, provider_reference = NULL,
       attempts = (SELECT coalesce(jsonb_agg(e - 'error_message' - 'reference' - 'result'), '[]')
                     FROM jsonb_array_elements(attempts) AS e)
 WHERE item_id IN (
       SELECT d.item_id FROM item_data d JOIN items i ON i.id = d.item_id
        WHERE d.batch_id = %(batch_id)s AND i.phase IN ('done', 'unknown')
          AND (d.payload NOT IN {TAKEN_OUT}
               OR d.payload = '{EXPIRED}'
                  AND (d.result IS NOT NULL OR d.provider_reference IS NOT NULL
                       OR d.error_message IS NOT NULL))
        LIMIT %(limit)s)
"""
EXPIRE_REFUSED = f"""
UPDATE rejected_rows
   SET cells = CASE jsonb_typeof(cells) WHEN 'array' THEN '[]' ELSE '{EXPIRED}'::jsonb END
 WHERE (batch_id, line) IN (
       SELECT batch_id, line FROM rejected_rows
        WHERE batch_id = %(batch_id)s AND cells NOT IN ('[]', '{EXPIRED}') LIMIT %(limit)s)
"""
EXPIRE_TRANSCRIPTS = """
UPDATE item_data
   SET result = result - %(keys)s::text[],
       attempts = (SELECT coalesce(jsonb_agg(
                              CASE WHEN e ? 'result' THEN jsonb_set(
                                   e, '{result}', (e -> 'result') - %(keys)s::text[]) ELSE e END
                              ORDER BY n), '[]')
                     FROM jsonb_array_elements(attempts) WITH ORDINALITY AS a (e, n))
 WHERE item_id IN (SELECT item_id FROM item_data
                    WHERE batch_id = %(batch_id)s
                      AND (result ?| %(keys)s::text[]
                           OR EXISTS (SELECT FROM jsonb_array_elements(attempts) AS e
                                       WHERE e -> 'result' ?| %(keys)s::text[]))
                    LIMIT %(limit)s)
"""
EXPIRE_DOCUMENTS = """
DELETE FROM documents WHERE id IN (
    SELECT f.id FROM documents f JOIN items i ON i.id = f.item_id
     WHERE i.batch_id = %(batch_id)s LIMIT %(limit)s)
"""
# What ends or comes later has to expire too: a batch that is not at its end is looked at again, and
# whoever lets it go on takes the mark off.
MARK = """
UPDATE batches b SET expired = b.expired || %(what)s::text
 WHERE b.id = %(batch_id)s AND NOT %(what)s = ANY (b.expired)
   AND b.state IN ('completed', 'failed', 'stopped', 'cancelled')
   AND NOT EXISTS (SELECT FROM batch_counts c
                    WHERE c.batch_id = b.id AND c.phase <> 'done' AND c.n > 0)
"""
EXPIRE: Mapping[str, tuple[str, ...]] = {
    "items": (EXPIRE_ITEMS, EXPIRE_REFUSED),
    "transcripts": (EXPIRE_TRANSCRIPTS,),
    "documents": (EXPIRE_DOCUMENTS,),
}


async def expire_some(conn: Connection, *, batch_id: UUID, what: str, limit: int) -> int:
    """Take up to `limit` rows out of a batch; return how many."""
    values = {"batch_id": batch_id, "limit": limit, "keys": list(TRANSCRIPT_KEYS)}
    taken = 0
    for statement in EXPIRE[what]:
        taken += (await conn.execute(statement.encode(), values)).rowcount
    return taken


async def mark_expired(conn: Connection, *, batch_id: UUID, what: str) -> None:
    """Note that nothing of this kind is kept of a batch any more, unless some of it is open."""
    await conn.execute(MARK, {"batch_id": batch_id, "what": what})


FORGET: Mapping[str, str] = {
    "events": f"""
        DELETE FROM events WHERE id IN (
            SELECT id FROM events WHERE team_id = %(team_id)s AND at < {since("events")}
             LIMIT %(limit)s)""",
    "webhooks": f"""
        WITH old AS MATERIALIZED (
            SELECT d.id, {IS_UNKNOWN} AS is_unknown
              FROM webhook_deliveries d
             WHERE d.team_id = %(team_id)s
               AND d.created_at < {since("webhooks")} AND d.ended_at < {since("webhooks")}
               AND {NOTHING_FOLLOWS}
             LIMIT %(limit)s
               FOR UPDATE OF d SKIP LOCKED
        ), {LET_GO}""",
    # What somebody works on stays, however long ago they began.
    "idempotency": f"""
        DELETE FROM idempotency WHERE team_id = %(team_id)s AND key IN (
            SELECT key FROM idempotency
             WHERE team_id = %(team_id)s AND created_at <= {since("idempotency")}
               AND (held_until IS NULL OR held_until <= %(now)s)
             LIMIT %(limit)s
               FOR UPDATE SKIP LOCKED)""",
}


async def forget(conn: Connection, term: Term, *, limit: int, now: datetime) -> int:
    """Delete up to `limit` old rows of a team, or what they say; return how many."""
    values = {**term.values(now), "limit": limit}
    return (await conn.execute(FORGET[term.what].encode(), values)).rowcount

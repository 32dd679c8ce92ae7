"""Events as they happen, read from their rows; and the counts of batches."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from batchyard.store.db import Connection

CHANNEL = "batchyard_events"

LAST_ID = 10**17
"""Above every id."""

Position = tuple[int, int]
"""Where a reader stands: transaction and id of the last event it has seen."""


async def listen(url: str) -> AsyncIterator[None]:
    """Yield once when listening has begun, then whenever events may have been written."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(f"LISTEN {CHANNEL}".encode())
        yield
        async for _ in connection.notifies():
            yield


# Transactions of a restored database are as old as they can be, so a position above all that
# there are was given out before a restore: of it only the id still means something.
FIND_POSITION = """
SELECT CASE WHEN %(xid)s::text::xid8 >= pg_snapshot_xmax(pg_current_snapshot())
            THEN 0 ELSE %(xid)s::bigint END
"""

# Of the transactions that still run some may have written already: they are seen when they end.
FIND_NOW = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1"


async def find_position(conn: Connection, after: Position | None) -> Position:
    """Return where to read on: after the given position, or from now on."""
    if after is None:
        row = await (await conn.execute(FIND_NOW)).fetchone()
        return (int(str(row[0])), LAST_ID) if row else (0, 0)
    row = await (await conn.execute(FIND_POSITION, {"xid": after[0]})).fetchone()
    return (int(str(row[0])), after[1]) if row else after


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Something that happened."""

    xid: int
    id: int
    type: str
    batch_id: UUID | None
    item_id: UUID | None
    data: Mapping[str, object]
    at: datetime

    @property
    def position(self) -> Position:
        """Where a reader stands after this event."""
        return self.xid, self.id


# Below the oldest running transaction, in the order (xid, id): nothing appears behind a reader.
# One statement for each index.
READ = """
SELECT xid::text::bigint AS xid, id, type, batch_id, item_id, data, at
  FROM events
 WHERE team_id = %(team_id)s {batch}
   AND xid < pg_snapshot_xmin(pg_current_snapshot())
   AND (xid, id) > (%(xid)s::text::xid8, %(id)s::bigint)
 ORDER BY xid, id
 LIMIT %(limit)s
"""
READ_OF_TEAM = READ.format(batch="")
READ_OF_BATCH = READ.format(batch="AND batch_id = %(batch_id)s")


async def read_events(
    conn: Connection, *, team_id: int, batch_id: UUID | None, after: Position, limit: int
) -> list[Event]:
    """Read the next events of a team, or of one of its batches."""
    async with conn.cursor(row_factory=class_row(Event)) as cursor:
        await cursor.execute(
            (READ_OF_TEAM if batch_id is None else READ_OF_BATCH).encode(),
            {
                "team_id": team_id,
                "batch_id": batch_id,
                "xid": after[0],
                "id": after[1],
                "limit": limit,
            },
        )
        return await cursor.fetchall()


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """The items of a batch by status, at one moment."""

    batch_id: UUID
    state: str
    counts: Mapping[str, int]
    moving: int = field(default=0, compare=False)
    """Items that are under way, also in a batch that sends no others."""


READ_COUNTS = """
SELECT b.id AS batch_id, b.state,
       (SELECT coalesce(jsonb_object_agg(s.status, s.n), '{}')
          FROM (SELECT c.status, sum(c.n) AS n FROM batch_counts c
                 WHERE c.batch_id = b.id AND c.n <> 0 GROUP BY c.status) AS s) AS counts,
       (SELECT coalesce(sum(c.n), 0) FROM batch_counts c
         WHERE c.batch_id = b.id AND c.phase IN ('claimed', 'calling', 'live'))::int AS moving
  FROM batches b
 WHERE b.team_id = %(team_id)s AND b.deleted_at IS NULL
   AND (b.id = ANY (%(batch_ids)s)
        OR %(with_active)s AND b.state IN ('queued', 'running') AND NOT b.is_single)
"""


async def read_counts(
    conn: Connection, *, team_id: int, batch_ids: Sequence[UUID], with_active: bool
) -> list[Counts]:
    """Read the counts of these batches of a team, and of all that run if asked."""
    async with conn.cursor(row_factory=class_row(Counts)) as cursor:
        await cursor.execute(
            READ_COUNTS,
            {"team_id": team_id, "batch_ids": list(batch_ids), "with_active": with_active},
        )
        return await cursor.fetchall()


LIST_MOVING = """
SELECT DISTINCT i.batch_id FROM items i JOIN batches b ON b.id = i.batch_id
 WHERE i.team_id = %(team_id)s AND i.phase IN ('claimed', 'calling', 'live') AND NOT b.is_single
"""


async def list_moving(conn: Connection, *, team_id: int) -> list[UUID]:
    """List a team's batches that have items under way, whatever their state; no single items."""
    rows = await (await conn.execute(LIST_MOVING, {"team_id": team_id})).fetchall()
    return [row[0] for row in rows if isinstance(row[0], UUID)]


FIND_VALID = """
SELECT FROM tokens
 WHERE id = %(token_id)s AND revoked_at IS NULL
   AND (expires_at IS NULL OR expires_at > %(now)s)
"""


async def is_token_in_use(conn: Connection, *, token_id: int, now: datetime) -> bool:
    """Tell whether a token still works."""
    cursor = await conn.execute(FIND_VALID, {"token_id": token_id, "now": now})
    return await cursor.fetchone() is not None


FORGET_TRANSACTIONS = "UPDATE events SET xid = '0' WHERE xid <> '0'"


async def forget_transactions(conn: Connection) -> None:
    """After a restore: the transactions were another server's, only the order of ids counts."""
    await conn.execute(FORGET_TRANSACTIONS)

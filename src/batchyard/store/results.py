"""What became of a batch, read in blocks: no long transaction, flat memory."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row

from batchyard.models import BatchState, Kind
from batchyard.store.db import Connection


@dataclass(frozen=True, kw_only=True, slots=True)
class ResultBatch:
    """The batch whose results are asked for."""

    id: UUID
    kind: Kind
    state: BatchState
    file_name: str | None
    reference: str | None
    created_at: datetime
    finished_at: datetime | None
    open_items: int
    """Of which more is still to be heard, as of a call that rings on in a stopped batch."""


READ_BATCH = """
SELECT id, kind, state, file_name, reference, created_at, finished_at,
       (SELECT coalesce(sum(c.n), 0) FROM batch_counts c
         WHERE c.batch_id = b.id AND c.phase NOT IN ('done', 'unknown'))::int AS open_items
  FROM batches b
 WHERE id = %(batch_id)s AND team_id = %(team_id)s AND deleted_at IS NULL AND state <> 'importing'
"""


async def read_batch(conn: Connection, *, team_id: int, batch_id: UUID) -> ResultBatch | None:
    """Return a batch of the team."""
    async with conn.cursor(row_factory=class_row(ResultBatch)) as cursor:
        await cursor.execute(READ_BATCH, {"team_id": team_id, "batch_id": batch_id})
        return await cursor.fetchone()


@dataclass(frozen=True, kw_only=True, slots=True)
class ResultRow:
    """What became of an item, as JSON, and where the next block begins."""

    position: int
    item_id: UUID
    shown: str


LIST_ITEMS = """
SELECT d.position, d.item_id,
       json_build_object(
           'line', d.position, 'id', i.id, 'number', d.number, 'reference', d.reference,
           'status', i.status, 'error_code', d.error_code, 'error_message', d.error_message,
           'attempt', i.try, 'provider', d.provider, 'provider_reference', d.provider_reference,
           'created_at', d.created_at, 'ended_at', d.ended_at,
           'attempts', d.attempts, 'result', d.result)::text AS shown
  FROM item_data d JOIN items i ON i.id = d.item_id
 WHERE d.batch_id = %(batch_id)s AND (d.position, d.item_id) > (%(position)s, %(item_id)s)
 ORDER BY d.position, d.item_id
 LIMIT %(limit)s
"""

FIRST = (-1, UUID(int=0))
"""Before every item."""


async def list_items(
    conn: Connection, *, batch_id: UUID, after: tuple[int, UUID], limit: int
) -> list[ResultRow]:
    """Return the next results in the order of the file."""
    async with conn.cursor(row_factory=class_row(ResultRow)) as cursor:
        await cursor.execute(
            LIST_ITEMS,
            {"batch_id": batch_id, "position": after[0], "item_id": after[1], "limit": limit},
        )
        return await cursor.fetchall()


# The names of a block's results, nested ones with dots; what is empty or a list is a cell too.
LIST_KEYS = """
WITH RECURSIVE block AS (
    SELECT d.position, d.item_id, d.result
      FROM item_data d
     WHERE d.batch_id = %(batch_id)s AND (d.position, d.item_id) > (%(position)s, %(item_id)s)
     ORDER BY d.position, d.item_id
     LIMIT %(limit)s
), walk (path, value) AS (
    SELECT e.key, e.value
      FROM block b
     CROSS JOIN LATERAL jsonb_each(
           CASE WHEN jsonb_typeof(b.result) = 'object' THEN b.result ELSE '{}' END) AS e
    UNION ALL
    SELECT w.path || '.' || e.key, e.value
      FROM walk w
     CROSS JOIN LATERAL jsonb_each(
           CASE WHEN jsonb_typeof(w.value) = 'object' THEN w.value ELSE '{}' END) AS e
)
SELECT (SELECT array_agg(DISTINCT path ORDER BY path) FROM walk
         WHERE jsonb_typeof(value) <> 'object' OR value = '{}') AS keys,
       last.position, last.item_id
  FROM (SELECT position, item_id FROM block ORDER BY position DESC, item_id DESC LIMIT 1) AS last
"""


async def list_keys(
    conn: Connection, *, batch_id: UUID, after: tuple[int, UUID], limit: int
) -> tuple[list[str], tuple[int, UUID]] | None:
    """Return the names in the next block of results and where it ends; None when none is left."""
    cursor = await conn.execute(
        LIST_KEYS,
        {"batch_id": batch_id, "position": after[0], "item_id": after[1], "limit": limit},
    )
    row = await cursor.fetchone()
    if row is None:
        return None
    keys, position, item_id = row
    names = [str(key) for key in keys] if isinstance(keys, list) else []
    return names, (int(str(position)), UUID(str(item_id)))


# Of an ended batch: nothing more commits that could be skipped.
LIST_EVENTS = """
SELECT e.xid::text::numeric AS xid, e.id,
       json_build_object('id', e.id, 'type', e.type, 'at', e.at, 'item_id', e.item_id,
                         'data', e.data)::text
  FROM events e
 WHERE e.batch_id = %(batch_id)s AND (e.xid, e.id) > (%(xid)s::text::xid8, %(id)s)
 ORDER BY e.xid, e.id
 LIMIT %(limit)s
"""


async def list_events(
    conn: Connection, *, batch_id: UUID, after: tuple[int, int], limit: int
) -> list[tuple[int, int, str]]:
    """Return the next events of a batch as (transaction, id, JSON), in the order of commits."""
    cursor = await conn.execute(
        LIST_EVENTS,
        {"batch_id": batch_id, "xid": str(after[0]), "id": after[1], "limit": limit},
    )
    rows = await cursor.fetchall()
    return [(int(str(row[0])), int(str(row[1])), str(row[2])) for row in rows]


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedDocument:
    """A document of a batch, without its content."""

    id: UUID
    position: int
    item_id: UUID
    kind: str
    format: str
    parcel: int | None


LIST_DOCUMENTS = """
SELECT f.id, d.position, d.item_id, f.kind, f.format, f.parcel
  FROM (SELECT position, item_id FROM item_data
         WHERE batch_id = %(batch_id)s AND (position, item_id) > (%(position)s, %(item_id)s)
         ORDER BY position, item_id LIMIT %(limit)s) AS d
  JOIN documents f ON f.item_id = d.item_id
 ORDER BY d.position, d.item_id, f.kind, f.parcel NULLS FIRST, f.id
"""


async def list_documents(
    conn: Connection, *, batch_id: UUID, after: tuple[int, UUID], limit: int
) -> list[ListedDocument]:
    """Return the documents of the next items, in the order of the file."""
    async with conn.cursor(row_factory=class_row(ListedDocument)) as cursor:
        await cursor.execute(
            LIST_DOCUMENTS,
            {"batch_id": batch_id, "position": after[0], "item_id": after[1], "limit": limit},
        )
        return await cursor.fetchall()

"""The SELECTs behind the lists; PostgreSQL writes the JSON."""

from collections.abc import Mapping
from uuid import UUID

from batchyard.store.db import Connection

BATCH_JSON = """
jsonb_build_object(
    'id', b.id, 'kind', b.kind, 'state', b.state, 'file_name', b.file_name,
    'reference', b.reference, 'identifier', b.identifier, 'agent_id', b.agent_id,
    'is_single', b.is_single, 'priority', b.priority, 'retry_policy', b.retry_policy,
    'has_brake', b.has_brake, 'bypass_windows', b.bypass_windows,
    'from_numbers', to_jsonb(b.from_numbers),
    'rows', b.total_rows, 'refused_rows', b.refused_rows,
    'total', (SELECT coalesce(sum(c.n), 0) FROM batch_counts c WHERE c.batch_id = b.id),
    'counts', (SELECT coalesce(jsonb_object_agg(s.status, s.n), '{}')
                 FROM (SELECT c.status, sum(c.n) AS n FROM batch_counts c
                        WHERE c.batch_id = b.id AND c.n <> 0 GROUP BY c.status) AS s),
    'phases', (SELECT coalesce(jsonb_object_agg(s.phase, s.n), '{}')
                 FROM (SELECT c.phase, sum(c.n) AS n FROM batch_counts c
                        WHERE c.batch_id = b.id AND c.n <> 0 GROUP BY c.phase) AS s),
    'scheduled_at', b.scheduled_at, 'created_at', b.created_at, 'updated_at', b.updated_at,
    'started_at', b.started_at, 'finished_at', b.finished_at,
    'wait_reason', b.wait_reason, 'wait_until', b.wait_until)
"""

SORTS: Mapping[str, tuple[str, str]] = {
    "-created_at": ("b.created_at", "<"),
    "created_at": ("b.created_at", ">"),
    "-updated_at": ("b.updated_at", "<"),
    "updated_at": ("b.updated_at", ">"),
}
"""Sorts a client may ask for: the column, and how the next page compares with the cursor."""

LIST_BATCHES = """
SELECT {batch}::text, {column}::text, b.id
  FROM batches b
 WHERE b.team_id = %(team_id)s AND b.deleted_at IS NULL AND b.state <> 'importing'
   AND (b.is_single = %(is_single)s)
   AND (%(kind)s::text IS NULL OR b.kind = %(kind)s)
   AND (%(states)s::text[] IS NULL OR b.state = ANY (%(states)s))
   AND (%(agent_id)s::uuid IS NULL OR b.agent_id = %(agent_id)s)
   AND (%(created_after)s::timestamptz IS NULL OR b.created_at >= %(created_after)s)
   AND (%(created_before)s::timestamptz IS NULL OR b.created_at < %(created_before)s)
   AND (%(provider)s::text IS NULL OR EXISTS (
        SELECT FROM items i JOIN providers p ON p.id = i.provider_id
         WHERE i.batch_id = b.id AND p.name = %(provider)s))
   AND (%(text)s::text IS NULL
        OR strpos(lower(coalesce(b.file_name, '')), lower(%(text)s)) > 0
        OR strpos(lower(coalesce(b.reference, '')), lower(%(text)s)) > 0
        OR strpos(lower(coalesce(b.identifier, '')), lower(%(text)s)) > 0)
   AND (%(after_value)s::timestamptz IS NULL
        OR ({column}, b.id) {compares} (%(after_value)s, %(after_id)s::uuid))
 ORDER BY {column} {direction}, b.id {direction}
 LIMIT %(limit)s
"""


async def list_batches(
    conn: Connection, filters: Mapping[str, object], *, sort: str
) -> list[tuple[str, str, UUID]]:
    """List batches as (JSON, sort value, id)."""
    column, compares = SORTS[sort]
    query = LIST_BATCHES.format(
        batch=BATCH_JSON,
        column=column,
        compares=compares,
        direction="DESC" if compares == "<" else "ASC",
    )
    rows = await (await conn.execute(query, dict(filters))).fetchall()
    return [(str(row[0]), str(row[1]), UUID(str(row[2]))) for row in rows]


READ_BATCH = f"""
SELECT {BATCH_JSON}::text FROM batches b
 WHERE b.id = %(batch_id)s AND b.team_id = %(team_id)s AND b.deleted_at IS NULL
   AND b.state <> 'importing'
"""


async def read_batch(conn: Connection, *, team_id: int, batch_id: UUID) -> str | None:
    """Return a batch as JSON."""
    row = await (
        await conn.execute(READ_BATCH, {"batch_id": batch_id, "team_id": team_id})
    ).fetchone()
    return str(row[0]) if row else None


FIND_KIND = """
SELECT kind FROM batches
 WHERE id = %(batch_id)s AND team_id = %(team_id)s AND deleted_at IS NULL AND state <> 'importing'
"""


async def find_kind(conn: Connection, *, team_id: int, batch_id: UUID) -> str | None:
    """Return the kind of a batch of the team."""
    row = await (
        await conn.execute(FIND_KIND, {"batch_id": batch_id, "team_id": team_id})
    ).fetchone()
    return str(row[0]) if row else None


ITEM_JSON = """
jsonb_build_object(
    'id', i.id, 'batch_id', i.batch_id, 'kind', b.kind, 'position', d.position,
    'phase', i.phase, 'status', i.status, 'attempt', i.try,
    'number', d.number, 'reference', d.reference, 'provider', d.provider,
    'provider_reference', d.provider_reference,
    'error_code', d.error_code, 'error_message', d.error_message,
    'due_at', CASE WHEN i.phase = 'ready' THEN i.due_at END,
    'created_at', d.created_at, 'updated_at', i.updated_at, 'ended_at', d.ended_at)
"""

# Pages by (batch, position): an index serves both the list of one batch and the next page.
LIST_ITEMS = f"""
SELECT {ITEM_JSON}::text, d.batch_id, d.position, d.item_id
  FROM item_data d
  JOIN items i ON i.id = d.item_id
  JOIN batches b ON b.id = d.batch_id
 WHERE b.team_id = %(team_id)s AND b.deleted_at IS NULL AND b.state <> 'importing'
   AND (%(batch_id)s::uuid IS NULL OR d.batch_id = %(batch_id)s)
   AND (%(statuses)s::text[] IS NULL OR i.status = ANY (%(statuses)s))
   AND (%(error_code)s::text IS NULL OR d.error_code = %(error_code)s)
   AND (%(number)s::text IS NULL OR d.number LIKE %(number)s)
   AND (%(reference)s::text IS NULL OR d.reference LIKE %(reference)s)
   AND (%(words)s::text IS NULL
        OR jsonb_to_tsvector('simple', d.payload, '["string", "numeric"]')
           @@ websearch_to_tsquery('simple', %(words)s))
   AND (%(after_batch)s::uuid IS NULL
        OR (d.batch_id, d.position, d.item_id)
           > (%(after_batch)s, %(after_position)s::int, %(after_id)s::uuid))
 ORDER BY d.batch_id, d.position, d.item_id
 LIMIT %(limit)s
"""


async def list_items(
    conn: Connection, filters: Mapping[str, object]
) -> list[tuple[str, UUID, int, UUID]]:
    """List items as (JSON, batch, position, id)."""
    rows = await (await conn.execute(LIST_ITEMS, dict(filters))).fetchall()
    return [(str(r[0]), UUID(str(r[1])), int(str(r[2])), UUID(str(r[3]))) for r in rows]


READ_ITEM = f"""
SELECT ({ITEM_JSON} || jsonb_build_object(
           'payload', d.payload, 'result', d.result, 'attempts', d.attempts,
           'sends', i.sends, 'intent_at', i.intent_at, 'deadline_at', i.deadline_at,
           'documents', (SELECT coalesce(jsonb_agg(jsonb_build_object(
                             'id', f.id, 'kind', f.kind, 'format', f.format, 'parcel', f.parcel)
                             ORDER BY f.parcel, f.id), '[]')
                           FROM documents f WHERE f.item_id = i.id)))::text
  FROM items i
  JOIN item_data d ON d.item_id = i.id
  JOIN batches b ON b.id = i.batch_id
 WHERE i.id = %(item_id)s AND i.team_id = %(team_id)s AND b.deleted_at IS NULL
"""


async def read_item(conn: Connection, *, team_id: int, item_id: UUID) -> str | None:
    """Return an item as JSON, with its whole history."""
    row = await (await conn.execute(READ_ITEM, {"item_id": item_id, "team_id": team_id})).fetchone()
    return str(row[0]) if row else None

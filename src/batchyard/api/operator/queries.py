"""The SELECTs behind the lists; PostgreSQL writes the JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from batchyard.store.db import Connection
from batchyard.store.item_filters import ItemFilters, join_conditions, plan_and_fetch

BATCH_JSON = """
jsonb_build_object(
    'id', b.id, 'kind', b.kind, 'state', b.state, 'file_name', b.file_name,
    'reference', b.reference, 'identifier', b.identifier, 'agent_id', b.agent_id,
    'is_single', b.is_single, 'priority', b.priority, 'retry_policy', b.retry_policy,
    'has_brake', b.has_brake, 'bypass_windows', b.bypass_windows,
    'from_numbers', to_jsonb(b.from_numbers),
    'limits', (SELECT jsonb_build_object(
                          'concurrency', l.concurrency,
                          'rates', coalesce(jsonb_agg(
                              jsonb_build_object('count', r.count, 'seconds', r.seconds)
                              ORDER BY r.seconds) FILTER (WHERE r.key IS NOT NULL), '[]'),
                          'burst', max(r.burst))
                 FROM limits l LEFT JOIN rates r ON r.key = l.key
                WHERE l.key = 'batch:' || b.id
                GROUP BY l.key),
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

BATCH_FILTERS: Mapping[str, str] = {
    "kind": "b.kind = %(kind)s",
    "states": "b.state = ANY (%(states)s)",
    "agent_id": "b.agent_id = %(agent_id)s",
    "created_after": "b.created_at >= %(created_after)s",
    "created_before": "b.created_at < %(created_before)s",
    "provider": """EXISTS (
        SELECT FROM items i JOIN providers p ON p.id = i.provider_id
         WHERE i.batch_id = b.id AND p.name = %(provider)s)""",
    "text": """(strpos(lower(coalesce(b.file_name, '')), lower(%(text)s)) > 0
        OR strpos(lower(coalesce(b.reference, '')), lower(%(text)s)) > 0
        OR strpos(lower(coalesce(b.identifier, '')), lower(%(text)s)) > 0)""",
    "after_at": "({column}, b.id) {compares} (%(after_at)s::timestamptz, %(after_id)s::uuid)",
}

LIST_BATCHES = """
SELECT {batch}::text, {column}, b.id
  FROM batches b
 WHERE b.team_id = %(team_id)s AND b.deleted_at IS NULL AND b.state <> 'importing'
   AND b.is_single = %(is_single)s{where}
 ORDER BY {column} {direction}, b.id {direction}
 LIMIT %(limit)s
"""


async def list_batches(
    conn: Connection, filters: Mapping[str, object], *, sort: str
) -> list[tuple[str, object, UUID]]:
    """List batches as (JSON, when they were created or changed, id)."""
    column, compares = SORTS[sort]
    query = LIST_BATCHES.format(
        batch=BATCH_JSON,
        where=join_conditions(BATCH_FILTERS, filters).format(column=column, compares=compares),
        column=column,
        direction="DESC" if compares == "<" else "ASC",
    )
    rows = await plan_and_fetch(conn, query, filters)
    return [(str(row[0]), row[1], UUID(str(row[2]))) for row in rows]


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

PLACES: Mapping[str, str] = {
    "batch_id": "d.batch_id = %(batch_id)s",
    "batch_ids": "d.batch_id = ANY (%(batch_ids)s)",
    "after_id": "({order}) > ({after})",
}
"""Where items are looked for."""

# Pages by (batch, position), in the order of an index. Within one batch the batch must not be
# compared a second time: PostgreSQL would expect one row behind the cursor, and sort all of them.
ORDERS: Mapping[bool, tuple[str, str]] = {
    True: ("d.position, d.item_id", "%(after_position)s::int, %(after_id)s::uuid"),
    False: (
        "d.batch_id, d.position, d.item_id",
        "%(after_batch)s::uuid, %(after_position)s::int, %(after_id)s::uuid",
    ),
}
"""The order of items and what a cursor names: within one batch, and over all of them."""

LIST_ITEMS = """
SELECT {item}::text, d.batch_id, d.position, d.item_id
  FROM item_data d
  JOIN items i ON i.id = d.item_id
  JOIN batches b ON b.id = d.batch_id
 WHERE b.team_id = %(team_id)s AND b.deleted_at IS NULL AND b.state <> 'importing'{where}
 ORDER BY {order}
 LIMIT %(limit)s
"""


# Of the batches from the cursor on, those that have such items: the counts know.
FIND_BATCHES = """
SELECT b.id, n.n
  FROM batches b
 CROSS JOIN LATERAL (
       SELECT sum(c.n)::int AS n FROM batch_counts c
        WHERE c.batch_id = b.id AND c.status = ANY (%(statuses)s)) AS n
 WHERE b.team_id = %(team_id)s AND b.deleted_at IS NULL AND b.state <> 'importing' AND n.n > 0
   AND (%(after_batch)s::uuid IS NULL OR b.id >= %(after_batch)s)
 ORDER BY b.id
 LIMIT %(limit)s + 1
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a list of items goes on."""

    batch_id: UUID
    position: int
    item_id: UUID


def items_statement(filters: ItemFilters, values: Mapping[str, object]) -> str:
    """Return the statement that lists items by these filters."""
    order, after = ORDERS[values.get("batch_id") is not None]
    where = join_conditions(PLACES, values).format(order=order, after=after) + filters.where
    return LIST_ITEMS.format(item=ITEM_JSON, where=where, order=order)


async def list_items(
    conn: Connection,
    filters: ItemFilters,
    *,
    team_id: int,
    batch_id: UUID | None,
    after: Place | None,
    limit: int,
) -> list[tuple[str, Place]]:
    """List items as JSON, each with its place."""
    values = filters.values | {
        "team_id": team_id,
        "batch_id": batch_id,
        "after_batch": after and after.batch_id,
        "after_position": after and after.position,
        "after_id": after and after.item_id,
        "limit": limit,
    }
    if batch_id is None and filters.asked == {"statuses"}:
        values["batch_ids"] = await _find_batches(conn, values, needed=limit)
    rows = await plan_and_fetch(conn, items_statement(filters, values), values)
    return [
        (
            str(row[0]),
            Place(batch_id=UUID(str(row[1])), position=int(str(row[2])), item_id=UUID(str(row[3]))),
        )
        for row in rows
    ]


async def _find_batches(
    conn: Connection, values: Mapping[str, object], *, needed: int
) -> list[UUID]:
    """Find the batches that a page of items with some statuses is in.

    No index holds a team's items by status, and a page must not look through all of them. Of the
    batch of the cursor nobody knows how many are left, so it is not counted on.
    """
    found: list[UUID] = []
    for batch_id, n in await plan_and_fetch(conn, FIND_BATCHES, values):
        found.append(UUID(str(batch_id)))
        if batch_id != values["after_batch"]:
            needed -= int(str(n))
        if needed <= 0:
            break
    return found


READ_ITEM = f"""
SELECT ({ITEM_JSON} || jsonb_build_object(
           'payload', d.payload, 'result', d.result, 'attempts', d.attempts,
           'corrections', d.corrections, 'sends', i.sends, 'intent_at', i.intent_at,
           'deadline_at', i.deadline_at,
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

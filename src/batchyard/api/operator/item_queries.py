"""The SELECTs behind the lists of items; PostgreSQL writes the JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from batchyard.store.db import Connection
from batchyard.store.item_filters import ItemFilters, join_conditions, plan_and_fetch

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
  FROM {tables}
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
        WHERE c.batch_id = b.id
          AND (%(statuses)s::text[] IS NULL OR c.status = ANY (%(statuses)s))) AS n
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


JOINED = """item_data d
  JOIN items i ON i.id = d.item_id
  JOIN batches b ON b.id = d.batch_id"""
# Not pulled up, so batch by batch: else PostgreSQL might read the items of all teams.
BATCH_BY_BATCH = """batches b
 CROSS JOIN LATERAL (SELECT * FROM item_data d WHERE d.batch_id = b.id OFFSET 0) AS d
  JOIN items i ON i.id = d.item_id"""


def items_statement(filters: ItemFilters, values: Mapping[str, object]) -> str:
    """Return the statement that lists items by these filters.

    No index has the words of payloads: they are looked for in the items of one batch, or of one
    batch of the team after the other.
    """
    is_in_batch = values.get("batch_id") is not None
    order, after = ORDERS[is_in_batch]
    where = join_conditions(PLACES, values).format(order=order, after=after) + filters.where
    tables = JOINED if filters.words is None or is_in_batch else BATCH_BY_BATCH
    return LIST_ITEMS.format(item=ITEM_JSON, tables=tables, where=where, order=order)


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
    if batch_id is None and filters.asked <= {"statuses"}:
        values["batch_ids"] = await _find_batches(conn, values, needed=limit)
    statement = items_statement(filters, values)
    return [
        (
            str(row[0]),
            Place(batch_id=UUID(str(row[1])), position=int(str(row[2])), item_id=UUID(str(row[3]))),
        )
        for row in await plan_and_fetch(conn, statement, values)
    ]


async def _find_batches(
    conn: Connection, values: Mapping[str, object], *, needed: int
) -> list[UUID]:
    """Find the batches that a page of items is in: of any, or with some statuses.

    No index holds a team's items by status, or those of a team alone, and a page must not look
    through all of them. Of the batch of the cursor nobody knows how many are left, so it is not
    counted on.
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

"""The SELECTs behind the lists of items; PostgreSQL writes the JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast
from uuid import UUID

from batchyard.store.db import Connection
from batchyard.store.item_filters import ItemFilters, join_conditions, plan_and_fetch
from batchyard.store.tokens import HOLDS

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
    "token_hash": HOLDS.strip(),
    "batch_id": "d.batch_id = %(batch_id)s",
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
SELECT {item}::text, d.batch_id::text, d.position, d.item_id::text
  FROM item_data d
  JOIN items i ON i.id = d.item_id
  JOIN batches b ON b.id = d.batch_id
 WHERE b.team_id = %(team_id)s AND b.deleted_at IS NULL AND b.state <> 'importing'{where}
 ORDER BY {order}
 LIMIT %(limit)s
"""

# Each batch gives no more than a page, by an index of its own; the batches come in order, so that
# none is read behind the one that fills the page.
LIST_BY_BATCH = """
SELECT found.item, b.id::text, found.position, found.item_id::text
  FROM (SELECT id, kind FROM batches
         WHERE id = ANY (%(batch_ids)s) AND team_id = %(team_id)s
           AND deleted_at IS NULL AND state <> 'importing'
         ORDER BY id) AS b
 CROSS JOIN LATERAL (
       SELECT {item}::text AS item, d.position, d.item_id
         FROM item_data d
         JOIN items i ON i.id = d.item_id AND i.batch_id = b.id
        WHERE d.batch_id = b.id{where}
        ORDER BY d.position, d.item_id
        LIMIT %(limit)s) AS found
 ORDER BY b.id, found.position, found.item_id
 LIMIT %(limit)s
"""

# Behind a batch, those that have such items: the counts know.
FIND_BATCHES = """
SELECT b.id, n.n, n.total
  FROM batches b
 CROSS JOIN LATERAL (
       SELECT sum(c.n)::int AS total,
              sum(c.n) FILTER (WHERE %(statuses)s::text[] IS NULL
                                  OR c.status = ANY (%(statuses)s))::int AS n
         FROM batch_counts c
        WHERE c.batch_id = b.id) AS n
 WHERE b.team_id = %(team_id)s AND b.deleted_at IS NULL AND b.state <> 'importing' AND n.n > 0
   AND (%(behind)s::uuid IS NULL OR b.id > %(behind)s)
 ORDER BY b.id
 LIMIT %(batches)s
"""

BATCHES_AT_ONCE, ITEMS_AT_ONCE = 200, 20_000
"""In how many batches, and items, one statement looks for a page."""
LARGE = 1000
"""A batch of more items has a statement of its own.

How many items one batch has PostgreSQL knows; for each of several it plans as for the average one,
and would sort, and render, the whole of a large one.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a list of items goes on."""

    batch_id: UUID
    position: int
    item_id: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class Proof:
    """A token that has to hold, else nothing is found."""

    token_hash: bytes
    now: datetime


Row = tuple[str, str, int, str]
"""An item as JSON; its batch, its position there and its id, as a cursor has them."""


def items_statement(filters: ItemFilters, values: Mapping[str, object]) -> str:
    """Return the statement that lists items of a batch, of `batch_ids`, or of all of a team.

    Of all of a team only by what has an index over all batches.
    """
    if values.get("batch_ids") is not None:
        return LIST_BY_BATCH.format(item=ITEM_JSON, where=filters.where)
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
    proof: Proof | None = None,
) -> list[Row]:
    """List items, by their batch and their position in it."""
    values = filters.values | {
        "token_hash": proof and proof.token_hash,
        "now": proof and proof.now,
        "team_id": team_id,
        "batch_id": batch_id,
        "after_batch": after and after.batch_id,
        "after_position": after and after.position,
        "after_id": after and after.item_id,
        "limit": limit,
    }
    if batch_id is None and filters.asked.isdisjoint({"number", "reference"}):
        return await _list_by_batch(conn, filters, values, after=after, limit=limit)
    return await _fetch(conn, filters, values)


async def _list_by_batch(
    conn: Connection,
    filters: ItemFilters,
    values: Mapping[str, object],
    *,
    after: Place | None,
    limit: int,
) -> list[Row]:
    """Go on in the batch of the cursor, then through those behind it until the page is full.

    No index holds a team's items by status or error code, or those of a team alone, and none has
    the words of payloads: a page must not look through all of them.
    """
    rows: list[Row] = []
    if after is not None:
        rows = await _fetch(conn, filters, {**values, "batch_id": after.batch_id})
    behind, is_last = after and after.batch_id, False
    # The counts are of a moment before: only the rows tell whether a page is full.
    while len(rows) < limit and not is_last:
        left = limit - len(rows)
        needed = left if filters.asked <= {"statuses"} else ITEMS_AT_ONCE
        batch_ids, is_last = await _find_batches(conn, {**values, "behind": behind}, needed=needed)
        if batch_ids:
            behind = batch_ids[-1]
            rows += await _fetch(conn, filters, _within(batch_ids, values, limit=left))
    return rows


def _within(
    batch_ids: Sequence[UUID], values: Mapping[str, object], *, limit: int
) -> Mapping[str, object]:
    """Return what a statement compares with that lists whole batches."""
    place = {"batch_id": batch_ids[0]} if len(batch_ids) == 1 else {"batch_ids": batch_ids}
    return {**values, **place, "after_id": None, "limit": limit}


async def _find_batches(
    conn: Connection, values: Mapping[str, object], *, needed: int
) -> tuple[list[UUID], bool]:
    """Find the next batches that have so many items, of any or of some statuses; or one large one.

    Return with them whether there are no more.
    """
    found: list[UUID] = []
    rows = await plan_and_fetch(conn, FIND_BATCHES, {**values, "batches": BATCHES_AT_ONCE})
    for batch_id, n, total in rows:
        is_large = int(str(total)) > LARGE
        if found and is_large:
            break
        found.append(UUID(str(batch_id)))
        needed -= int(str(n))
        if needed <= 0 or is_large:
            break
    return found, len(found) == len(rows) < BATCHES_AT_ONCE


async def _fetch(conn: Connection, filters: ItemFilters, values: Mapping[str, object]) -> list[Row]:
    rows = await plan_and_fetch(conn, items_statement(filters, values), values)
    return cast("list[Row]", rows)  # as both statements say


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

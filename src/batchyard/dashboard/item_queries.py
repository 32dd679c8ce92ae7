"""The SELECTs behind the pages about items; read-only, always of one team.

Each list has an index that holds its order, so a page of a million is found as fast as the first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from psycopg.rows import class_row

from batchyard.lifecycle import STATUSES_BY_PHASE
from batchyard.models import JsonObject, Kind, Phase
from batchyard.store.db import Connection


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedItem:
    """An item as a line of a list."""

    id: UUID
    key: str
    """What the list is sorted by, before the id."""
    position: int
    phase: Phase
    status: str
    attempt: int
    number: str | None
    reference: str | None
    payload: JsonObject
    provider: str | None
    error_code: str | None
    error_message: str | None
    due_at: datetime
    updated_at: datetime


REMOVED = ("erased", "expired")
"""Stand as true, and alone, in the place of a payload that was taken out."""

Start = tuple[str, str]
"""Behind which item a page begins: what it is sorted by, and its id."""

COLUMNS = """
i.id, d.position, i.phase, i.status, i.try AS attempt, d.number, d.reference, d.payload,
d.provider, d.error_code, d.error_message, i.due_at, i.updated_at
"""
OF_BATCH = "i.batch_id = %(batch_id)s AND i.team_id = %(team_id)s"


class Order(StrEnum):
    """By what a list is sorted."""

    POSITION = "position"
    ID = "id"
    DUE = "due"


KEYS: Mapping[Order, tuple[str, str]] = {
    Order.POSITION: ("d.position", "int"),
    Order.ID: ("0", "int"),
    Order.DUE: ("i.due_at", "timestamptz"),
}

LIST = """
SELECT {key}::text AS key, {columns}
  FROM {tables}
 WHERE {of_batch} AND ({where})
   AND (%(from_id)s::uuid IS NULL OR {behind})
 ORDER BY {order}
 LIMIT %(limit)s
"""

ITEMS_FIRST = "items i JOIN item_data d ON d.item_id = i.id"
DATA_FIRST = "item_data d JOIN items i ON i.id = d.item_id AND d.batch_id = %(batch_id)s"

BY_PREFIX = "d.number LIKE %(prefix)s OR d.reference LIKE %(prefix)s"
WITH_STATUS = "(%(status)s::text IS NULL OR i.status = %(status)s)"

# Named by phase: each has a partial index that holds the statuses, or has few rows.
BY_STATUS: Mapping[Phase, str] = {
    Phase.DONE: "i.phase = 'done' AND i.status = %(status)s",
    Phase.UNKNOWN: "i.phase = 'unknown'",
    Phase.CALLING: "i.phase IN ('claimed', 'calling', 'live') AND i.status = %(status)s",
    Phase.LIVE: "i.phase IN ('claimed', 'calling', 'live') AND i.status = %(status)s",
    Phase.READY: "i.phase = 'ready' AND i.status = %(status)s",
}


def order_of(*, status: str | None, text: str | None) -> Order:
    """Return by what such a list is sorted: by status in the order of its index."""
    if text is not None or status is None:
        return Order.POSITION
    return Order.DUE if status == "waiting" else Order.ID


async def list_items(
    conn: Connection,
    *,
    team_id: int,
    batch_id: UUID,
    status: str | None,
    text: str | None,
    start: Start | None,
    backwards: bool,
    limit: int,
) -> list[ListedItem]:
    """List items of a batch behind (or before) `start`.

    `text` is the beginning of a number or a reference.
    """
    order = order_of(status=status, text=text)
    if text is None and status is not None:
        tables, where = ITEMS_FIRST, BY_STATUS[_phase_of(status)]
    else:
        tables = DATA_FIRST
        where = WITH_STATUS if text is None else f"({BY_PREFIX}) AND {WITH_STATUS}"
    return await _list(
        conn,
        {
            "team_id": team_id,
            "batch_id": batch_id,
            "status": status,
            "prefix": None if text is None else _prefix(text),
        },
        order=order,
        tables=tables,
        where=where,
        start=start,
        backwards=backwards,
        limit=limit,
    )


BLOCK_END = """
SELECT position, item_id FROM item_data
 WHERE batch_id = %(batch_id)s
   AND (%(from_id)s::uuid IS NULL OR (position, item_id) > (%(from_key)s::int, %(from_id)s::uuid))
 ORDER BY position, item_id
OFFSET %(rows)s - 1 LIMIT 1
"""

WITHIN_BLOCK = """
(%(end_id)s::uuid IS NULL OR (d.position, d.item_id) <= (%(end_key)s::int, %(end_id)s::uuid))
AND strpos(lower(d.payload::text), lower(%(text)s)) > 0
"""


async def search_block(
    conn: Connection,
    *,
    team_id: int,
    batch_id: UUID,
    text: str,
    status: str | None,
    start: Start | None,
    rows: int,
    limit: int,
) -> tuple[list[ListedItem], Start | None]:
    """Look for a text in what was uploaded of the next so many items.

    No index knows what is in there, so a search goes block by block. Returns what was found, and
    the end of the block; None where it was the last one.
    """
    where_from = {"from_key": start and start[0], "from_id": start and start[1]}
    cursor = await conn.execute(
        BLOCK_END, {"batch_id": batch_id, "rows": rows, **where_from}, prepare=False
    )
    row = await cursor.fetchone()
    end = None if row is None else (str(row[0]), str(row[1]))
    found = await _list(
        conn,
        {
            "team_id": team_id,
            "batch_id": batch_id,
            "status": status,
            "text": text,
            "end_key": end and end[0],
            "end_id": end and end[1],
        },
        order=Order.POSITION,
        tables=DATA_FIRST,
        where=f"({WITHIN_BLOCK}) AND {WITH_STATUS}",
        start=start,
        backwards=False,
        limit=limit,
    )
    return found, end


async def _list(
    conn: Connection,
    given: Mapping[str, object],
    *,
    order: Order,
    tables: str,
    where: str,
    start: Start | None,
    backwards: bool,
    limit: int,
) -> list[ListedItem]:
    key, type_ = KEYS[order]
    compares, direction = ("<", "DESC") if backwards else (">", "ASC")
    id_ = "d.item_id" if tables is DATA_FIRST else "i.id"
    if order is Order.ID:
        behind, sorts = f"{id_} {compares} %(from_id)s::uuid", f"{id_} {direction}"
    else:
        behind = f"({key}, {id_}) {compares} (%(from_key)s::{type_}, %(from_id)s::uuid)"
        sorts = f"{key} {direction}, {id_} {direction}"
    query = LIST.format(
        key=key,
        columns=COLUMNS,
        tables=tables,
        of_batch=OF_BATCH,
        where=where,
        behind=behind,
        order=sorts,
    )
    async with conn.cursor(row_factory=class_row(ListedItem)) as cursor:
        await cursor.execute(
            query.encode(),
            {
                **given,
                "from_key": start and start[0],
                "from_id": start and start[1],
                "limit": limit,
            },
            # The right plan depends on what is asked for.
            prepare=False,
        )
        rows = await cursor.fetchall()
    return rows[::-1] if backwards else rows


def _phase_of(status: str) -> Phase:
    return next(phase for phase in BY_STATUS if status in STATUSES_BY_PHASE[phase])


def _prefix(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"{escaped}%"


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownItem:
    """An item with its whole history."""

    id: UUID
    batch_id: UUID
    kind: Kind
    batch_name: str
    batch_state: str
    is_single: bool
    position: int
    phase: Phase
    status: str
    attempt: int
    sends: int
    number: str | None
    from_number: str | None
    reference: str | None
    payload: JsonObject
    columns: Sequence[str] | None
    """Of the first file of the batch, in their order."""
    provider: str | None
    provider_reference: str | None
    result: JsonObject | None
    attempts: Sequence[Mapping[str, object]]
    corrections: Sequence[Mapping[str, object]]
    error_code: str | None
    error_message: str | None
    intent_at: datetime | None
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None

    def __post_init__(self) -> None:
        """Make words of the house of what the database hands out as text."""
        object.__setattr__(self, "kind", Kind(self.kind))
        object.__setattr__(self, "phase", Phase(self.phase))

    @property
    def removed(self) -> str | None:
        """Why nothing of it is kept: `erased` or `expired`; a list may have columns called so."""
        if len(self.payload) != 1:
            return None
        return next((why for why in REMOVED if self.payload.get(why) is True), None)


READ = """
SELECT i.id, i.batch_id, b.kind,
       coalesce(nullif(b.reference, ''), b.file_name, b.identifier,
                left(replace(b.id::text, '-', ''), 12)) AS batch_name,
       b.state AS batch_state, b.is_single, d.position, i.phase, i.status, i.try AS attempt,
       i.sends, d.number, d.from_number, d.reference, d.payload, b.columns, d.provider,
       d.provider_reference, d.result, d.attempts, d.corrections, d.error_code,
       d.error_message, i.intent_at, d.created_at, i.updated_at, d.ended_at
  FROM items i
  JOIN item_data d ON d.item_id = i.id
  JOIN batches b ON b.id = i.batch_id
 WHERE i.id = %(item_id)s AND i.team_id = %(team_id)s AND b.deleted_at IS NULL
   AND b.state <> 'importing'
"""


async def read_item(conn: Connection, *, team_id: int, item_id: UUID) -> ShownItem | None:
    """Return an item of the team."""
    async with conn.cursor(row_factory=class_row(ShownItem)) as cursor:
        await cursor.execute(READ, {"item_id": item_id, "team_id": team_id})
        return await cursor.fetchone()

"""Putting new items into a batch, in blocks, by COPY."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import orjson

from batchyard.models import JsonObject
from batchyard.store.db import Connection


@dataclass(frozen=True, kw_only=True, slots=True)
class NewItem:
    """An item that does not exist yet."""

    id: UUID
    position: int
    payload: JsonObject
    number: str | None = None
    from_number: str | None = None
    reference: str | None = None
    zone_set: int | None = None
    """Where its number may be; None is unknown, or no number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ItemBlock:
    """Items written down in PostgreSQL's COPY text format; can be made in another process."""

    items: bytes
    data: bytes
    count: int


def render_items(
    rows: Iterable[NewItem], *, batch_id: UUID, team_id: int, now: datetime
) -> ItemBlock:
    """Write items down as COPY takes them. Pure; texts must hold no NUL."""
    stamp = now.isoformat()
    items: list[str] = []
    data: list[bytes] = []
    common = f"\t{batch_id}\t"
    items_tail = f"\t{stamp}\t{stamp}\n"
    items_middle = f"{common}{team_id}\t"
    data_tail = f"\t{stamp}\n".encode()
    for row in rows:
        item_id = str(row.id)
        zone_set = "\\N" if row.zone_set is None else row.zone_set
        items.append(f"{item_id}{items_middle}{zone_set}{items_tail}")
        number, from_number, reference = (
            copy_text(row.number),
            copy_text(row.from_number),
            copy_text(row.reference),
        )
        head = f"{item_id}{common}{row.position}\t{number}\t{from_number}\t{reference}\t"
        # JSON holds no raw tab or line end, so only its backslashes need doubling.
        data.append(head.encode() + orjson.dumps(row.payload).replace(b"\\", b"\\\\") + data_tail)
    return ItemBlock(items="".join(items).encode(), data=b"".join(data), count=len(items))


COPY_ITEMS = "COPY items (id, batch_id, team_id, zone_set, due_at, updated_at) FROM STDIN"

COPY_ITEM_DATA = """
COPY item_data (item_id, batch_id, position, number, from_number, reference, payload, created_at)
FROM STDIN
"""


async def copy_block(conn: Connection, block: ItemBlock) -> None:
    """Add the items of one block: ready, waiting, due at once."""
    if not block.count:
        return
    async with conn.cursor() as cursor:
        async with cursor.copy(COPY_ITEMS) as copy:
            await copy.write(block.items)
        async with cursor.copy(COPY_ITEM_DATA) as copy:
            await copy.write(block.data)


async def copy_items(
    conn: Connection, *, batch_id: UUID, team_id: int, rows: Iterable[NewItem], now: datetime
) -> int:
    """Add items to a batch, ready and due at once; return how many."""
    block = render_items(rows, batch_id=batch_id, team_id=team_id, now=now)
    await copy_block(conn, block)
    return block.count


_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def copy_text(value: object) -> str:
    """Write a value as COPY takes it."""
    return "\\N" if value is None else str(value).translate(_ESCAPES)

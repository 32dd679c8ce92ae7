"""Putting new items into a batch, in blocks, by COPY."""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import compress
from typing import NamedTuple
from uuid import UUID

import orjson

from batchyard.models import JsonObject
from batchyard.store.db import Connection


# A tuple: made for each row, and a frozen dataclass costs several times as much.
class NewItem(NamedTuple):
    """An item that does not exist yet."""

    id: UUID
    position: int
    payload: JsonObject
    turn: int | None = None
    """Its number among those that are called, for turns; None where its position says that."""
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
        turn = "\\N" if row.turn is None else row.turn
        head = f"{item_id}{common}{row.position}\t{turn}\t{number}\t{from_number}\t{reference}\t"
        # JSON holds no raw tab or line end, so only its backslashes need doubling.
        data.append(head.encode() + orjson.dumps(row.payload).replace(b"\\", b"\\\\") + data_tail)
    return ItemBlock(items="".join(items).encode(), data=b"".join(data), count=len(items))


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenItem:
    """What a block says about one of its items."""

    number: str | None
    payload: bytes
    """As JSON."""


def read_items(block: ItemBlock, indexes: Collection[int]) -> list[WrittenItem]:
    """Read some items of a block back, by their places in it."""
    if not indexes:
        return []
    lines = block.data.splitlines()
    return [_written(lines[index]) for index in indexes]


def _written(line: bytes) -> WrittenItem:
    fields = line.split(b"\t")
    number = fields[4].decode()
    return WrittenItem(
        number=None if number == "\\N" else number, payload=fields[7].replace(b"\\\\", b"\\")
    )


def select_items(block: ItemBlock, stays: Sequence[bool]) -> ItemBlock:
    """Return a block with only some of its items, whose turns are counted anew."""
    items = compress(block.items.splitlines(keepends=True), stays)
    lines = block.data.splitlines(keepends=True)
    data = list(compress(lines, stays))
    first = _turn_of(lines[0]) if lines else None
    return ItemBlock(
        items=b"".join(items),
        data=b"".join(_with_turn(line, turn) for turn, line in enumerate(data, start=first or 0)),
        count=len(data),
    )


def _turn_of(line: bytes) -> int | None:
    turn = line.split(b"\t", 4)[3]
    return None if turn == b"\\N" else int(turn)


def _with_turn(line: bytes, turn: int) -> bytes:
    item_id, batch_id, position, before, rest = line.split(b"\t", 4)
    now = before if before == b"\\N" else b"%d" % turn
    return b"\t".join((item_id, batch_id, position, now, rest))


COPY_ITEMS = "COPY items (id, batch_id, team_id, zone_set, due_at, updated_at) FROM STDIN"

COPY_ITEM_DATA = """
COPY item_data (
    item_id, batch_id, position, turn, number, from_number, reference, payload, created_at
) FROM STDIN
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


_ESCAPED = re.compile(r"[\\\t\n\r]")
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def copy_text(value: object) -> str:
    """Write a value as COPY takes it."""
    if value is None:
        return "\\N"
    text = str(value)
    return text.translate(_ESCAPES) if _ESCAPED.search(text) else text

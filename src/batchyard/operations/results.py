"""Results of a batch as files: streamed in blocks, however large the batch is."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from uuid import UUID

import orjson

from batchyard.errors import NotFound
from batchyard.intake.exports import BOM, render_csv
from batchyard.models import Team
from batchyard.store import results
from batchyard.store.db import Database
from batchyard.store.results import FIRST, RefusedRow, ResultBatch, ResultRow

BLOCK = 1000
KEYS_BLOCK = 5000
MAX_RESULT_COLUMNS = 200
"""What more there is in results is in the NDJSON only."""

FACTS = (
    "line",
    "id",
    "number",
    "reference",
    "status",
    "error_code",
    "error_message",
    "attempt",
    "provider",
    "provider_reference",
    "created_at",
    "ended_at",
)
"""Columns of every CSV of results; those of the results themselves follow."""

RESULT_PREFIX = "result."
MEND_COLUMNS = ("error_line", "item_id", "error_code", "error")
"""By these a corrected file finds its rows again."""


async def find_batch(db: Database, *, team: Team, batch_id: UUID) -> ResultBatch:
    """Return the batch whose results are asked for. Raises `NotFound`."""
    async with db.pool.connection() as conn:
        batch = await results.read_batch(conn, team_id=team.id, batch_id=batch_id)
    if batch is None:
        raise NotFound("There is no such batch.")
    return batch


async def render_ndjson(db: Database, batch: ResultBatch) -> AsyncIterator[bytes]:
    """Write a line of JSON for each item, in the order of the file."""
    async for block in _blocks(db, batch):
        yield b"".join(row.shown.encode() + b"\n" for row in block)


async def render_results(db: Database, batch: ResultBatch) -> AsyncIterator[bytes]:
    """Write the CSV of results: a row for each item, its result in columns of their own."""
    keys = await _result_keys(db, batch)
    header = [*FACTS, *(f"{RESULT_PREFIX}{key}" for key in keys)]
    yield BOM.encode() + render_csv([header])
    async for block in _blocks(db, batch):
        yield await asyncio.to_thread(_render_block, block, keys)


async def render_refused(db: Database, batch: ResultBatch) -> AsyncIterator[bytes]:
    """Write the refused rows in their own columns, each with its fault behind: to be mended."""
    async with db.pool.connection() as conn:
        of_uploads = await results.list_columns(conn, batch_id=batch.id)
    every = [_numbered(names) for names in (batch.columns, *of_uploads)]
    columns = list(dict.fromkeys(column for names in every for column in names))
    block: list[RefusedRow] = []
    line = 0
    is_begun = False
    while True:
        async with db.pool.connection() as conn:
            block = await results.list_refused(conn, batch_id=batch.id, line=line, limit=BLOCK)
        if not is_begun:
            # Files of JSON objects have no header; the first rows tell what is in them.
            columns = columns or _names_of(block)
            yield BOM.encode() + render_csv([[*(name for name, _ in columns), *MEND_COLUMNS]])
            is_begun = True
        if not block:
            return
        line = block[-1].line
        yield render_csv(_refused(row, columns, batch.columns) for row in block)


async def list_refused(
    db: Database, batch: ResultBatch, *, after_line: int, limit: int
) -> list[RefusedRow]:
    """List refused rows behind a line."""
    async with db.pool.connection() as conn:
        return await results.list_refused(conn, batch_id=batch.id, line=after_line, limit=limit)


async def render_events(db: Database, batch: ResultBatch) -> AsyncIterator[bytes]:
    """Write a line of JSON for each event of a batch, in the order they became true."""
    after = (0, 0)
    while True:
        async with db.pool.connection() as conn:
            rows = await results.list_events(conn, batch_id=batch.id, after=after, limit=BLOCK)
        if not rows:
            return
        yield b"".join(shown.encode() + b"\n" for _, _, shown in rows)
        after = rows[-1][:2]


async def _blocks(db: Database, batch: ResultBatch) -> AsyncIterator[list[ResultRow]]:
    after = FIRST
    while True:
        async with db.pool.connection() as conn:
            block = await results.list_items(conn, batch_id=batch.id, after=after, limit=BLOCK)
        if not block:
            return
        yield block
        after = (block[-1].position, block[-1].item_id)


async def _result_keys(db: Database, batch: ResultBatch) -> list[str]:
    """Return the names in all results of a batch."""
    found: dict[str, None] = {}
    after = FIRST
    while len(found) < MAX_RESULT_COLUMNS:
        async with db.pool.connection() as conn:
            some = await results.list_keys(conn, batch_id=batch.id, after=after, limit=KEYS_BLOCK)
        if some is None:
            break
        keys, after = some
        found |= dict.fromkeys(keys)
    return list(found)[:MAX_RESULT_COLUMNS]


def _render_block(block: Sequence[ResultRow], keys: Sequence[str]) -> bytes:
    return render_csv(_cells(orjson.loads(row.shown), keys) for row in block)


def _cells(item: Mapping[str, object], keys: Sequence[str]) -> list[str]:
    result = _flat(item["result"]) if isinstance(item["result"], Mapping) else {}
    return [
        *(_text(item[fact]) for fact in FACTS),
        *(_text(result.get(key)) for key in keys),
    ]


def _flat(result: Mapping[str, object], path: str = "") -> dict[str, object]:
    cells: dict[str, object] = {}
    for name, value in result.items():
        if isinstance(value, Mapping) and value:
            cells |= _flat(value, f"{path}{name}.")
        else:
            cells[f"{path}{name}"] = value
    return cells


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return orjson.dumps(value).decode()


Column = tuple[str, int]
"""A name, and how often it was there before: a file may have it twice."""


def _numbered(names: Sequence[str]) -> list[Column]:
    seen: Counter[str] = Counter()
    columns: list[Column] = []
    for name in names:
        columns.append((name, seen[name]))
        seen[name] += 1
    return columns


def _refused(row: RefusedRow, columns: Sequence[Column], usual: Sequence[str]) -> list[str]:
    """Return the row's cells in these columns, and its fault; cells beyond them stay at the end."""
    more: list[str] = []
    if isinstance(row.cells, Mapping):
        known = {(name, 0): _text(value) for name, value in row.cells.items()}
    else:
        own = _numbered(row.columns or usual)
        cells = [_text(cell) for cell in row.cells]
        known = dict(zip(own, cells, strict=False))
        more = cells[len(own) :]
    item_id = "" if row.item_id is None else str(row.item_id)
    marks = [str(row.line), item_id, row.code, row.reason]
    return [*(known.get(name, "") for name in columns), *marks, *more]


def _names_of(block: Sequence[RefusedRow]) -> list[Column]:
    rows = (row.cells for row in block if isinstance(row.cells, Mapping))
    return [(name, 0) for name in dict.fromkeys(name for cells in rows for name in cells)]

"""Results of a batch as files: streamed in blocks, however large the batch is."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from uuid import UUID

import orjson

from batchyard.errors import NotFound
from batchyard.intake.exports import BOM, render_csv
from batchyard.models import Team
from batchyard.store import results
from batchyard.store.db import Database
from batchyard.store.results import FIRST, ResultBatch, ResultRow

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


async def render_results(
    db: Database, batch: ResultBatch, *, is_exact: bool = False
) -> AsyncIterator[bytes]:
    """Write the CSV of results: a row for each item, its result in columns of their own.

    Safe to open in a spreadsheet unless it is exact.
    """
    keys = await _result_keys(db, batch)
    header = [*FACTS, *(f"{RESULT_PREFIX}{key}" for key in keys)]
    yield BOM.encode() + render_csv([header])
    async for block in _blocks(db, batch):
        yield await asyncio.to_thread(_render_block, block, keys, is_exact=is_exact)


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


def _render_block(block: Sequence[ResultRow], keys: Sequence[str], *, is_exact: bool) -> bytes:
    cells = (_cells(orjson.loads(row.shown), keys) for row in block)
    return render_csv(cells, is_exact=is_exact)


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

"""Calls, read in blocks by key: no long transaction, flat memory."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from uuid import UUID

import orjson
from psycopg.rows import class_row

from batchyard.api.bolna.execution_sql import EXECUTION, RETRIES, WORD, join_parts
from batchyard.api.bolna.queries import VISIBLE, Page, View
from batchyard.store.db import Database

EXECUTIONS_AT_ONCE = 500

EXECUTIONS = f"""
SELECT d.position, d.item_id, {EXECUTION} AS execution, {RETRIES} AS retries
  FROM batches b
  JOIN item_data d ON d.batch_id = b.id
  JOIN items i ON i.id = d.item_id
 {WORD}
 WHERE b.id = %(batch_id)s AND b.team_id = %(team_id)s AND b.kind = 'call' AND {VISIBLE}
   AND (d.position, d.item_id) > (%(position)s, %(item_id)s::uuid)
 ORDER BY d.position, d.item_id
 LIMIT %(limit)s OFFSET %(offset)s
"""

BEFORE_ALL = UUID(int=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Execution:
    position: int
    item_id: UUID
    execution: str
    retries: str | None

    def text(self) -> str:
        return join_parts(self.execution, self.retries)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Key:
    position: int = -1
    item_id: UUID = BEFORE_ALL


async def stream_executions(db: Database, *, view: View, batch_id: UUID) -> AsyncIterator[bytes]:
    """Render all calls of a batch as one array, a block at a time."""
    key, separator = _Key(), "["
    while True:
        block = await _fetch(db, view=view, batch_id=batch_id, after=key, limit=EXECUTIONS_AT_ONCE)
        if block:
            yield (separator + ",".join(one.text() for one in block)).encode()
            separator = ","
        if len(block) < EXECUTIONS_AT_ONCE:
            yield b"[]" if separator == "[" else b"]"
            return
        key = _Key(position=block[-1].position, item_id=block[-1].item_id)


async def list_executions(db: Database, *, view: View, batch_id: UUID, page: Page) -> bytes:
    """Render one page of the calls of a batch."""
    total = await count_executions(db, batch_id=batch_id)
    block = await _fetch(
        db, view=view, batch_id=batch_id, after=_Key(), limit=page.size, offset=page.offset
    )
    return render_page(page, total=total, rows=[one.text() for one in block])


def render_page(page: Page, *, total: int, rows: Sequence[str]) -> bytes:
    """Write down one page of calls that are rendered already."""
    head = orjson.dumps(
        {
            "page_number": page.number,
            "page_size": page.size,
            "total": total,
            "has_more": page.offset + len(rows) < total,
        }
    ).decode()
    return f'{head[:-1]},"data":[{",".join(rows)}]}}'.encode()


COUNT_EXECUTIONS = "SELECT coalesce(sum(n), 0) FROM batch_counts WHERE batch_id = %(batch_id)s"


async def count_executions(db: Database, *, batch_id: UUID) -> int:
    """Count the calls of a batch."""
    async with db.pool.connection() as conn:
        row = await (await conn.execute(COUNT_EXECUTIONS, {"batch_id": batch_id})).fetchone()
    return int(str(row[0])) if row else 0


async def _fetch(
    db: Database, *, view: View, batch_id: UUID, after: _Key, limit: int, offset: int = 0
) -> list[_Execution]:
    parameters = {
        **view.parameters(),
        "batch_id": batch_id,
        "position": after.position,
        "item_id": after.item_id,
        "limit": limit,
        "offset": offset,
    }
    async with (
        db.pool.connection() as conn,
        conn.cursor(row_factory=class_row(_Execution)) as cursor,
    ):
        await cursor.execute(EXECUTIONS, parameters)
        return await cursor.fetchall()


READ_EXECUTION = f"""
SELECT {EXECUTION}, {RETRIES}
  FROM items i
  JOIN batches b ON b.id = i.batch_id
  JOIN item_data d ON d.item_id = i.id
 {WORD}
 WHERE i.id = %(item_id)s AND b.team_id = %(team_id)s AND b.kind = 'call'
   AND b.deleted_at IS NULL AND b.state <> 'importing'
"""


async def read_execution(db: Database, *, view: View, item_id: UUID) -> bytes | None:
    """Render one call, of a batch or single; None when the team has no such call."""
    async with db.pool.connection() as conn:
        cursor = await conn.execute(READ_EXECUTION, {**view.parameters(), "item_id": item_id})
        row = await cursor.fetchone()
    if row is None:
        return None
    return join_parts(str(row[0]), None if row[1] is None else str(row[1])).encode()

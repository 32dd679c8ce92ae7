"""Batches under import: invisible, staged block by block, opened or removed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import orjson
from psycopg.types.json import Jsonb

from batchyard.models import JsonObject, Kind
from batchyard.store.db import Connection


@dataclass(frozen=True, kw_only=True, slots=True)
class RejectedRow:
    """A row that became no item."""

    line: int
    code: str
    reason: str
    cells: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class RowWarning:
    """A remark on a row that became an item, or, without a line, on the whole upload."""

    line: int | None
    code: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenedCalls:
    """What a batch of calls gets when its import is complete."""

    agent_id: UUID
    file_name: str | None
    from_numbers: Sequence[str]
    webhook_url: str | None
    retry_policy: JsonObject
    columns: Sequence[str]


INSERT = """
INSERT INTO batches (id, team_id, kind, state, created_at, updated_at, imported_at)
VALUES (%(id)s, %(team_id)s, %(kind)s, 'importing', %(now)s, %(now)s, %(now)s)
"""


async def insert(
    conn: Connection, *, batch_id: UUID, team_id: int, kind: Kind, now: datetime
) -> None:
    """Write a batch that nobody sees yet."""
    await conn.execute(INSERT, {"id": batch_id, "team_id": team_id, "kind": kind, "now": now})


# Locks the batch: an import that is given up cannot get another block behind its back.
RECORD_BLOCK = """
UPDATE batches
   SET imported_at = %(now)s, total_rows = total_rows + %(rows)s,
       refused_rows = refused_rows + %(refused)s
 WHERE id = %(id)s AND state = 'importing' AND imported_at > '-infinity'
"""


async def record_block(
    conn: Connection, *, batch_id: UUID, rows: int, refused: int, now: datetime
) -> bool:
    """Count a block and show life; return False when the import was given up meanwhile."""
    cursor = await conn.execute(
        RECORD_BLOCK, {"id": batch_id, "rows": rows, "refused": refused, "now": now}
    )
    return cursor.rowcount == 1


COPY_REJECTED = "COPY rejected_rows (batch_id, line, code, reason, cells) FROM STDIN"


async def copy_rejected(conn: Connection, *, batch_id: UUID, rows: Sequence[RejectedRow]) -> None:
    """Add rows that became no item."""
    if not rows:
        return
    async with conn.cursor() as cursor, cursor.copy(COPY_REJECTED) as copy:
        for row in rows:
            cells = orjson.dumps(row.cells).decode()
            await copy.write_row((batch_id, row.line, row.code, row.reason, cells))


COPY_WARNINGS = "COPY row_warnings (batch_id, line, code, reason) FROM STDIN"


async def copy_warnings(conn: Connection, *, batch_id: UUID, rows: Sequence[RowWarning]) -> None:
    """Add remarks on rows."""
    if not rows:
        return
    async with conn.cursor() as cursor, cursor.copy(COPY_WARNINGS) as copy:
        for row in rows:
            await copy.write_row((batch_id, row.line, row.code, row.reason))


# A sort in PostgreSQL, on disk if it must: no memory of ours grows with the file. One slice of
# the numbers at a time keeps each transaction short.
WARN_DUPLICATES = """
INSERT INTO row_warnings (batch_id, line, code, reason)
SELECT %(id)s, position, %(code)s, %(reason)s
  FROM (SELECT position, row_number() OVER (PARTITION BY number ORDER BY position) AS nth
          FROM item_data
         WHERE batch_id = %(id)s
           AND (%(slices)s::int = 1
                OR mod(hashtext(number)::bigint + 2147483648, %(slices)s::int) = %(slice)s)
       ) AS seen
 WHERE nth > 1
"""


async def warn_duplicates(
    conn: Connection, *, batch_id: UUID, code: str, reason: str, part: int, parts: int
) -> None:
    """Remark on each row whose number an earlier row has; `part` of `parts` of all numbers."""
    await conn.execute(
        WARN_DUPLICATES,
        {"id": batch_id, "code": code, "reason": reason, "slice": part, "slices": parts},
    )


OPEN_CALLS = """
UPDATE batches
   SET state = 'open', agent_id = %(agent_id)s, file_name = %(file_name)s,
       from_numbers = %(from_numbers)s, webhook_url = %(webhook_url)s,
       retry_policy = %(retry_policy)s, columns = %(columns)s,
       created_at = %(now)s, updated_at = %(now)s, imported_at = %(now)s
 WHERE id = %(id)s AND state = 'importing' AND imported_at > '-infinity'
"""


async def open_calls(
    conn: Connection, *, batch_id: UUID, calls: OpenedCalls, now: datetime
) -> bool:
    """Make an import a batch that clients see; return False when it was given up meanwhile."""
    cursor = await conn.execute(
        OPEN_CALLS,
        {
            "id": batch_id,
            "agent_id": calls.agent_id,
            "file_name": calls.file_name,
            "from_numbers": list(calls.from_numbers),
            "webhook_url": calls.webhook_url,
            "retry_policy": Jsonb(calls.retry_policy),
            "columns": list(calls.columns),
            "now": now,
        },
    )
    return cursor.rowcount == 1


GIVE_UP = """
UPDATE batches SET imported_at = '-infinity' WHERE id = %(id)s AND state = 'importing'
"""


async def give_up(conn: Connection, *, batch_id: UUID) -> None:
    """Mark an import for removal: no block is added to it any more."""
    await conn.execute(GIVE_UP, {"id": batch_id})


# Two may clean up the same import at once; each takes what the other has not. The items take
# their data along.
DELETE_ITEMS = """
WITH doomed AS (
    SELECT i.id FROM items i JOIN batches b ON b.id = i.batch_id
     WHERE i.batch_id = %(id)s AND b.state = 'importing'
     LIMIT %(limit)s
       FOR UPDATE OF i SKIP LOCKED
)
DELETE FROM items i USING doomed WHERE i.id = doomed.id
"""

DELETE_REJECTED = """
DELETE FROM rejected_rows
 WHERE batch_id = %(id)s AND line IN (
       SELECT line FROM rejected_rows WHERE batch_id = %(id)s
        LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
"""

DELETE_WARNINGS = """
DELETE FROM row_warnings
 WHERE ctid IN (SELECT ctid FROM row_warnings WHERE batch_id = %(id)s
                 LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
"""


async def delete_some_rows(conn: Connection, *, batch_id: UUID, limit: int) -> int:
    """Delete some rows of an import that was given up; return how many."""
    deleted = 0
    for statement in (DELETE_ITEMS, DELETE_REJECTED, DELETE_WARNINGS):
        cursor = await conn.execute(statement, {"id": batch_id, "limit": limit})
        deleted += cursor.rowcount
    return deleted


DELETE_BATCH = """
WITH doomed AS (
    DELETE FROM batches b
     WHERE b.id = %(id)s AND b.state = 'importing' AND b.imported_at = '-infinity'
       AND NOT EXISTS (SELECT FROM items WHERE batch_id = %(id)s)
    RETURNING b.id
)
DELETE FROM batch_counts c USING doomed WHERE c.batch_id = doomed.id
"""


async def delete_batch(conn: Connection, *, batch_id: UUID) -> None:
    """Delete an import that was given up and has no rows any more, and its counts."""
    await conn.execute(DELETE_BATCH, {"id": batch_id})


LIST_IDLE = """
SELECT id FROM batches WHERE state = 'importing' AND imported_at < %(before)s ORDER BY imported_at
"""


async def list_idle(conn: Connection, *, before: datetime) -> list[UUID]:
    """List imports that showed no life since, and those whose removal was interrupted."""
    cursor = await conn.execute(LIST_IDLE, {"before": before})
    return [row[0] async for row in cursor if isinstance(row[0], UUID)]

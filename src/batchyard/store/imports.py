"""Batches under import: invisible, staged block by block, opened or removed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import orjson
from psycopg.types.json import Jsonb

from batchyard.models import JsonObject, Kind
from batchyard.store.db import Connection
from batchyard.store.item_intake import copy_text


@dataclass(frozen=True, kw_only=True, slots=True)
class RejectedRow:
    """A row that became no item."""

    line: int
    code: str
    reason: str
    cells: tuple[str, ...] | JsonObject


@dataclass(frozen=True, kw_only=True, slots=True)
class RowWarning:
    """A remark on a row that became an item, or, without a line, on the whole upload."""

    line: int | None
    code: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class StagedMend:
    """A row that says which refused row, or which failed item, of its batch it is."""

    line: int
    error_line: int | None
    item_id: UUID | None
    is_refused: bool
    payload: JsonObject | None = None
    """Of a correction that was accepted, like the number, the reference and the zones."""
    number: str | None = None
    reference: str | None = None
    zone_set: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenedBatch:
    """What a batch gets when its import is complete; agents and webhooks are for calls."""

    agent_id: UUID | None = None
    file_name: str | None
    reference: str | None = None
    identifier: str | None = None
    from_numbers: Sequence[str] = ()
    webhook_url: str | None = None
    retry_policy: JsonObject = field(default_factory=dict)
    columns: Sequence[str] | None
    priority: int | None = None
    bypass_windows: bool | None = None
    has_brake: bool | None = None


INSERT = """
INSERT INTO batches (id, team_id, kind, state, created_at, updated_at, imported_at)
VALUES (%(id)s, %(team_id)s, %(kind)s, 'importing', %(now)s, %(now)s, %(now)s)
ON CONFLICT (id) DO NOTHING
"""


async def insert(
    conn: Connection, *, batch_id: UUID, team_id: int, kind: Kind, now: datetime
) -> bool:
    """Write a batch that nobody sees yet; False when the id is taken."""
    cursor = await conn.execute(
        INSERT, {"id": batch_id, "team_id": team_id, "kind": kind, "now": now}
    )
    return cursor.rowcount == 1


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


COPY_REJECTED = "COPY rejected_rows (batch_id, line, code, reason, cells, upload_id) FROM STDIN"


async def copy_rejected(conn: Connection, *, batch_id: UUID, rows: Sequence[RejectedRow]) -> None:
    """Add rows of the upload that has the id of its batch, and that became no item."""
    if not rows:
        return
    lines = [
        f"{batch_id}\t{row.line}\t{row.code}\t{copy_text(row.reason)}\t"
        f"{copy_text(orjson.dumps(row.cells, default=dict).decode())}\t{batch_id}\n"
        for row in rows
    ]
    async with conn.cursor() as cursor, cursor.copy(COPY_REJECTED) as copy:
        await copy.write("".join(lines))


COPY_WARNINGS = "COPY row_warnings (batch_id, line, code, reason) FROM STDIN"


async def copy_warnings(conn: Connection, *, batch_id: UUID, rows: Sequence[RowWarning]) -> None:
    """Add remarks on rows."""
    if not rows:
        return
    lines = [
        f"{batch_id}\t{copy_text(row.line)}\t{row.code}\t{copy_text(row.reason)}\n" for row in rows
    ]
    async with conn.cursor() as cursor, cursor.copy(COPY_WARNINGS) as copy:
        await copy.write("".join(lines))


COPY_MENDS = """
COPY staged_mends
     (upload_id, line, error_line, item_id, is_refused, payload, number, reference, zone_set)
FROM STDIN
"""


async def copy_mends(conn: Connection, *, upload_id: UUID, mends: Sequence[StagedMend]) -> None:
    """Add what rows say about the row or the item that they mend."""
    if not mends:
        return
    async with conn.cursor() as cursor, cursor.copy(COPY_MENDS) as copy:
        for one in mends:
            payload = None if one.payload is None else orjson.dumps(one.payload).decode()
            mended = (one.line, one.error_line, one.item_id, one.is_refused)
            await copy.write_row(
                (upload_id, *mended, payload, one.number, one.reference, one.zone_set)
            )


# A sort in PostgreSQL, on disk if it must: no memory of ours grows with the file. One slice of
# the keys at a time keeps each transaction short.
WARN_DUPLICATES = """
INSERT INTO row_warnings (batch_id, line, code, reason)
SELECT %(id)s, position, %(code)s, %(reason)s
  FROM (SELECT position, row_number() OVER (PARTITION BY key ORDER BY position) AS nth
          FROM (SELECT position, coalesce(number, reference) AS key
                  FROM item_data WHERE batch_id = %(id)s) AS keyed
         WHERE key IS NOT NULL
           AND (%(slices)s::int = 1
                OR mod(hashtext(key)::bigint + 2147483648, %(slices)s::int) = %(slice)s)
       ) AS seen
 WHERE nth > 1
"""


async def warn_duplicates(
    conn: Connection, *, batch_id: UUID, code: str, reason: str, part: int, parts: int
) -> int:
    """Remark on each row whose number or reference an earlier row has; return how many.

    Looks at `part` of `parts` of all numbers and references.
    """
    cursor = await conn.execute(
        WARN_DUPLICATES,
        {"id": batch_id, "code": code, "reason": reason, "slice": part, "slices": parts},
    )
    return cursor.rowcount


OPEN = """
UPDATE batches
   SET state = 'open', agent_id = %(agent_id)s, file_name = %(file_name)s,
       reference = %(reference)s, identifier = %(identifier)s,
       from_numbers = %(from_numbers)s, webhook_url = %(webhook_url)s,
       retry_policy = %(retry_policy)s, columns = %(columns)s,
       priority = coalesce(%(priority)s, priority),
       bypass_windows = coalesce(%(bypass_windows)s, bypass_windows),
       has_brake = coalesce(%(has_brake)s, has_brake),
       last_line = %(last_line)s,
       created_at = %(now)s, updated_at = %(now)s, imported_at = %(now)s
 WHERE id = %(id)s AND state = 'importing' AND imported_at > '-infinity'
"""


async def open_batch(
    conn: Connection, *, batch_id: UUID, batch: OpenedBatch, last_line: int, now: datetime
) -> bool:
    """Make an import a batch that clients see; return False when it was given up meanwhile."""
    cursor = await conn.execute(
        OPEN,
        {
            "id": batch_id,
            "agent_id": batch.agent_id,
            "file_name": batch.file_name,
            "reference": batch.reference,
            "identifier": batch.identifier,
            "from_numbers": list(batch.from_numbers),
            "webhook_url": batch.webhook_url,
            "retry_policy": Jsonb(dict(batch.retry_policy)),
            "columns": None if batch.columns is None else list(batch.columns),
            "priority": batch.priority,
            "bypass_windows": batch.bypass_windows,
            "has_brake": batch.has_brake,
            "last_line": last_line,
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


# The upload goes too, unless the rows have joined another batch: then it tells of them there.
DELETE_BATCH = """
WITH doomed AS (
    DELETE FROM batches b
     WHERE b.id = %(id)s AND b.state = 'importing' AND b.imported_at = '-infinity'
       AND NOT EXISTS (SELECT FROM items WHERE batch_id = %(id)s)
    RETURNING b.id
), forgotten AS (
    DELETE FROM uploads u USING doomed WHERE u.id = doomed.id AND u.state <> 'done'
)
DELETE FROM batch_counts c USING doomed WHERE c.batch_id = doomed.id
"""


async def delete_batch(conn: Connection, *, batch_id: UUID) -> None:
    """Delete an import that was given up and has no rows any more, and its counts."""
    await conn.execute(DELETE_BATCH, {"id": batch_id})


LIST_IDLE = """
SELECT b.id FROM batches b
 WHERE b.state = 'importing' AND b.imported_at < %(before)s
   AND NOT EXISTS (SELECT FROM uploads u WHERE u.id = b.id AND u.state = 'joining')
 ORDER BY b.imported_at
"""


async def list_idle(conn: Connection, *, before: datetime) -> list[UUID]:
    """List imports that showed no life since, and those whose removal was interrupted."""
    cursor = await conn.execute(LIST_IDLE, {"before": before})
    return [row[0] async for row in cursor if isinstance(row[0], UUID)]

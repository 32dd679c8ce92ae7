"""Refused rows of a batch, read in blocks by line: no long transaction, flat memory."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

from psycopg.rows import class_row

from batchyard.api.bolna.queries import VISIBLE
from batchyard.store.db import Database

REJECTED_AT_ONCE = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class RefusedRow:
    """A row of the upload that became no call."""

    line: int
    code: str
    reason: str
    cells: list[str]


COLUMNS = f"""
SELECT coalesce(b.columns, '{{}}')
  FROM batches b
 WHERE b.id = %(batch_id)s AND b.team_id = %(team_id)s AND b.kind = 'call' AND {VISIBLE}
"""


async def find_columns(db: Database, *, team_id: int, batch_id: UUID) -> list[str] | None:
    """Return the header of the uploaded file; None when the team has no such batch."""
    async with db.pool.connection() as conn:
        cursor = await conn.execute(COLUMNS, {"team_id": team_id, "batch_id": batch_id})
        row = await cursor.fetchone()
    return list(row[0]) if row and isinstance(row[0], list) else None


REFUSED_ROWS = f"""
SELECT r.line, r.code, r.reason, r.cells
  FROM rejected_rows r JOIN batches b ON b.id = r.batch_id
 WHERE r.batch_id = %(batch_id)s AND b.team_id = %(team_id)s AND {VISIBLE} AND r.line > %(line)s
 ORDER BY r.line
 LIMIT %(limit)s
"""


async def stream_refused(
    db: Database, *, team_id: int, batch_id: UUID
) -> AsyncIterator[list[RefusedRow]]:
    """Read the refused rows of a batch in the order of the file, a block at a time."""
    line = 0
    while True:
        async with (
            db.pool.connection() as conn,
            conn.cursor(row_factory=class_row(RefusedRow)) as cursor,
        ):
            await cursor.execute(
                REFUSED_ROWS,
                {
                    "batch_id": batch_id,
                    "team_id": team_id,
                    "line": line,
                    "limit": REJECTED_AT_ONCE,
                },
            )
            block = await cursor.fetchall()
        if not block:
            return
        yield block
        line = block[-1].line

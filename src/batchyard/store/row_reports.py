"""What became of the rows of a batch, read in blocks: no long transaction, flat memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from psycopg.rows import class_row

from batchyard.models import Kind
from batchyard.store.db import Connection
from batchyard.store.taken_out import TAKEN_OUT


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportedBatch:
    """A batch as its row report needs it."""

    id: UUID
    kind: Kind
    columns: list[str] | None
    """Of the first file."""
    total_rows: int
    refused_rows: int


READ_BATCH = """
SELECT id, kind, columns, total_rows, refused_rows FROM batches
 WHERE id = %(batch_id)s AND team_id = %(team_id)s
   AND deleted_at IS NULL AND state <> 'importing'
"""


async def read_batch(conn: Connection, *, team_id: int, batch_id: UUID) -> ReportedBatch | None:
    """Read a batch of a team."""
    async with conn.cursor(row_factory=class_row(ReportedBatch)) as cursor:
        await cursor.execute(READ_BATCH, {"batch_id": batch_id, "team_id": team_id})
        return await cursor.fetchone()


@dataclass(frozen=True, kw_only=True, slots=True)
class RefusedRow:
    """A row that became no item, or a refused correction of one."""

    line: int
    code: str
    reason: str
    cells: list[str] | Mapping[str, object]
    """As they came: in the order of the columns, or a JSON object."""
    columns: list[str] | None
    """Of its own file; None for those of the batch."""
    item_id: UUID | None
    """The item whose correction it was."""


LIST_REFUSED = """
SELECT r.line, r.code, r.reason, r.cells, u.columns, r.item_id
  FROM rejected_rows r
  LEFT JOIN uploads u ON u.id = r.upload_id
 WHERE r.batch_id = %(batch_id)s AND r.line > %(after)s
   AND (%(code)s::text IS NULL OR r.code = %(code)s)
 ORDER BY r.line
 LIMIT %(limit)s
"""


async def list_refused(
    conn: Connection, *, batch_id: UUID, after: int, limit: int, code: str | None = None
) -> list[RefusedRow]:
    """List refused rows behind a line, in the order of their lines."""
    async with conn.cursor(row_factory=class_row(RefusedRow)) as cursor:
        await cursor.execute(
            LIST_REFUSED,
            {"batch_id": batch_id, "after": after, "limit": limit, "code": code},
            # Planned for what is asked: a plan for anything has no use for an index by code.
            prepare=False,
        )
        return await cursor.fetchall()


MEASURE_REFUSED = """
SELECT octet_length(cells::text) FROM rejected_rows
 WHERE batch_id = %(batch_id)s AND line > %(after)s
 ORDER BY line
 LIMIT %(limit)s
"""


async def measure_refused(conn: Connection, *, batch_id: UUID, after: int, limit: int) -> list[int]:
    """List how many bytes the cells of refused rows behind a line have, in their order."""
    cursor = await conn.execute(
        MEASURE_REFUSED, {"batch_id": batch_id, "after": after, "limit": limit}
    )
    return [int(str(row[0])) for row in await cursor.fetchall()]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportedWarning:
    """A remark on a row, or, without a line, on an upload."""

    line: int | None
    code: str
    reason: str
    place: str
    """Where its row is stored; tells remarks on one line with one code apart."""


WarningPlace = tuple[int, str, str]
"""A line, a code and a place; remarks on a whole upload have line 0."""
FIRST_WARNING: WarningPlace = (-1, "", "(0,0)")

# Remarks have no key, and one upload may have a thousand with one code and no line: where they are
# stored orders these. An erasure moves what it erases: between two pages that one alone may come to
# stand before the place or behind it, among those with its line and code.
LIST_WARNINGS = """
SELECT line, code, reason, ctid::text AS place FROM row_warnings
 WHERE batch_id = %(batch_id)s
   AND (coalesce(line, 0), code, ctid) > (%(line)s, %(after_code)s, %(place)s::tid)
   AND (%(code)s::text IS NULL OR code = %(code)s)
 ORDER BY coalesce(line, 0), code, row_warnings.ctid
 LIMIT %(limit)s
"""


async def list_warnings(
    conn: Connection,
    *,
    batch_id: UUID,
    after: WarningPlace,
    limit: int,
    code: str | None = None,
) -> list[ReportedWarning]:
    """List remarks behind a line, code and place, in that order; without a line comes first."""
    async with conn.cursor(row_factory=class_row(ReportedWarning)) as cursor:
        await cursor.execute(
            LIST_WARNINGS,
            {
                "batch_id": batch_id,
                "line": after[0],
                "after_code": after[1],
                "place": after[2],
                "limit": limit,
                "code": code,
            },
        )
        return await cursor.fetchall()


@dataclass(frozen=True, kw_only=True, slots=True)
class FailedRow:
    """An item that failed, as its row was."""

    item_id: UUID
    position: int
    number: str | None
    payload: Mapping[str, object]
    status: str
    error_code: str | None
    error_message: str | None


# Corrections that were refused stand in for their item. Where nothing is left to send, nobody can
# mend it.
FAILED = f"""
  FROM item_data d JOIN items i ON i.id = d.item_id
 WHERE d.batch_id = %(batch_id)s AND (d.position, d.item_id) > (%(position)s, %(item_id)s)
   AND i.phase = 'done' AND i.status = ANY (%(statuses)s)
   AND d.payload NOT IN {TAKEN_OUT}
   AND NOT EXISTS (SELECT FROM rejected_rows r
                    WHERE r.batch_id = d.batch_id AND r.item_id = d.item_id)
 ORDER BY d.position, d.item_id
 LIMIT %(limit)s
"""

LIST_FAILED = f"""
SELECT i.id AS item_id, d.position, d.number, d.payload, i.status, d.error_code, d.error_message
{FAILED}
"""

MEASURE_FAILED = f"SELECT octet_length(d.payload::text) {FAILED}"


async def list_failed(
    conn: Connection,
    *,
    batch_id: UUID,
    statuses: Sequence[str],
    after: tuple[int, UUID],
    limit: int,
) -> list[FailedRow]:
    """List failed items behind a position and id, in that order."""
    async with conn.cursor(row_factory=class_row(FailedRow)) as cursor:
        await cursor.execute(LIST_FAILED, _behind(batch_id, statuses, after, limit))
        return await cursor.fetchall()


async def measure_failed(
    conn: Connection,
    *,
    batch_id: UUID,
    statuses: Sequence[str],
    after: tuple[int, UUID],
    limit: int,
) -> list[int]:
    """List how many bytes the payloads of failed items have, in the same order."""
    cursor = await conn.execute(MEASURE_FAILED, _behind(batch_id, statuses, after, limit))
    return [int(str(row[0])) for row in await cursor.fetchall()]


def _behind(
    batch_id: UUID, statuses: Sequence[str], after: tuple[int, UUID], limit: int
) -> dict[str, object]:
    return {
        "batch_id": batch_id,
        "statuses": list(statuses),
        "position": after[0],
        "item_id": after[1],
        "limit": limit,
    }


COUNT_CODES = """
SELECT 'refused', code, count(*) FROM rejected_rows WHERE batch_id = %(batch_id)s GROUP BY code
UNION ALL
SELECT 'warned', code, count(*) FROM row_warnings WHERE batch_id = %(batch_id)s GROUP BY code
"""


async def count_codes(conn: Connection, *, batch_id: UUID) -> tuple[dict[str, int], dict[str, int]]:
    """Count the refused rows and the remarks of a batch by their codes."""
    counts: dict[str, dict[str, int]] = {"refused": {}, "warned": {}}
    for kind, code, n in await (await conn.execute(COUNT_CODES, {"batch_id": batch_id})).fetchall():
        counts[str(kind)][str(code)] = int(str(n))
    return counts["refused"], counts["warned"]

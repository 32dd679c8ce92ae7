"""Staged rows on their way into a batch that is there already, block by block.

Every statement here belongs to a transaction that holds the lock on the batch they join.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from batchyard.models import BatchState
from batchyard.store.db import Connection
from batchyard.store.histories import with_answer
from batchyard.store.taken_out import TAKEN_OUT

# Shipments that a client added one by one have taken lines too: one each.
BEGIN = """
UPDATE batches b
   SET last_line = greatest(b.last_line, b.total_rows) + %(lines)s,
       columns = coalesce(b.columns, %(columns)s),
       file_name = coalesce(b.file_name, %(file_name)s),
       updated_at = %(now)s
 WHERE b.id = %(batch_id)s
RETURNING b.last_line - %(lines)s
"""

MARK_JOINING = "UPDATE uploads SET first_line = %(first_line)s WHERE id = %(upload_id)s"


async def begin(
    conn: Connection,
    *,
    upload_id: UUID,
    batch_id: UUID,
    lines: int,
    columns: Sequence[str] | None,
    file_name: str | None,
    now: datetime,
) -> int:
    """Take as many lines of the batch as the file has; return what is added to each."""
    cursor = await conn.execute(
        BEGIN,
        {
            "batch_id": batch_id,
            "lines": lines,
            "columns": None if columns is None else list(columns),
            "file_name": file_name,
            "now": now,
        },
    )
    row = await cursor.fetchone()
    first_line = int(str(row[0])) if row else 0
    await conn.execute(MARK_JOINING, {"upload_id": upload_id, "first_line": first_line})
    return first_line


@dataclass(frozen=True, kw_only=True, slots=True)
class Joining:
    """An upload whose rows join a batch."""

    upload_id: UUID
    batch_id: UUID
    team_id: int
    kind: str
    first_line: int


LIST_INTERRUPTED = """
SELECT u.id, u.batch_id, u.team_id, b.kind, u.first_line
  FROM uploads u JOIN batches b ON b.id = u.batch_id
 WHERE u.state = 'joining' AND u.updated_at < %(before)s
"""


async def list_interrupted(conn: Connection, *, before: datetime) -> list[Joining]:
    """List uploads that have begun to join a batch and showed no life since."""
    rows = await (await conn.execute(LIST_INTERRUPTED, {"before": before})).fetchall()
    return [
        Joining(
            upload_id=UUID(str(upload_id)),
            batch_id=UUID(str(batch_id)),
            team_id=int(str(team_id)),
            kind=str(kind),
            first_line=int(str(first_line)),
        )
        for upload_id, batch_id, team_id, kind, first_line in rows
    ]


LOCK = """
SELECT state FROM batches
 WHERE id = %(batch_id)s AND deleted_at IS NULL AND state <> 'cancelled'
   FOR UPDATE
"""


async def lock(conn: Connection, *, batch_id: UUID) -> BatchState | None:
    """Lock a batch that rows join, and return its state; None when it is gone."""
    row = await (await conn.execute(LOCK, {"batch_id": batch_id})).fetchone()
    return None if row is None else BatchState(str(row[0]))


# Whoever locks items locks their batches before, in id order: so must who moves them, for it takes
# out the batch that they leave.
LOCK_BOTH = """
SELECT FROM batches WHERE id IN (%(upload_id)s, %(batch_id)s) ORDER BY id FOR UPDATE
"""


async def lock_both(conn: Connection, *, upload_id: UUID, batch_id: UUID) -> None:
    """Lock a batch that rows join, and the one they leave, before any of the items."""
    await conn.execute(LOCK_BOTH, {"upload_id": upload_id, "batch_id": batch_id})


# A correction is a new intended effect, so it gets a new key; what was replaced is kept. Of two
# rows for one item the later one counts. What was erased, or is to be, is not sent again.
CORRECT = f"""
WITH chosen AS (
    SELECT DISTINCT ON (item_id) item_id, line, payload, number, reference, zone_set
      FROM staged_mends
     WHERE upload_id = %(upload_id)s AND item_id IS NOT NULL AND NOT is_refused
     ORDER BY item_id, line DESC
     LIMIT %(limit)s
), locked AS MATERIALIZED (
    SELECT i.id FROM items i JOIN chosen c ON c.item_id = i.id
     WHERE i.batch_id = %(batch_id)s AND i.phase = 'done' AND i.status = ANY (%(statuses)s)
       AND (SELECT d.payload FROM item_data d WHERE d.item_id = i.id) NOT IN {TAKEN_OUT}
       AND NOT EXISTS (SELECT FROM pending_erasures p WHERE p.item_id = i.id)
     ORDER BY i.id
       FOR UPDATE OF i
), again AS (
    UPDATE items i
       SET phase = 'ready', status = 'retrying', try = i.try + 1, due_at = %(now)s,
           deadline_at = NULL, zone_set = c.zone_set, updated_at = %(now)s
      FROM locked l JOIN chosen c ON c.item_id = l.id
     WHERE i.id = l.id
    RETURNING i.id, i.try - 1 AS attempt
), noted AS (
    UPDATE item_data d
       SET corrections = d.corrections || jsonb_build_object(
               'at', %(now)s::timestamptz, 'attempt', a.attempt, 'number', d.number,
               'payload', d.payload),
           attempts = {with_answer("a.attempt")},
           payload = c.payload, number = c.number, reference = c.reference, ended_at = NULL,
           provider_reference = NULL
      FROM again a JOIN chosen c ON c.item_id = a.id
     WHERE d.item_id = a.id
), settled AS (
    DELETE FROM rejected_rows r USING again a
     WHERE r.batch_id = %(batch_id)s AND r.item_id = a.id
), missed AS (
    INSERT INTO row_warnings (batch_id, line, code, reason)
    SELECT %(batch_id)s, %(first_line)s + c.line, %(missed_code)s, %(missed_reason)s
      FROM chosen c WHERE c.item_id NOT IN (SELECT id FROM locked)
), taken AS (
    DELETE FROM staged_mends m USING chosen c
     WHERE m.upload_id = %(upload_id)s AND m.item_id = c.item_id
)
SELECT (SELECT count(*) FROM chosen), (SELECT count(*) FROM again)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """What one block of a join has done."""

    taken: int
    """Staged rows that are dealt with."""
    ready: int = 0
    """Items that can be sent now."""
    rows: int = 0
    """Rows that the batch has more."""
    refused: int = 0
    """Refused rows that the batch has more; fewer when negative."""
    missed: int = 0
    """Rows that came too late and are not marked so: what they were to mend was dealt with."""


async def correct_items(
    conn: Connection,
    joining: Joining,
    *,
    statuses: Sequence[str],
    missed: tuple[str, str],
    limit: int,
    now: datetime,
) -> Step:
    """Give failed items their corrected payloads and let them be tried again.

    `missed` is the code and the sentence for items that did not fail, or not any more, and for
    those that are not sent again.
    """
    cursor = await conn.execute(
        CORRECT,
        {
            **_places(joining),
            "statuses": list(statuses),
            "missed_code": missed[0],
            "missed_reason": missed[1],
            "limit": limit,
            "now": now,
        },
    )
    chosen, again = _counts(await cursor.fetchone(), of=2)
    return Step(taken=chosen, ready=again, missed=chosen - again)


# An item takes the line of the refused row that it mends, which then is refused no more. Whoever
# was faster may have mended it since the item was checked: then the item goes, and a remark stays.
# The batch is locked, so nobody mends the row between this look and the move. What was marked as
# too late when the file began to join is counted already.
MOVE_ITEMS = """
WITH chosen AS MATERIALIZED (
    SELECT id FROM items WHERE batch_id = %(upload_id)s ORDER BY id LIMIT %(limit)s FOR UPDATE
), marked AS MATERIALIZED (
    -- Looked up row by row, so that a block never reads all marks of a large file.
    SELECT id, line, is_marked, error_line,
           refused_line IS NOT NULL AND NOT is_marked
               AND row_number() OVER (PARTITION BY error_line ORDER BY line) = 1 AS mends
      FROM (SELECT c.id, d.position AS line, m.is_marked, m.error_line,
                   (SELECT r.line FROM rejected_rows r
                     WHERE r.batch_id = %(batch_id)s AND r.line = m.error_line) AS refused_line
              FROM chosen c
              JOIN item_data d ON d.item_id = c.id
             CROSS JOIN LATERAL (SELECT s.error_line, s.is_refused AS is_marked
                                   FROM staged_mends s
                                  WHERE s.upload_id = %(upload_id)s AND s.line = d.position
                                    AND s.error_line IS NOT NULL
                                  LIMIT 1) AS m) AS found
), missed AS (
    SELECT id, line, is_marked FROM marked WHERE NOT mends
), moved AS (
    UPDATE items i SET batch_id = %(batch_id)s, due_at = %(now)s, updated_at = %(now)s
      FROM chosen c WHERE i.id = c.id AND NOT EXISTS (SELECT FROM missed m WHERE m.id = c.id)
    RETURNING i.id
), placed AS (
    UPDATE item_data d
       SET batch_id = %(batch_id)s,
           position = coalesce(m.error_line, d.position + %(first_line)s),
           turn = d.turn + %(first_line)s
      FROM moved LEFT JOIN marked m ON m.id = moved.id
     WHERE d.item_id = moved.id
), mended AS (
    DELETE FROM rejected_rows r USING marked m
     WHERE m.mends AND r.batch_id = %(batch_id)s AND r.line = m.error_line
    RETURNING r.item_id
), dropped AS (
    DELETE FROM items i USING missed m WHERE i.id = m.id
), unmarked AS (
    UPDATE staged_mends s SET error_line = NULL
      FROM missed m WHERE s.upload_id = %(upload_id)s AND s.line = m.line
), told AS (
    INSERT INTO row_warnings (batch_id, line, code, reason)
    SELECT %(batch_id)s, %(first_line)s + line, %(missed_code)s, %(missed_reason)s FROM missed
)
SELECT (SELECT count(*) FROM chosen), (SELECT count(*) FROM mended WHERE item_id IS NULL),
       (SELECT count(*) FROM missed), (SELECT count(*) FROM missed WHERE NOT is_marked)
"""


async def move_items(
    conn: Connection, joining: Joining, *, missed: tuple[str, str], limit: int, now: datetime
) -> Step:
    """Move staged items into the batch, ready and due at once.

    `missed` is the code and the sentence for rows whose refused row was mended meanwhile.
    """
    cursor = await conn.execute(
        MOVE_ITEMS,
        {
            **_places(joining),
            "missed_code": missed[0],
            "missed_reason": missed[1],
            "limit": limit,
            "now": now,
        },
    )
    taken, mended, late, unmarked = _counts(await cursor.fetchone(), of=4)
    moved = taken - late
    return Step(taken=taken, ready=moved, rows=moved - mended, refused=-mended, missed=unmarked)


# A row that was to mend another and is refused again takes its place. One whose row was mended
# before, or whose item was taken out, leaves a remark only: as a refused row it would be offered to
# be mended once more.
MOVE_REJECTED = """
WITH chosen AS MATERIALIZED (
    SELECT s.line, s.code, s.reason, s.cells, m.error_line, m.item_id,
           s.code = ANY (%(left_out)s) AS is_left_out
      FROM rejected_rows s
      LEFT JOIN staged_mends m ON m.upload_id = s.batch_id AND m.line = s.line
     WHERE s.batch_id = %(upload_id)s
     ORDER BY s.line
     LIMIT %(limit)s
), told AS (
    INSERT INTO row_warnings (batch_id, line, code, reason)
    SELECT %(batch_id)s, %(first_line)s + line, code, reason FROM chosen WHERE is_left_out
), replaced AS (
    UPDATE rejected_rows t
       SET code = c.code, reason = c.reason, cells = c.cells, upload_id = %(upload_id)s
      FROM chosen c
     WHERE t.batch_id = %(batch_id)s AND t.line = c.error_line AND NOT c.is_left_out
    RETURNING c.line
), superseded AS (
    DELETE FROM rejected_rows t USING chosen c
     WHERE t.batch_id = %(batch_id)s AND t.item_id = c.item_id
), added AS (
    INSERT INTO rejected_rows (batch_id, line, code, reason, cells, upload_id, item_id)
    SELECT %(batch_id)s, %(first_line)s + c.line, c.code, c.reason, c.cells, %(upload_id)s,
           c.item_id
      FROM chosen c WHERE NOT c.is_left_out AND c.line NOT IN (SELECT line FROM replaced)
    RETURNING item_id
), gone AS (
    DELETE FROM rejected_rows s USING chosen c
     WHERE s.batch_id = %(upload_id)s AND s.line = c.line
)
SELECT (SELECT count(*) FROM chosen), (SELECT count(*) FROM added WHERE item_id IS NULL)
"""


async def move_rejected(
    conn: Connection, joining: Joining, *, left_out: Sequence[str], limit: int
) -> Step:
    """Move refused rows to the batch; those with a code of `left_out` become remarks."""
    cursor = await conn.execute(
        MOVE_REJECTED, {**_places(joining), "left_out": list(left_out), "limit": limit}
    )
    taken, added = _counts(await cursor.fetchone(), of=2)
    return Step(taken=taken, rows=added, refused=added)


# By now the marks that are left are those of rows that did mend another.
MOVE_WARNINGS = """
UPDATE row_warnings w
   SET batch_id = %(batch_id)s,
       line = coalesce(
           (SELECT m.error_line FROM staged_mends m
             WHERE m.upload_id = %(upload_id)s AND m.line = w.line),
           w.line + %(first_line)s)
 WHERE ctid IN (SELECT ctid FROM row_warnings WHERE batch_id = %(upload_id)s LIMIT %(limit)s)
"""


async def move_warnings(conn: Connection, joining: Joining, *, limit: int) -> Step:
    """Move remarks to the batch, once every item is there."""
    cursor = await conn.execute(MOVE_WARNINGS, {**_places(joining), "limit": limit})
    return Step(taken=cursor.rowcount)


COUNT = """
WITH counted AS (
    UPDATE batches
       SET total_rows = total_rows + %(rows)s, refused_rows = refused_rows + %(refused)s,
           expired = '{}', updated_at = %(now)s
     WHERE id = %(batch_id)s
)
UPDATE uploads SET updated_at = %(now)s WHERE id = %(upload_id)s
"""


async def count(
    conn: Connection, joining: Joining, *, rows: int, refused: int, now: datetime
) -> None:
    """Count what has joined, and show life."""
    await conn.execute(COUNT, {**_places(joining), "rows": rows, "refused": refused, "now": now})


END = """
UPDATE uploads SET state = 'done', ended_at = %(now)s, updated_at = %(now)s
 WHERE id = %(upload_id)s
"""

FORGET_MENDS = "DELETE FROM staged_mends WHERE upload_id = %(upload_id)s"


async def end(conn: Connection, joining: Joining, *, now: datetime) -> None:
    """Note that every row has joined."""
    await conn.execute(FORGET_MENDS, {"upload_id": joining.upload_id})
    await conn.execute(END, {"upload_id": joining.upload_id, "now": now})


FIND_REFUSED = """
SELECT line FROM rejected_rows WHERE batch_id = %(batch_id)s AND line = ANY (%(lines)s)
"""


async def find_refused(conn: Connection, *, batch_id: UUID, lines: Sequence[int]) -> set[int]:
    """Return which of these lines of the batch are refused, and so can be mended."""
    cursor = await conn.execute(FIND_REFUSED, {"batch_id": batch_id, "lines": list(lines)})
    return {int(str(row[0])) for row in await cursor.fetchall()}


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundItem:
    """An item that a row of a file names."""

    has_failed: bool
    is_taken_out: bool
    """Erased, or kept no longer."""


FIND_ITEMS = f"""
SELECT i.id, i.phase = 'done' AND i.status = ANY (%(statuses)s),
       (SELECT d.payload FROM item_data d WHERE d.item_id = i.id) IN {TAKEN_OUT}
  FROM items i WHERE i.id = ANY (%(ids)s) AND i.batch_id = %(batch_id)s
"""


async def find_items(
    conn: Connection, *, batch_id: UUID, ids: Sequence[UUID], statuses: Sequence[str]
) -> dict[UUID, FoundItem]:
    """Return which of these items the batch has, and how each stands."""
    cursor = await conn.execute(
        FIND_ITEMS, {"batch_id": batch_id, "ids": list(ids), "statuses": list(statuses)}
    )
    return {
        UUID(str(item_id)): FoundItem(has_failed=bool(failed), is_taken_out=bool(taken_out))
        for item_id, failed, taken_out in await cursor.fetchall()
    }


def _places(joining: Joining) -> dict[str, object]:
    return {
        "upload_id": joining.upload_id,
        "batch_id": joining.batch_id,
        "first_line": joining.first_line,
    }


def _counts(row: tuple[object, ...] | None, *, of: int) -> tuple[int, ...]:
    return tuple(int(str(value)) for value in row) if row else (0,) * of

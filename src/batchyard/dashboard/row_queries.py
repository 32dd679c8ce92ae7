"""The SELECTs behind the pages about refused rows and about what happened; read-only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row

from batchyard.store.db import Connection


@dataclass(frozen=True, kw_only=True, slots=True)
class RefusedLine:
    """A row that became no item, or a refused correction of one."""

    line: int
    code: str
    reason: str
    cells: Sequence[object] | Mapping[str, object]
    columns: Sequence[str] | None
    """The header of its file; None where rows came as objects."""
    item_id: UUID | None

    @property
    def named(self) -> Sequence[tuple[str, str]]:
        """The cells that hold something, with the names of their columns."""
        if isinstance(self.cells, Mapping):
            pairs = list(self.cells.items())
        else:
            names = [*(self.columns or ()), *("" for _ in self.cells)]
            pairs = list(zip(names, self.cells, strict=False))
        return [(str(name), str(cell)) for name, cell in pairs if cell not in ("", None)]


LIST_REFUSED = """
SELECT r.line, r.code, r.reason, r.cells, coalesce(u.columns, b.columns) AS columns, r.item_id
  FROM rejected_rows r
  JOIN batches b ON b.id = r.batch_id
  LEFT JOIN uploads u ON u.id = r.upload_id
 WHERE r.batch_id = %(batch_id)s AND b.team_id = %(team_id)s
   AND (%(code)s::text IS NULL OR r.code = %(code)s)
   AND (%(from_line)s::int IS NULL OR r.line {compares} %(from_line)s)
 ORDER BY r.line {direction}
 LIMIT %(limit)s
"""


async def list_refused(
    conn: Connection,
    *,
    team_id: int,
    batch_id: UUID,
    code: str | None,
    from_line: int | None,
    backwards: bool,
    limit: int,
) -> list[RefusedLine]:
    """List refused rows behind (or before) a line, in their order."""
    query = LIST_REFUSED.format(
        compares="<" if backwards else ">", direction="DESC" if backwards else "ASC"
    )
    async with conn.cursor(row_factory=class_row(RefusedLine)) as cursor:
        await cursor.execute(
            query.encode(),
            {
                "team_id": team_id,
                "batch_id": batch_id,
                "code": code,
                "from_line": from_line,
                "limit": limit,
            },
            prepare=False,
        )
        rows = await cursor.fetchall()
    return rows[::-1] if backwards else rows


# Counted by the verdicts of each upload, not by the rows: there may be a million. Verdicts that
# only remarked, and those whose rows were all corrected, are found by the index to have no row.
LIST_CODES = """
SELECT code, sum(n::int)::int AS n
  FROM uploads u, jsonb_each_text(u.codes) AS c (code, n)
 WHERE u.batch_id = %(batch_id)s AND u.team_id = %(team_id)s
   AND EXISTS (SELECT FROM rejected_rows r WHERE r.batch_id = u.batch_id AND r.code = c.code)
 GROUP BY code ORDER BY n DESC, code
"""


async def list_codes(conn: Connection, *, team_id: int, batch_id: UUID) -> dict[str, int]:
    """Return how often each verdict that still refuses rows was given when the files came in."""
    cursor = await conn.execute(LIST_CODES, {"batch_id": batch_id, "team_id": team_id})
    return {str(code): int(str(n)) for code, n in await cursor.fetchall()}


# Counted as above. Only for a code that may have refused the rows instead, as the upload wanted,
# are the remarks themselves looked at: for one of them.
LIST_REMARKS = """
SELECT code, sum(n::int)::int AS n
  FROM uploads u, jsonb_each_text(u.codes) AS c (code, n)
 WHERE u.batch_id = %(batch_id)s AND u.team_id = %(team_id)s AND u.state <> 'reading'
   AND (%(upload_id)s::uuid IS NULL OR u.id = %(upload_id)s)
   AND c.code = ANY (%(codes)s)
   AND (c.code <> ALL (%(either)s)
        OR EXISTS (SELECT FROM row_warnings w
                    WHERE w.batch_id = u.batch_id AND w.code = c.code))
 GROUP BY code ORDER BY n DESC, code
"""


async def list_remarks(
    conn: Connection,
    *,
    team_id: int,
    batch_id: UUID,
    upload_id: UUID | None,
    codes: Sequence[str],
    either: Sequence[str],
) -> dict[str, int]:
    """Return how often each of `codes` was remarked when the batch's files, or one, came in.

    Those of `either` may have refused rows instead.
    """
    cursor = await conn.execute(
        LIST_REMARKS,
        {
            "team_id": team_id,
            "batch_id": batch_id,
            "upload_id": upload_id,
            "codes": list(codes),
            "either": list(either),
        },
    )
    return {str(code): int(str(n)) for code, n in await cursor.fetchall()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Twin:
    """Another batch of the very same file."""

    batch_id: UUID
    name: str


FIND_TWIN = """
SELECT t.batch_id, coalesce(nullif(b.reference, ''), b.file_name, b.identifier,
                            left(replace(b.id::text, '-', ''), 12)) AS name
  FROM uploads u
  JOIN uploads t ON t.team_id = u.team_id AND t.sha256 = u.sha256 AND t.state = 'done'
       AND t.id <> u.id AND t.ended_at <= u.ended_at
  JOIN batches b ON b.id = t.batch_id AND b.deleted_at IS NULL AND b.state <> 'cancelled'
 WHERE u.batch_id = %(batch_id)s AND u.team_id = %(team_id)s
 ORDER BY t.ended_at DESC
 LIMIT 1
"""


async def find_twin(conn: Connection, *, team_id: int, batch_id: UUID) -> Twin | None:
    """Return the batch that the file of this one went into before."""
    async with conn.cursor(row_factory=class_row(Twin)) as cursor:
        await cursor.execute(FIND_TWIN, {"team_id": team_id, "batch_id": batch_id})
        return await cursor.fetchone()


@dataclass(frozen=True, kw_only=True, slots=True)
class Happening:
    """An event of a batch."""

    id: int
    xid: int
    type: str
    item_id: UUID | None
    data: Mapping[str, object]
    at: datetime


LIST_EVENTS = """
SELECT id, xid::text::bigint AS xid, type, item_id, data, at
  FROM events
 WHERE batch_id = %(batch_id)s AND team_id = %(team_id)s
   AND (%(from_xid)s::text IS NULL
        OR (xid, id) < (%(from_xid)s::text::xid8, %(from_id)s::bigint))
 ORDER BY xid DESC, id DESC
 LIMIT %(limit)s
"""


async def list_events(
    conn: Connection, *, team_id: int, batch_id: UUID, start: tuple[int, int] | None, limit: int
) -> list[Happening]:
    """List events of a batch, the newest first, those before `start`."""
    async with conn.cursor(row_factory=class_row(Happening)) as cursor:
        await cursor.execute(
            LIST_EVENTS,
            {
                "team_id": team_id,
                "batch_id": batch_id,
                "from_xid": None if start is None else str(start[0]),
                "from_id": None if start is None else start[1],
                "limit": limit,
            },
            prepare=False,
        )
        return await cursor.fetchall()


@dataclass(frozen=True, kw_only=True, slots=True)
class Trace:
    """A change that somebody made, as the audit log has it."""

    id: int
    actor: str
    """People by their name, as long as it is known."""
    action: str
    after: Mapping[str, object] | None
    at: datetime


LIST_TRACES = """
SELECT l.id, coalesce(nullif(u.name, ''), l.actor) AS actor, l.action, l.after, l.at
  FROM audit_log l
  LEFT JOIN users u ON u.team_id = l.team_id AND 'user ' || u.id = l.actor
 WHERE l.team_id = %(team_id)s AND l.subject = %(subject)s
 ORDER BY l.id DESC
 LIMIT %(limit)s
"""


async def list_traces(conn: Connection, *, team_id: int, subject: str, limit: int) -> list[Trace]:
    """List who changed a thing, the newest first."""
    async with conn.cursor(row_factory=class_row(Trace)) as cursor:
        await cursor.execute(LIST_TRACES, {"team_id": team_id, "subject": subject, "limit": limit})
        return await cursor.fetchall()

"""Rows of `uploads`: what a file is, and how far its import has come."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from batchyard.store.db import Connection


@dataclass(frozen=True, kw_only=True, slots=True)
class Upload:
    """A file that came, or is coming."""

    id: UUID
    batch_id: UUID
    state: str
    file_name: str | None
    format: str | None
    delimiter: str | None
    columns: list[str] | None
    mapping: Mapping[str, str | None]
    sha256: bytes | None
    bytes: int
    total_bytes: int | None
    rows: int
    accepted: int
    corrected: int
    refused: int
    skipped: int
    codes: Mapping[str, int]
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None


INSERT = """
INSERT INTO uploads (id, team_id, batch_id, total_bytes, created_at, updated_at)
VALUES (%(id)s, %(team_id)s, %(batch_id)s, %(total_bytes)s, %(now)s, %(now)s)
"""


async def insert(
    conn: Connection,
    *,
    upload_id: UUID,
    team_id: int,
    batch_id: UUID,
    total_bytes: int | None,
    now: datetime,
) -> None:
    """Write an upload whose batch is there."""
    await conn.execute(
        INSERT,
        {
            "id": upload_id,
            "team_id": team_id,
            "batch_id": batch_id,
            "total_bytes": total_bytes,
            "now": now,
        },
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """What an upload has come to so far."""

    bytes: int = 0
    rows: int = 0
    accepted: int = 0
    corrected: int = 0
    refused: int = 0
    skipped: int = 0
    codes: Mapping[str, int] = field(default_factory=dict)


RECORD = """
UPDATE uploads
   SET bytes = %(bytes)s, rows = %(rows)s, accepted = %(accepted)s, corrected = %(corrected)s,
       refused = %(refused)s, skipped = %(skipped)s, codes = %(codes)s, updated_at = %(now)s
 WHERE id = %(id)s
"""


async def record(conn: Connection, *, upload_id: UUID, progress: Progress, now: datetime) -> None:
    """Write how far an upload has come."""
    await conn.execute(
        RECORD,
        {
            "id": upload_id,
            "bytes": progress.bytes,
            "rows": progress.rows,
            "accepted": progress.accepted,
            "corrected": progress.corrected,
            "refused": progress.refused,
            "skipped": progress.skipped,
            "codes": Jsonb(dict(progress.codes)),
            "now": now,
        },
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class FileFacts:
    """What is known of a file once it was read."""

    name: str | None
    format: str
    delimiter: str | None
    columns: tuple[str, ...] | None
    mapping: Mapping[str, str | None]
    header_hash: bytes | None
    sha256: bytes


DESCRIBE = """
UPDATE uploads
   SET file_name = %(name)s, format = %(format)s, delimiter = %(delimiter)s,
       columns = %(columns)s, mapping = %(mapping)s, header_hash = %(header_hash)s,
       sha256 = %(sha256)s, state = %(state)s, updated_at = %(now)s,
       ended_at = CASE WHEN %(state)s = 'done' THEN %(now)s::timestamptz END
 WHERE id = %(id)s
"""


async def describe(
    conn: Connection, *, upload_id: UUID, facts: FileFacts, state: str, now: datetime
) -> None:
    """Write what the file is, and whether its rows are where they belong."""
    await conn.execute(
        DESCRIBE,
        {
            "id": upload_id,
            "name": facts.name,
            "format": facts.format,
            "delimiter": facts.delimiter,
            "columns": None if facts.columns is None else list(facts.columns),
            "mapping": Jsonb(dict(facts.mapping)),
            "header_hash": facts.header_hash,
            "sha256": facts.sha256,
            "state": state,
            "now": now,
        },
    )


# Held until the transaction ends. The blank keeps it apart from every `Idempotency-Key`.
LOCK_CONTENT = """
SELECT pg_advisory_xact_lock(hashtextextended('file ' || encode(%(sha256)s, 'hex'), %(team_id)s))
"""


async def lock_content(conn: Connection, *, team_id: int, sha256: bytes) -> None:
    """Wait until nobody else takes the very same file, and let nobody before this commits.

    Comes before any lock on a row: whoever has one of those must not wait here.
    """
    await conn.execute(LOCK_CONTENT, {"team_id": team_id, "sha256": sha256})


# Also one whose rows are still joining their batch: it is taken, whatever happens. The files of
# this content are found first: with the order of time in sight a plan could go through all files of
# the team from the latest one on.
FIND_SAME = """
WITH same AS MATERIALIZED (
    SELECT id, batch_id, created_at FROM uploads
     WHERE team_id = %(team_id)s AND sha256 = %(sha256)s AND state <> 'reading'
       AND (state = 'joining' OR ended_at > %(since)s)
)
SELECT same.batch_id
  FROM same JOIN batches b ON b.id = same.batch_id
 WHERE same.id <> %(id)s AND b.deleted_at IS NULL AND b.state <> 'cancelled'
 ORDER BY same.created_at DESC
 LIMIT 1
"""


async def find_same(
    conn: Connection, *, team_id: int, upload_id: UUID, sha256: bytes, since: datetime
) -> UUID | None:
    """Return the batch that the very same file went into; its upload was not ended by `since`."""
    cursor = await conn.execute(
        FIND_SAME, {"team_id": team_id, "id": upload_id, "sha256": sha256, "since": since}
    )
    row = await cursor.fetchone()
    return row[0] if row is not None and isinstance(row[0], UUID) else None


UPLOAD = """
SELECT id, batch_id, state, file_name, format, delimiter, columns, mapping, sha256, bytes,
       total_bytes, rows, accepted, corrected, refused, skipped, codes, created_at, updated_at,
       ended_at
  FROM uploads
"""

READ = f"{UPLOAD} WHERE id = %(id)s AND team_id = %(team_id)s"


async def read(conn: Connection, *, team_id: int, upload_id: UUID) -> Upload | None:
    """Read an upload of a team."""
    async with conn.cursor(row_factory=class_row(Upload)) as cursor:
        await cursor.execute(READ, {"id": upload_id, "team_id": team_id})
        return await cursor.fetchone()


LIST_OF_BATCH = (
    f"{UPLOAD} WHERE batch_id = %(batch_id)s AND team_id = %(team_id)s ORDER BY created_at, id"
)


async def list_of_batch(conn: Connection, *, team_id: int, batch_id: UUID) -> list[Upload]:
    """List the uploads of a batch in the order they came."""
    async with conn.cursor(row_factory=class_row(Upload)) as cursor:
        await cursor.execute(LIST_OF_BATCH, {"batch_id": batch_id, "team_id": team_id})
        return await cursor.fetchall()


LIST_UNDER_WAY = (
    f"{UPLOAD} WHERE team_id = %(team_id)s AND state <> 'done' ORDER BY created_at DESC LIMIT 100"
)


async def list_under_way(conn: Connection, *, team_id: int) -> list[Upload]:
    """List a team's uploads that are being read, or are joining their batch."""
    async with conn.cursor(row_factory=class_row(Upload)) as cursor:
        await cursor.execute(LIST_UNDER_WAY, {"team_id": team_id})
        return await cursor.fetchall()

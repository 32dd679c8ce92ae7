"""The row report of a batch: what became of the rows of its files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from batchyard.errors import NotFound
from batchyard.models import Team
from batchyard.store import row_reports, uploads
from batchyard.store.db import Connection, Database
from batchyard.store.row_reports import (
    FIRST_WARNING,
    RefusedRow,
    ReportedBatch,
    ReportedWarning,
    WarningPlace,
)
from batchyard.store.uploads import Upload

PAGE = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class RowReport:
    """What became of the rows of a batch."""

    rows: int
    accepted: int
    refused: int
    refused_by_code: Mapping[str, int]
    warned_by_code: Mapping[str, int]
    uploads: Sequence[Upload]


async def read_row_report(db: Database, *, team: Team, batch_id: UUID) -> RowReport:
    """Count what became of the rows of a batch. Raises `NotFound`."""
    async with db.pool.connection() as conn:
        batch = await _read(conn, team, batch_id)
        refused, warned = await row_reports.count_codes(conn, batch_id=batch_id)
        files = await uploads.list_of_batch(conn, team_id=team.id, batch_id=batch_id)
    return RowReport(
        rows=batch.total_rows,
        accepted=batch.total_rows - batch.refused_rows,
        refused=batch.refused_rows,
        refused_by_code=refused,
        warned_by_code=warned,
        uploads=files,
    )


async def list_refused_rows(
    db: Database,
    *,
    team: Team,
    batch_id: UUID,
    after: int = 0,
    limit: int = PAGE,
    code: str | None = None,
) -> list[RefusedRow]:
    """List refused rows behind a line. Raises `NotFound`."""
    async with db.pool.connection() as conn:
        await _read(conn, team, batch_id)
        return await row_reports.list_refused(
            conn, batch_id=batch_id, after=after, limit=limit, code=code
        )


async def list_row_warnings(
    db: Database,
    *,
    team: Team,
    batch_id: UUID,
    after: WarningPlace = FIRST_WARNING,
    limit: int = PAGE,
    code: str | None = None,
) -> list[ReportedWarning]:
    """List remarks behind the place of one of them. Raises `NotFound`."""
    async with db.pool.connection() as conn:
        await _read(conn, team, batch_id)
        return await row_reports.list_warnings(
            conn, batch_id=batch_id, after=after, limit=limit, code=code
        )


async def _read(conn: Connection, team: Team, batch_id: UUID) -> ReportedBatch:
    batch = await row_reports.read_batch(conn, team_id=team.id, batch_id=batch_id)
    if batch is None:
        raise NotFound("There is no such batch.")
    return batch

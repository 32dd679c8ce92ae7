"""The rows of a batch that need a person: refused ones, and after the run failed ones."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

from batchyard.errors import InvalidRequest, NotFound
from batchyard.intake.files import Format
from batchyard.intake.mend_files import (
    MEDIA_TYPES,
    Layout,
    MendRow,
    SheetWriter,
    closing,
    failed_cells,
    refused_cells,
    render,
)
from batchyard.models import Kind, Team
from batchyard.operations.changes import FAILED_STATUSES
from batchyard.store import row_reports, uploads
from batchyard.store.db import Database
from batchyard.store.row_reports import FailedRow, RefusedRow, ReportedBatch
from batchyard.store.uploads import Upload

ROWS_AT_ONCE = 1000
FIRST_ID = UUID(int=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class MendFile:
    """A file to be corrected and uploaded into the same batch."""

    name: str
    media_type: str
    content: AsyncIterator[bytes]


async def open_mend_file(
    db: Database,
    *,
    team: Team,
    batch_id: UUID,
    format_: Format | None = None,
    is_exact: bool = False,
    with_failed: bool = True,
) -> MendFile:
    """Return the rows that can be mended, in the columns and the format of the first upload.

    `format_` chooses another one. Raises `NotFound`, and `InvalidRequest` for a table of what came
    as objects.
    """
    async with db.pool.connection() as conn:
        batch = await row_reports.read_batch(conn, team_id=team.id, batch_id=batch_id)
        if batch is None:
            raise NotFound("There is no such batch.")
        files = await uploads.list_of_batch(conn, team_id=team.id, batch_id=batch_id)
    layout = _layout(batch, files, format_=format_, is_exact=is_exact)
    rows = _rows(db, batch=batch, files=files, layout=layout, with_failed=with_failed)
    return MendFile(
        name=f"mend-{batch_id.hex[:12]}.{layout.format}",
        media_type=MEDIA_TYPES[layout.format],
        content=_sheet(rows, layout) if layout.format is Format.XLSX else _text(rows, layout),
    )


def _layout(
    batch: ReportedBatch, files: list[Upload], *, format_: Format | None, is_exact: bool
) -> Layout:
    first = files[0] if files else None
    chosen = format_ or Format((first.format if first else None) or _usual(batch))
    columns = list(batch.columns or ())
    mapping: dict[str, str | None] = {}
    for one in files:
        columns += [column for column in one.columns or () if column not in columns]
        mapping |= {name: meaning for name, meaning in one.mapping.items() if name not in mapping}
    if chosen in {Format.CSV, Format.XLSX} and not columns:
        raise InvalidRequest("The rows came as objects, not in columns; ask for JSON or NDJSON.")
    return Layout(
        kind=Kind(batch.kind),
        format=chosen,
        delimiter=(first.delimiter if first else None) or ",",
        columns=tuple(dict.fromkeys(columns)),
        mapping=mapping,
        is_exact=is_exact,
    )


def _usual(batch: ReportedBatch) -> Format:
    return Format.CSV if batch.columns else Format.NDJSON


async def _rows(
    db: Database,
    *,
    batch: ReportedBatch,
    files: list[Upload],
    layout: Layout,
    with_failed: bool,
) -> AsyncIterator[list[MendRow]]:
    columns = {one.id: one.columns for one in files}
    line = 0
    while True:
        async with db.pool.connection() as conn:
            refused = await row_reports.list_refused(
                conn, batch_id=batch.id, after=line, limit=ROWS_AT_ONCE
            )
        if not refused:
            break
        line = refused[-1].line
        yield [
            _refused(row, columns.get(row.upload_id or batch.id, batch.columns)) for row in refused
        ]
    after = (-1, FIRST_ID)
    while with_failed:
        async with db.pool.connection() as conn:
            failed = await row_reports.list_failed(
                conn,
                batch_id=batch.id,
                statuses=FAILED_STATUSES[layout.kind],
                after=after,
                limit=ROWS_AT_ONCE,
            )
        if not failed:
            break
        after = failed[-1].position, failed[-1].item_id
        yield [_failed(row, layout) for row in failed]


def _refused(row: RefusedRow, columns: list[str] | None) -> MendRow:
    cells, beyond = refused_cells(row.cells, columns)
    return MendRow(
        error_code=row.code,
        error=row.reason,
        error_line=row.line,
        item_id=None if row.item_id is None else str(row.item_id),
        cells=cells,
        beyond=beyond,
    )


def _failed(row: FailedRow, layout: Layout) -> MendRow:
    return MendRow(
        error_code=row.error_code or row.status,
        error=row.error_message or f"It ended {row.status}.",
        error_line=None,
        item_id=str(row.item_id),
        cells=failed_cells(row.payload, row.number, layout),
    )


async def _text(rows: AsyncIterator[list[MendRow]], layout: Layout) -> AsyncIterator[bytes]:
    is_first = True
    async for block in rows:
        yield render(block, layout, is_first=is_first)
        is_first = False
    if is_first:
        yield render([], layout, is_first=True)
    yield closing(layout)


async def _sheet(rows: AsyncIterator[list[MendRow]], layout: Layout) -> AsyncIterator[bytes]:
    writer = await asyncio.to_thread(SheetWriter, layout)
    try:
        async for block in rows:
            await asyncio.to_thread(writer.add, block)
        pieces = writer.read()
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            yield piece
    finally:
        await asyncio.to_thread(writer.remove)

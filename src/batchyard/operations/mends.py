"""The rows of a batch that need a person: refused ones, and after the run failed ones."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from batchyard.errors import NotFound
from batchyard.intake.columns import (
    MAX_COLUMNS,
    MEND_COLUMNS,
    Columns,
    first_meanings,
    recall_names,
)
from batchyard.intake.files import Format
from batchyard.intake.mend_files import (
    MEDIA_TYPES,
    TABLES,
    Column,
    Layout,
    MendRow,
    SheetWriter,
    closing,
    failed_cells,
    own_columns,
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
BYTES_AT_ONCE = 8 * 1024 * 1024
"""Of rows that are held at once: each may have a megabyte. One alone may be larger."""
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
    marks: Sequence[str] = MEND_COLUMNS,
    is_exact: bool = False,
    with_failed: bool = True,
) -> MendFile:
    """Return the rows that can be mended, in the columns and the format of the first upload.

    `format_` chooses another one, `marks` what stands behind the columns of the upload. Safe to
    open in a spreadsheet unless it is exact. Raises `NotFound`, and `InvalidRequest` where the rows
    do not fit into a spreadsheet.
    """
    async with db.pool.connection() as conn:
        batch = await row_reports.read_batch(conn, team_id=team.id, batch_id=batch_id)
        if batch is None:
            raise NotFound("There is no such batch.")
        files = await uploads.list_of_batch(conn, team_id=team.id, batch_id=batch_id)
    layout = _layout(batch, files, format_=format_, marks=marks, is_exact=is_exact)
    has_objects = not layout.columns or any(one.columns is None for one in files)
    if layout.format in TABLES:
        # What objects have are columns as well, and what failed items have besides: such rows are
        # read twice.
        rows = _rows(
            db, batch=batch, layout=layout, with_refused=has_objects, with_failed=with_failed
        )
        layout = replace(layout, columns=await _find_columns(layout, rows))
    rows = _rows(db, batch=batch, layout=layout, with_refused=True, with_failed=with_failed)
    if layout.format in TABLES:
        rows = _fitting(rows, layout)
    return MendFile(
        name=f"mend-{batch_id.hex[:12]}.{layout.format}",
        media_type=MEDIA_TYPES[layout.format],
        content=(
            await _begun(_sheet(rows, layout))
            if layout.format is Format.XLSX
            else _text(rows, layout)
        ),
    )


def _layout(
    batch: ReportedBatch,
    files: Sequence[Upload],
    *,
    format_: Format | None,
    marks: Sequence[str],
    is_exact: bool,
) -> Layout:
    first = files[0] if files else None
    usual = Format.CSV if batch.columns else Format.NDJSON
    headers = (batch.columns, *(one.columns for one in files))
    found = (column for names in headers for column in own_columns(names or ()))
    columns = tuple(dict.fromkeys(found))
    remembered = first_meanings(pair for one in files for pair in one.mapping.items())
    # Named as the file will be when it comes back, whatever each of the files called them.
    meanings = recall_names(
        [*(name for name, _ in columns), *marks],
        Columns(kind=Kind(batch.kind), remembered=remembered),
    )
    return Layout(
        kind=Kind(batch.kind),
        format=format_ or Format((first.format if first else None) or usual),
        delimiter=(first.delimiter if first else None) or ",",
        columns=columns,
        meanings=dict(zip(columns, meanings, strict=False)),
        marks=tuple(marks),
        is_exact=is_exact,
    )


async def _find_columns(layout: Layout, rows: AsyncIterator[list[MendRow]]) -> tuple[Column, ...]:
    """Return the columns of a table, no more of them than come back.

    Those of a failed item are all there or none of its own; a refused row has as many as fit.
    """
    room = MAX_COLUMNS - len(layout.marks)
    found: dict[Column, None] = dict.fromkeys(layout.columns)
    async for block in rows:
        for row in block:
            new = [column for column in row.cells if column not in found]
            if len(found) + len(new) <= room:
                found |= dict.fromkeys(new)
            elif row.error_line is not None:
                found |= dict.fromkeys(new[: max(room - len(found), 0)])
    return tuple(found)


async def _fitting(
    rows: AsyncIterator[list[MendRow]], layout: Layout
) -> AsyncIterator[list[MendRow]]:
    """Leave out failed items that a table has not all columns for: they would lose values.

    Such an item has too many, or got them since the columns were found. Refused rows stay.
    """
    known = set(layout.columns)
    async for block in rows:
        yield [row for row in block if row.error_line is not None or row.cells.keys() <= known]


async def _rows(
    db: Database, *, batch: ReportedBatch, layout: Layout, with_refused: bool, with_failed: bool
) -> AsyncIterator[list[MendRow]]:
    if with_refused:
        async for refused in _refused_rows(db, batch):
            yield [_refused(row, row.columns or batch.columns, layout) for row in refused]
    if with_failed:
        async for failed in _failed_rows(db, batch, statuses=FAILED_STATUSES[layout.kind]):
            yield [_failed(row, layout) for row in failed]


async def _refused_rows(db: Database, batch: ReportedBatch) -> AsyncIterator[list[RefusedRow]]:
    line = 0
    while True:
        async with db.pool.connection() as conn:
            sizes = await row_reports.measure_refused(
                conn, batch_id=batch.id, after=line, limit=ROWS_AT_ONCE
            )
        if not sizes:
            return
        for count in _cut(sizes):
            async with db.pool.connection() as conn:
                rows = await row_reports.list_refused(
                    conn, batch_id=batch.id, after=line, limit=count
                )
            if not rows:
                # They were mended meanwhile.
                return
            line = rows[-1].line
            yield rows


async def _failed_rows(
    db: Database, batch: ReportedBatch, *, statuses: Sequence[str]
) -> AsyncIterator[list[FailedRow]]:
    after = (-1, FIRST_ID)
    while True:
        async with db.pool.connection() as conn:
            sizes = await row_reports.measure_failed(
                conn, batch_id=batch.id, statuses=statuses, after=after, limit=ROWS_AT_ONCE
            )
        if not sizes:
            return
        for count in _cut(sizes):
            async with db.pool.connection() as conn:
                rows = await row_reports.list_failed(
                    conn, batch_id=batch.id, statuses=statuses, after=after, limit=count
                )
            if not rows:
                # They are tried again meanwhile.
                return
            after = rows[-1].position, rows[-1].item_id
            yield rows


def _cut(sizes: Sequence[int]) -> Iterator[int]:
    """Yield how many rows of these sizes go together at a time."""
    count = held = 0
    for size in sizes:
        if count and held + size > BYTES_AT_ONCE:
            yield count
            count = held = 0
        count += 1
        held += size
    if count:
        yield count


def _refused(row: RefusedRow, names: Sequence[str] | None, layout: Layout) -> MendRow:
    cells, beyond = refused_cells(row.cells, names, layout)
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


async def _begun(content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Wait for the first piece, so that what cannot be is refused before anything is sent."""
    first = await anext(content)

    async def whole() -> AsyncIterator[bytes]:
        yield first
        async for piece in content:
            yield piece

    return whole()


async def _sheet(rows: AsyncIterator[list[MendRow]], layout: Layout) -> AsyncIterator[bytes]:
    writer = await asyncio.to_thread(SheetWriter, layout)
    try:
        await asyncio.to_thread(writer.begin)
        async for block in rows:
            await asyncio.to_thread(writer.add, block)
        pieces = writer.read()
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            yield piece
    finally:
        await asyncio.to_thread(writer.remove)

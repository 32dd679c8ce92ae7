"""The row report of a batch, and the file in which its faulty rows are mended."""

from dataclasses import asdict
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import Response, StreamingResponse

from batchyard.api.operator.access import READ, Caller, KnownRoute
from batchyard.api.operator.places import WARNING, read_place
from batchyard.cursors import read_number, write_cursor
from batchyard.intake.files import Format
from batchyard.intake.mend_files import MEDIA_TYPES
from batchyard.operations import row_reports
from batchyard.operations.mends import open_mend_file
from batchyard.store.row_reports import FIRST_WARNING
from batchyard.store.uploads import Upload

router = APIRouter(tags=["Uploads"], route_class=KnownRoute)

Limit = Annotated[int, Query(ge=1, le=1000)]
Code = Annotated[str | None, Query(max_length=100, description="of the verdict")]
AnyFormat = Literal["csv", "xlsx", "json", "ndjson"]
MEND_FILE = {
    200: {
        "content": {
            media_type.partition(";")[0]: {"schema": {"type": "string", "format": "binary"}}
            for media_type in MEDIA_TYPES.values()
        }
    }
}


@router.get("/batches/{batch_id}/rows")
async def report_rows(
    caller: Annotated[Caller, READ],
    batch_id: UUID,
    *,
    code: Code = None,
    after_line: Annotated[int, Query(ge=0, le=2**31 - 1, description="the last line seen")] = 0,
    limit: Limit = 100,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before")] = None,
) -> dict[str, object]:
    """Return the row report: what each file brought, rows by verdict, the refused ones by line."""
    report = await row_reports.read_row_report(caller.db, team=caller.team, batch_id=batch_id)
    refused = await row_reports.list_refused_rows(
        caller.db,
        team=caller.team,
        batch_id=batch_id,
        after=after_line if cursor is None else read_number(cursor, most=2**31 - 1),
        limit=limit + 1,
        code=code,
    )
    last = refused[limit - 1].line if len(refused) > limit else None
    return {
        "rows": report.rows,
        "accepted": report.accepted,
        "refused": report.refused,
        "refused_by_code": report.refused_by_code,
        "warned_by_code": report.warned_by_code,
        "uploads": [shown_upload(one) for one in report.uploads],
        "data": [asdict(row) for row in refused[:limit]],
        "next_after_line": last,
        "next_cursor": None if last is None else write_cursor([last]),
    }


@router.get("/batches/{batch_id}/warnings")
async def list_warnings(
    caller: Annotated[Caller, READ],
    batch_id: UUID,
    code: Code = None,
    limit: Limit = 100,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before")] = None,
) -> dict[str, object]:
    """List remarks on rows that were accepted; those without a line are on a whole file."""
    found = await row_reports.list_row_warnings(
        caller.db,
        team=caller.team,
        batch_id=batch_id,
        after=read_place(cursor, WARNING, length=3) or FIRST_WARNING,
        limit=limit + 1,
        code=code,
    )
    last = found[limit - 1] if len(found) > limit else None
    return {
        "data": [
            {"line": one.line, "code": one.code, "reason": one.reason} for one in found[:limit]
        ],
        "next_cursor": None
        if last is None
        else write_cursor([last.line or 0, last.code, last.place]),
    }


@router.get(
    "/batches/{batch_id}/mend",
    response_class=StreamingResponse,
    responses=MEND_FILE,  # type: ignore[arg-type]  # an int is allowed
)
async def mend_file(
    caller: Annotated[Caller, READ],
    batch_id: UUID,
    format_: Annotated[
        AnyFormat | None, Query(alias="format", description="that of the first file unless said")
    ] = None,
    *,
    exact: Annotated[
        bool, Query(description="for programs: nothing is protected from spreadsheets")
    ] = False,
    failed: Annotated[bool, Query(description="items that failed too")] = True,
) -> Response:
    """Return the rows that need a person, in their own columns; corrected, it is sent back here."""
    file = await open_mend_file(
        caller.db,
        team=caller.team,
        batch_id=batch_id,
        format_=None if format_ is None else Format(format_),
        is_exact=exact,
        with_failed=failed,
    )
    return StreamingResponse(
        file.content,
        media_type=file.media_type,
        headers={
            "Content-Disposition": f'attachment; filename="{file.name}"',
            "Cache-Control": "private, no-store",
        },
    )


def shown_upload(one: Upload) -> dict[str, object]:
    """Return a file as this door shows it."""
    return {
        "id": one.id,
        "batch_id": one.batch_id,
        "state": one.state,
        "file_name": one.file_name,
        "format": one.format,
        "columns": one.columns,
        "mapping": one.mapping,
        "bytes": one.bytes,
        "total_bytes": one.total_bytes,
        "rows": one.rows,
        "accepted": one.accepted,
        "corrected": one.corrected,
        "refused": one.refused,
        "skipped": one.skipped,
        "codes": one.codes,
        "created_at": one.created_at,
        "updated_at": one.updated_at,
        "ended_at": one.ended_at,
    }

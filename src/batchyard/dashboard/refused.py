"""The refused rows of a batch: why, as a file to be corrected, and corrected back in."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse

from batchyard.dashboard import row_queries
from batchyard.dashboard.batch_head import batch_page, read_head, read_standing
from batchyard.dashboard.frame import put_notice
from batchyard.dashboard.remarks import Remark, read_remarks, tell_remarks
from batchyard.dashboard.visitors import PREFIX, READ, WRITE, Visitor
from batchyard.errors import InvalidRequest
from batchyard.intake.file_forms import FileForm
from batchyard.intake.files import Format
from batchyard.intake.options import IntakeOptions, UploadReport
from batchyard.intake.verdicts import ITEM_TAKEN_OUT, REFUSALS, ROW_NOT_REFUSED
from batchyard.operations import joins, mappings, mends
from batchyard.operations.traces import note_batch
from batchyard.store.db import Connection

PAGE = 50

router = APIRouter()

Line = Annotated[int | None, Query(ge=0, le=2**31 - 1)]


@router.get("/batches/{batch_id}/refused")
async def show_refused(
    request: Request,
    visitor: Annotated[Visitor, READ],
    batch_id: UUID,
    *,
    code: str = "",
    after: Line = None,
    before: Line = None,
) -> Response:
    """Show refused rows, a page of them."""
    head = await read_head(visitor, batch_id)
    known = code if code in REFUSALS else None
    is_before = before is not None
    async with visitor.db.pool.connection() as conn:
        codes = await row_queries.list_codes(conn, team_id=visitor.team.id, batch_id=batch_id)
        rows = await row_queries.list_refused(
            conn,
            team_id=visitor.team.id,
            batch_id=batch_id,
            code=known,
            from_line=before if is_before else after,
            backwards=is_before,
            limit=PAGE + 1,
        )
    has_more = len(rows) > PAGE
    if has_more:
        rows = rows[1:] if is_before else rows[:-1]
    return batch_page(
        request,
        visitor,
        "batch_refused.html",
        head=head,
        tab="/refused",
        rows=rows,
        code=known,
        codes=[word for word in codes if word in REFUSALS],
        verdicts=REFUSALS,
        remarks=await read_remarks(visitor, batch_id),
        # A page behind the last row is empty, whatever the batch has.
        is_paged=after is not None or before is not None,
        next=rows[-1].line if rows and (has_more or is_before) else None,
        previous=rows[0].line if rows and (has_more if is_before else after) else None,
    )


@router.get("/batches/{batch_id}/refused/file")
async def download_refused(visitor: Annotated[Visitor, READ], batch_id: UUID) -> Response:
    """Send the refused rows as a file of the kind that was uploaded, to be corrected."""
    try:
        file = await mends.open_mend_file(
            visitor.db, team=visitor.team, batch_id=batch_id, with_failed=False
        )
    except InvalidRequest:
        # They do not fit into a spreadsheet; a link has no room for a choice.
        file = await mends.open_mend_file(
            visitor.db,
            team=visitor.team,
            batch_id=batch_id,
            format_=Format.CSV,
            with_failed=False,
        )
    return StreamingResponse(
        file.content,
        media_type=file.media_type,
        headers={"Content-Disposition": f'attachment; filename="{file.name}"'},
    )


@router.post("/batches/{batch_id}/refused/file")
async def upload_mended(
    request: Request, visitor: Annotated[Visitor, WRITE], batch_id: UUID
) -> Response:
    """Take the corrected file; each of its rows mends the one it came from."""
    standing = await read_standing(visitor, batch_id)
    form = FileForm(
        request.headers.get("content-type", ""),
        request.stream(),
        limit=visitor.config.max_upload_bytes,
    )
    await form.read_fields()
    length = request.headers.get("content-length", "")
    options = IntakeOptions(
        columns=await mappings.find_columns(
            visitor.db, team=visitor.team, kind=standing.batch.kind, given=None, name=None
        ),
        refuses_unassigned=visitor.config.phone_check == "valid",
        refuses_same_file=visitor.config.refuse_same_file,
        total_bytes=int(length) if length.isdecimal() else None,
    )
    async with joins.add_rows(
        visitor.db, team=visitor.team, batch_id=batch_id, options=options
    ) as upload:
        async for chunk in form.chunks():
            await upload.feed(chunk)
        await upload.finish_file()

        async def trace(conn: Connection) -> None:
            report = upload.report()
            await note_batch(
                conn,
                team=visitor.team,
                actor=visitor.actor,
                batch_id=batch_id,
                action="batch.mend",
                state_before=str(upload.state_before),
                after={"accepted": report.accepted, "refused": report.refused},
                now=visitor.db.clock(),
            )

        report = await upload.join(file_name=form.file_name, seal=trace)
    # The page goes on by script: a redirect would be followed unseen and lose the notice.
    answer = Response(
        status_code=204, headers={"HX-Redirect": f"{PREFIX}/batches/{batch_id}/refused"}
    )
    remarks = await read_remarks(visitor, batch_id, upload_id=upload.batch_id)
    put_notice(answer, visitor.config, _told(visitor, report, remarks))
    return answer


def _told(visitor: Visitor, report: UploadReport, remarks: Sequence[Remark]) -> str:
    voice = visitor.voice
    taken = report.accepted + report.corrected
    before = report.codes.get(ROW_NOT_REFUSED, 0)
    emptied = report.codes.get(ITEM_TAKEN_OUT, 0)
    refused = report.refused - before - emptied
    sentences = [voice.count(taken, "1 row was taken.", "{n} rows were taken.")]
    if refused:
        sentences.append(voice.count(refused, "1 is still refused.", "{n} are still refused."))
    if before:
        sentences.append(voice.count(before, "1 was mended before.", "{n} were mended before."))
    if emptied:
        sentences.append(voice.count(emptied, "1 is not sent again.", "{n} are not sent again."))
    others = [remark for remark in remarks if remark.code != ROW_NOT_REFUSED]
    return " ".join([*sentences, *tell_remarks(voice, others)])

"""Results of a batch as files: for people, for programs, for the record."""

from collections.abc import AsyncIterator
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse

from batchyard.api.operator.access import READ, Caller, KnownRoute
from batchyard.errors import NotFound
from batchyard.intake.files import Format
from batchyard.operations import documents, evidence, results
from batchyard.operations.mends import open_mend_file

CSV = "text/csv; charset=utf-8"
NDJSON = "application/x-ndjson"
PDF = "application/pdf"
ZIP = "application/zip"

router = APIRouter(tags=["Results"], route_class=KnownRoute)


class CsvResponse(StreamingResponse):
    """A CSV, in the document as such."""

    media_type = CSV


class NdjsonResponse(StreamingResponse):
    """Lines of JSON, in the document as such."""

    media_type = NDJSON


class PdfResponse(StreamingResponse):
    """A PDF, in the document as such."""

    media_type = PDF


class ZipResponse(StreamingResponse):
    """A zip, in the document as such."""

    media_type = ZIP


@router.get("/batches/{batch_id}/results.csv", response_class=CsvResponse)
async def results_csv(
    caller: Annotated[Caller, READ],
    batch_id: UUID,
    *,
    exact: Annotated[
        bool, Query(description="for programs: nothing is protected from spreadsheets")
    ] = False,
) -> Response:
    """Return a row for each item, its result in columns of their own; made for spreadsheets."""
    batch = await results.find_batch(caller.db, team=caller.team, batch_id=batch_id)
    parts = results.render_results(caller.db, batch, is_exact=exact)
    return await _file(parts, CsvResponse, name=f"results-{batch_id}.csv")


@router.get("/batches/{batch_id}/results.ndjson", response_class=NdjsonResponse)
async def results_ndjson(caller: Annotated[Caller, READ], batch_id: UUID) -> Response:
    """Return a line of JSON for each item, with its attempts and its whole result."""
    batch = await results.find_batch(caller.db, team=caller.team, batch_id=batch_id)
    parts = results.render_ndjson(caller.db, batch)
    return await _file(parts, NdjsonResponse, name=f"results-{batch_id}.ndjson")


@router.get("/batches/{batch_id}/rejected.csv", response_class=CsvResponse)
async def rejected_csv(caller: Annotated[Caller, READ], batch_id: UUID) -> Response:
    """Return the refused rows with what is wrong; corrected, the file can be sent to `mend`."""
    file = await open_mend_file(
        caller.db, team=caller.team, batch_id=batch_id, format_=Format.CSV, with_failed=False
    )
    return await _file(file.content, CsvResponse, name=f"rejected-{batch_id}.csv")


@router.get("/batches/{batch_id}/labels.pdf", response_class=PdfResponse)
async def labels_pdf(request: Request, caller: Annotated[Caller, READ], batch_id: UUID) -> Response:
    """Return the labels of all booked shipments as one file; 404 where there is none."""
    batch = await results.find_batch(caller.db, team=caller.team, batch_id=batch_id)
    parts = documents.join_labels(
        caller.db,
        request.app.state.files,
        team=caller.team,
        batch_id=batch.id,
        format_="pdf",
        chosen=None,
    )
    first = await anext(parts, None)
    if first is None:
        raise NotFound("The batch has no labels.")
    return _answer(_all(first, parts), PdfResponse, name=f"labels-{batch_id}.pdf")


@router.get("/batches/{batch_id}/evidence.zip", response_class=ZipResponse)
async def evidence_zip(
    request: Request, caller: Annotated[Caller, READ], batch_id: UUID
) -> Response:
    """Return all there is of an ended batch, with the SHA-256 of each file in `manifest.json`."""
    batch = await results.find_batch(caller.db, team=caller.team, batch_id=batch_id)
    evidence.check_ended(batch)
    parts = evidence.render_evidence(caller.db, request.app.state.files, batch, team=caller.team)
    return await _file(parts, ZipResponse, name=f"evidence-{batch_id}.zip")


async def _file(
    parts: AsyncIterator[bytes], kind: type[StreamingResponse], *, name: str
) -> Response:
    """Answer with a file; its first part is made before, so that a fault can still be told."""
    first = await anext(parts, b"")
    return _answer(_all(first, parts), kind, name=name)


def _answer(parts: AsyncIterator[bytes], kind: type[StreamingResponse], *, name: str) -> Response:
    return kind(
        parts,
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "private, no-store",
        },
    )


async def _all(first: bytes, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for part in parts:
        yield part

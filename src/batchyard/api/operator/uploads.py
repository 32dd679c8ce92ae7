"""Lists into batches: a new batch, more rows, mended rows; as a file or as JSON."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Annotated
from uuid import UUID

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel

from batchyard.api.operator.access import READ, WRITE, Caller
from batchyard.api.operator.batches import find_kind
from batchyard.api.operator.forms import Incoming, receiving
from batchyard.api.operator.keyed import (
    DUPLICATE_HEADER,
    LongRoute,
    complete,
    fingerprint_of,
    held,
    response_of,
)
from batchyard.api.operator.lists import NewBatch, Rows, body_of, options_of
from batchyard.api.operator.reports import shown_upload
from batchyard.intake.options import UploadReport
from batchyard.operations import idempotency, imports, joins
from batchyard.operations.idempotency import Kept, Reservation
from batchyard.operations.traces import note_batch
from batchyard.store.db import Connection

router = APIRouter(tags=["Uploads"], route_class=LongRoute)


class Refusal(BaseModel):
    """A row that became no item."""

    line: int
    code: str
    reason: str


class Report(BaseModel):
    """What became of the rows."""

    batch_id: UUID
    rows: int
    accepted: int
    corrected: int
    refused: int
    skipped: int
    codes: dict[str, int]
    first_refusals: list[Refusal]
    duplicate_of: UUID | None = None
    offered_mapping: str | None = None


@router.post("/batches", status_code=201, response_model=Report, openapi_extra=body_of(NewBatch))
async def create_batch(request: Request, caller: Annotated[Caller, WRITE]) -> Response:
    """Make a batch of a list: CSV, XLSX, JSON or NDJSON as a file, or rows in a JSON body.

    Good rows become items; the others are in the row report and can be mended. The batch is
    open: it starts when it is dispatched.
    """

    async def perform(incoming: Incoming, found: Reservation | None) -> Response:
        said = await incoming.read_options(NewBatch)
        options = await options_of(request, caller, said, kind=said.kind)
        answer: list[Response] = []
        async with imports.import_file(caller.db, team=caller.team, options=options) as upload:
            async for chunk in incoming.chunks():
                await upload.feed(chunk)
            await upload.finish_file()

            async def seal(conn: Connection) -> None:
                report = upload.report()
                answer.append(_reported(upload.batch_id, report, status=201))
                await caller.note(
                    conn, "batch.create", subject=str(upload.batch_id), after=_counted(report)
                )
                await _remember(request, incoming, found, conn, answer[0])

            await upload.open(said.settings(incoming.file_name), seal=seal)
        return answer[0]

    return await _receive(request, caller, perform)


@router.post("/batches/{batch_id}/rows", response_model=Report, openapi_extra=body_of(Rows))
async def add_rows(request: Request, caller: Annotated[Caller, WRITE], batch_id: UUID) -> Response:
    """Add rows to a batch that was not cancelled; one that has ended runs again with them."""
    return await _join(request, caller, batch_id, action="batch.add_rows")


@router.post("/batches/{batch_id}/mend", response_model=Report, openapi_extra=body_of(Rows))
async def mend(request: Request, caller: Annotated[Caller, WRITE], batch_id: UUID) -> Response:
    """Take a corrected file of refused or failed rows: each mends the row it came from."""
    return await _join(request, caller, batch_id, action="batch.mend")


@router.get("/uploads")
async def list_uploads(caller: Annotated[Caller, READ]) -> dict[str, object]:
    """List the files that are coming in, or are joining their batch, the newest first."""
    rows = await imports.list_uploads(caller.db, team=caller.team)
    return {"data": [shown_upload(row) for row in rows]}


@router.get("/uploads/{upload_id}")
async def read_upload(caller: Annotated[Caller, READ], upload_id: UUID) -> dict[str, object]:
    """Return how far a file has come: bytes, rows read, accepted, refused."""
    found = await imports.read_upload(caller.db, team=caller.team, upload_id=upload_id)
    return shown_upload(found)


async def _join(request: Request, caller: Caller, batch_id: UUID, *, action: str) -> Response:
    async def perform(incoming: Incoming, found: Reservation | None) -> Response:
        kind = await find_kind(caller.db, caller, batch_id)
        said = await incoming.read_options(Rows)
        options = await options_of(request, caller, said, kind=kind)
        answer: list[Response] = []
        async with joins.add_rows(
            caller.db, team=caller.team, batch_id=batch_id, options=options
        ) as upload:
            async for chunk in incoming.chunks():
                await upload.feed(chunk)
            await upload.finish_file()

            async def seal(conn: Connection) -> None:
                report = upload.report()
                answer.append(_reported(batch_id, report, status=200))
                await note_batch(
                    conn,
                    team=caller.team,
                    actor=caller.actor,
                    batch_id=batch_id,
                    action=action,
                    state_before=str(upload.state_before),
                    after=_counted(report),
                    now=caller.db.clock(),
                )
                await _remember(request, incoming, found, conn, answer[0])

            await upload.join(file_name=incoming.file_name, seal=seal)
        return answer[0]

    return await _receive(request, caller, perform)


async def _receive(
    request: Request,
    caller: Caller,
    perform: Callable[[Incoming, Reservation | None], Awaitable[Response]],
) -> Response:
    """Take an upload; one that carries a key is done once, its answer commits with it."""
    async with (
        receiving(request, limit=caller.config.max_upload_bytes) as incoming,
        held(request, caller) as found,
    ):
        if not isinstance(found, Kept):
            return await perform(incoming, found)
        seen = fingerprint_of(request, await incoming.digest())
        return response_of(idempotency.replay(found, request=seen))


async def _remember(
    request: Request,
    incoming: Incoming,
    found: Reservation | None,
    conn: Connection,
    answer: Response,
) -> None:
    if found is not None:
        seen = fingerprint_of(request, await incoming.digest())
        await complete(found, conn, seen=seen, response=answer)


def _reported(batch_id: UUID, report: UploadReport, *, status: int) -> Response:
    told = {"batch_id": batch_id, **asdict(report)}
    told["first_refusals"] = [
        {"line": row.line, "code": row.code, "reason": row.reason} for row in report.first_refusals
    ]
    duplicate_of = report.duplicate_of
    headers = {} if duplicate_of is None else {DUPLICATE_HEADER: str(duplicate_of)}
    return Response(orjson.dumps(told), status, headers=headers, media_type="application/json")


def _counted(report: UploadReport) -> dict[str, object]:
    return {"rows": report.rows, "accepted": report.accepted, "refused": report.refused}

"""Lists into batches: a new batch, more rows, mended rows; as a file or as JSON."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from batchyard.api.operator import queries
from batchyard.api.operator.access import READ, WRITE, Caller
from batchyard.api.operator.batches import Retries
from batchyard.api.operator.forms import Incoming, parse
from batchyard.api.operator.keyed import (
    KeyedRoute,
    complete,
    fingerprint_of,
    key_of,
    response_of,
)
from batchyard.errors import NotFound
from batchyard.intake.options import Duplicates, IntakeOptions, RowPolicy, UploadReport
from batchyard.models import Kind, RetryPolicy
from batchyard.operations import idempotency, imports, joins, mappings, results
from batchyard.operations.audit import Actor, audited
from batchyard.operations.idempotency import Kept, Reservation
from batchyard.operations.imports import BatchSettings, CallSettings, ShipmentSettings
from batchyard.store.db import Connection

router = APIRouter(tags=["Uploads"], route_class=KeyedRoute)

Text = Annotated[str, Field(max_length=255, pattern=r"^[^\x00]*$")]


class Rows(BaseModel):
    """How a list is read and judged."""

    model_config = ConfigDict(extra="forbid")

    mapping: dict[str, str | None] | None = Field(
        default=None, description="what columns mean, by their names; null leaves one out"
    )
    mapping_name: Text | None = Field(default=None, description="a saved mapping")
    sheet: Text | None = Field(default=None, description="of a spreadsheet; else the first")
    policy: RowPolicy = RowPolicy.GOOD_ROWS
    duplicates: Duplicates = Field(default=Duplicates.KEEP, description="within the list")
    recent: Duplicates = Field(default=Duplicates.KEEP, description="against earlier batches")
    recent_days: int = Field(default=7, ge=0, le=365)


class NewBatch(Rows):
    """What is said of a new batch beside its list."""

    kind: Kind
    agent_id: UUID | None = Field(default=None, description="of calls")
    reference: Text | None = None
    identifier: Text | None = None
    from_numbers: list[Text] = Field(default_factory=list, max_length=1000)
    retries: Retries | None = None
    priority: int | None = Field(default=None, ge=0, le=9)
    bypass_windows: bool | None = None
    has_brake: bool | None = None
    refuses_same_file: bool = False

    @model_validator(mode="after")
    def check_agent(self) -> "NewBatch":
        """Refuse calls of nobody."""
        if (self.kind is Kind.CALL) is (self.agent_id is None):
            raise ValueError("calls need an agent_id, shipments have none")
        return self

    def settings(self, file_name: str | None) -> BatchSettings:
        """Return what the import takes."""
        said: dict[str, Any] = {
            "file_name": file_name,
            "reference": self.reference,
            "identifier": self.identifier,
            "retry_policy": RetryPolicy() if self.retries is None else self.retries.policy(),
            "priority": self.priority,
            "bypass_windows": self.bypass_windows,
            "has_brake": self.has_brake,
        }
        if self.agent_id is None:
            return ShipmentSettings(**said)
        return CallSettings(
            **said, agent_id=self.agent_id, creates_agent=False, from_numbers=self.from_numbers
        )


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


def _body(model: type[BaseModel]) -> dict[str, Any]:
    """Describe a list in the document: a form with a file, or JSON with rows."""
    shape = model.model_json_schema(ref_template="#/components/schemas/{model}")
    named = shape.pop("$defs", {})
    fields = {name: _resolved(field, named) for name, field in shape["properties"].items()}
    file = {"type": "string", "format": "binary", "description": "behind all other fields"}
    rows = {"type": "array", "items": {"type": "object"}}
    needed = shape.get("required", [])
    return {
        "requestBody": {
            "required": True,
            "content": {
                media_type: {
                    "schema": {
                        "type": "object",
                        "properties": fields | {name: one},
                        "required": [*needed, name],
                        "additionalProperties": False,
                    }
                }
                for media_type, name, one in (
                    ("multipart/form-data", "file", file),
                    ("application/json", "rows", rows),
                )
            },
        }
    }


def _resolved(shape: Any, named: dict[str, Any]) -> Any:  # noqa: ANN401  # JSON
    """Put named shapes where they are used; the document names only those of answers."""
    if isinstance(shape, list):
        return [_resolved(one, named) for one in shape]
    if not isinstance(shape, dict):
        return shape
    if "$ref" in shape:
        return _resolved(named[shape["$ref"].rpartition("/")[2]], named)
    return {name: _resolved(one, named) for name, one in shape.items()}


Seal = Callable[[Connection], Awaitable[None]]


@router.post("/batches", status_code=201, response_model=Report, openapi_extra=_body(NewBatch))
async def create_batch(request: Request, caller: Annotated[Caller, WRITE]) -> Response:
    """Make a batch of a list: CSV, XLSX, JSON or NDJSON as a file, or rows in a JSON body.

    Good rows become items; the others are in the row report and can be mended. The batch is
    open: it starts when it is dispatched.
    """

    async def perform(incoming: Incoming, held: Reservation | None) -> Response:
        said = parse(NewBatch, await incoming.read_options())
        options = await _options(request, caller, said, kind=said.kind)
        answer: list[Response] = []
        async with imports.import_file(caller.db, team=caller.team, options=options) as upload:
            async for chunk in incoming.chunks():
                await upload.feed(chunk)
            await upload.finish_file()

            async def seal(conn: Connection) -> None:
                answer.append(_reported(upload.batch_id, upload.report(), status=201))
                await _remember(request, incoming, held, conn, answer[0])

            await upload.open(said.settings(incoming.file_name), seal=seal)
        await _trace(caller, "batch.create", upload.batch_id)
        return answer[0]

    return await _receive(request, caller, perform)


@router.post("/batches/{batch_id}/rows", response_model=Report, openapi_extra=_body(Rows))
async def add_rows(request: Request, caller: Annotated[Caller, WRITE], batch_id: UUID) -> Response:
    """Add rows to a batch that was not cancelled; one that has ended runs again with them."""
    return await _join(request, caller, batch_id, action="batch.add_rows")


@router.post("/batches/{batch_id}/mend", response_model=Report, openapi_extra=_body(Rows))
async def mend(request: Request, caller: Annotated[Caller, WRITE], batch_id: UUID) -> Response:
    """Take a corrected file of refused or failed rows: each mends the row it came from."""
    return await _join(request, caller, batch_id, action="batch.mend")


@router.get("/batches/{batch_id}/rows")
async def report_rows(
    caller: Annotated[Caller, READ],
    batch_id: UUID,
    after_line: Annotated[int, Query(ge=0, le=2**31 - 1, description="the last line seen")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> dict[str, object]:
    """Return the row report: what each file brought, and the refused rows by line."""
    batch = await results.find_batch(caller.db, team=caller.team, batch_id=batch_id)
    uploads = await imports.list_uploads(caller.db, team=caller.team, batch_id=batch_id)
    refused = await results.list_refused(caller.db, batch, after_line=after_line, limit=limit + 1)
    return {
        "uploads": [
            {
                "id": one.id,
                "state": one.state,
                "file_name": one.file_name,
                "format": one.format,
                "rows": one.rows,
                "accepted": one.accepted,
                "corrected": one.corrected,
                "refused": one.refused,
                "skipped": one.skipped,
                "codes": one.codes,
                "created_at": one.created_at,
                "ended_at": one.ended_at,
            }
            for one in uploads
        ],
        "data": [asdict(row) for row in refused[:limit]],
        "next_after_line": refused[limit - 1].line if len(refused) > limit else None,
    }


async def _join(request: Request, caller: Caller, batch_id: UUID, *, action: str) -> Response:
    async with caller.db.pool.connection() as conn:
        kind = await queries.find_kind(conn, team_id=caller.team.id, batch_id=batch_id)
    if kind is None:
        raise NotFound("There is no such batch.")

    async def perform(incoming: Incoming, held: Reservation | None) -> Response:
        said = parse(Rows, await incoming.read_options())
        options = await _options(request, caller, said, kind=Kind(kind))
        answer: list[Response] = []
        async with joins.add_rows(
            caller.db, team=caller.team, batch_id=batch_id, options=options
        ) as upload:
            async for chunk in incoming.chunks():
                await upload.feed(chunk)
            await upload.finish_file()

            async def seal(conn: Connection) -> None:
                answer.append(_reported(batch_id, upload.staging.report(), status=200))
                await _remember(request, incoming, held, conn, answer[0])

            await upload.join(file_name=incoming.file_name, seal=seal)
        await _trace(caller, action, batch_id)
        return answer[0]

    return await _receive(request, caller, perform)


async def _receive(
    request: Request,
    caller: Caller,
    perform: Callable[[Incoming, Reservation | None], Awaitable[Response]],
) -> Response:
    """Take an upload; a form that carries a key is done once, its answer commits with it."""
    incoming = Incoming(request, limit=caller.config.max_upload_bytes)
    text = key_of(request)
    if text is None or not incoming.is_form:
        return await perform(incoming, None)
    key = idempotency.check_key(text)
    async with idempotency.reserved(caller.db, team=caller.team, key=key) as held:
        if isinstance(held, Kept):
            seen = fingerprint_of(request, await incoming.digest())
            return response_of(idempotency.replay(held, request=seen))
        return await perform(incoming, held)


async def _remember(
    request: Request,
    incoming: Incoming,
    held: Reservation | None,
    conn: Connection,
    answer: Response,
) -> None:
    if held is not None:
        seen = fingerprint_of(request, await incoming.digest())
        await complete(held, conn, seen=seen, response=answer)


async def _options(request: Request, caller: Caller, said: Rows, *, kind: Kind) -> IntakeOptions:
    length = request.headers.get("content-length", "")
    return IntakeOptions(
        columns=await mappings.find_columns(
            caller.db, team=caller.team, kind=kind, given=said.mapping, name=said.mapping_name
        ),
        sheet=said.sheet,
        policy=said.policy,
        duplicates=said.duplicates,
        recent=said.recent,
        recent_days=said.recent_days,
        refuses_unassigned=caller.config.phone_check == "valid",
        refuses_same_file=said.refuses_same_file if isinstance(said, NewBatch) else False,
        total_bytes=int(length) if length.isdecimal() else None,
    )


def _reported(batch_id: UUID, report: UploadReport, *, status: int) -> Response:
    told = {"batch_id": batch_id, **asdict(report)}
    told["first_refusals"] = [
        {"line": row.line, "code": row.code, "reason": row.reason} for row in report.first_refusals
    ]
    return Response(orjson.dumps(told), status, media_type="application/json")


async def _trace(caller: Caller, action: str, batch_id: UUID) -> None:
    async with audited(
        caller.db,
        team=caller.team,
        actor=Actor(name=caller.actor, source=caller.source),
        action=action,
        subject=str(batch_id),
    ):
        pass

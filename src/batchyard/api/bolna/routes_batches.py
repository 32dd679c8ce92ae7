"""Lists of calls: upload, schedule, read, stop, delete."""

from collections.abc import Collection
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from batchyard import schedule
from batchyard.api.bolna import (
    call_queries,
    document,
    headers,
    queries,
    translate,
    wire,
    wire_calls,
)
from batchyard.api.bolna.answers import Refusal
from batchyard.api.bolna.forms import Fields, digest, last, read_flag, read_form
from batchyard.api.bolna.gate import DoorRoute, ProvingRoute
from batchyard.api.bolna.keyed import Key, answer_once
from batchyard.api.bolna.requests import (
    AgentId,
    BatchId,
    PageNumber,
    PageSize,
    json_of,
    known_id,
    missing,
    page_of,
)
from batchyard.api.bolna.speaker import Recalls, Speaker, Speaks
from batchyard.api.bolna.translate import Version
from batchyard.api.bolna.upload import receive_batch
from batchyard.errors import Conflict, NotFound
from batchyard.intake.columns import ERROR, ERROR_CODE
from batchyard.intake.files import Format
from batchyard.models import BatchState, Kind, Team
from batchyard.operations import control, deletions
from batchyard.operations.access import Unproven
from batchyard.operations.batches import lock_any_list, schedule_batch
from batchyard.operations.mends import open_mend_file
from batchyard.operations.traces import Lock, changing_batch
from batchyard.operations.transactions import Joined, Transactions
from batchyard.schedule import ScheduleRules
from batchyard.store.batches import LockedBatch
from batchyard.store.db import Connection

NOT_STOPPABLE = "Batch is not queued or running"
"""As the vendor writes it."""

router = APIRouter(route_class=DoorRoute, tags=[document.BATCHES])
proving = APIRouter(route_class=ProvingRoute, tags=[document.BATCHES])
"""For the list that clients poll."""


@router.post(
    "/batches",
    response_model=wire.Created,
    responses={
        200: {**document.OF_BATCH, "headers": headers.OF_UPLOAD},
        201: {"model": wire.Created, **document.OF_BATCH, "headers": headers.OF_UPLOAD},
        **document.faults(409, 413, 422),
    },
    openapi_extra=document.UPLOAD_BODY,
)
async def create_batch(request: Request, speaker: Speaks, _key: Key = None) -> Response:
    """Upload a list of calls; 201 in version 2026-08."""
    status = 201 if speaker.version is Version.V2026 else 200

    def created(batch_id: UUID) -> Response:
        return JSONResponse({"batch_id": batch_id.hex, "state": "created"}, status)

    return await receive_batch(request, speaker, created=created)


@router.post(
    "/batches/schedule",
    response_model=wire.Scheduled,
    responses=document.faults(409, 413, 422),
    openapi_extra=document.schedule_body(names_batch=True),
)
async def schedule_by_field(request: Request, speaker: Speaks, _key: Key = None) -> Response:
    """Schedule the batch named by the field `batch_id`: the old form."""
    form = await read_form(request)
    batch_id = last(form, "batch_id")
    if batch_id is None:
        raise Refusal(400, "batch_id is missing.")
    return await _schedule(request, speaker, batch_id=batch_id, form=form)


@router.post(
    "/batches/{batch_id}/schedule",
    response_model=wire.Scheduled,
    responses=document.faults(409, 413, 422),
    openapi_extra=document.schedule_body(names_batch=False),
)
async def schedule_by_path(
    batch_id: BatchId, request: Request, speaker: Speaks, _key: Key = None
) -> Response:
    """Say when a batch starts; a time said before is replaced."""
    return await _schedule(request, speaker, batch_id=batch_id, form=await read_form(request))


@router.post(
    "/batches/{batch_id}/stop",
    response_model=wire.Done,
    responses=document.faults(409, 413, 422),
)
async def stop_batch(
    batch_id: BatchId, request: Request, speaker: Speaks, _key: Key = None
) -> Response:
    """Stop a batch: calls not yet made are not made, calls in progress run to their end."""
    stopped: list[UUID] = []

    async def perform(db: Transactions) -> Response:
        batch = known_id(batch_id, "batch")
        try:
            async with _changing(db, speaker, batch, "batch.stop") as work:
                await control.mark_stopped(work, team=speaker.team, kind=Kind.CALL, batch_id=batch)
        except Conflict:
            raise NotFound(NOT_STOPPABLE) from None
        stopped.append(batch)
        return JSONResponse({"message": "success", "state": "stopped"})

    answer = await answer_once(request, speaker, body=await request.body(), perform=perform)
    for batch in stopped:
        await control.end_unsent(speaker.db, batch_id=batch)
    return answer


@router.get("/batches/{batch_id}", response_model=wire.Batch, responses=document.faults())
async def read_batch(batch_id: BatchId, speaker: Speaks) -> Response:
    """Read one batch."""
    batch = known_id(batch_id, "batch")
    body = await queries.read_batch(speaker.db, view=speaker.view(), batch_id=batch)
    return json_of(body, "batch")


@router.delete("/batches/{batch_id}", response_model=wire.Done, responses=document.faults())
async def delete_batch(batch_id: BatchId, speaker: Speaks) -> Response:
    """Delete a batch in any state; it and its executions are gone at once."""
    batch = known_id(batch_id, "batch")
    async with _changing(speaker.db, speaker, batch, "batch.delete", lock=lock_any_list) as work:
        await deletions.delete_batch(work, team=speaker.team, kind=Kind.CALL, batch_id=batch)
    return JSONResponse({"message": "success", "state": "deleted"})


@proving.get(
    "/batches/{agent_id}/all", response_model=list[wire.Batch], responses=document.faults()
)
async def list_batches(
    agent_id: AgentId,
    speaker: Recalls,
    page_number: PageNumber = None,
    page_size: PageSize = None,
) -> Response:
    """List all batches of an agent, newest first."""
    body = await queries.list_batches(
        speaker.db,
        view=speaker.view(),
        agent_id=known_id(agent_id, "agent"),
        page=page_of(page_number, page_size),
        token_hash=speaker.unproven,
    )
    if body is None and speaker.unproven is not None:
        raise Unproven
    return json_of(body, "agent")


@router.get(
    "/batches/{batch_id}/executions",
    response_model=list[wire_calls.Execution] | wire_calls.ExecutionPage,
    responses=document.faults(),
)
async def list_executions(
    batch_id: BatchId,
    speaker: Speaks,
    page_number: PageNumber = None,
    page_size: PageSize = None,
) -> Response:
    """List the calls of a batch in the order of its file: a page where one is asked for."""
    batch = known_id(batch_id, "batch")
    await _require(speaker.db, speaker, batch_id=batch)
    view, page = speaker.view(), page_of(page_number, page_size)
    if page is not None:
        body = await call_queries.list_executions(speaker.db, view=view, batch_id=batch, page=page)
        return json_of(body, "batch")
    stream = call_queries.stream_executions(speaker.db, view=view, batch_id=batch)
    return StreamingResponse(stream, media_type="application/json")


@router.get(
    "/batches/{batch_id}/errors.csv",
    response_class=StreamingResponse,
    responses={**document.faults(), **document.STREAMED_CSV},
)
async def list_refused_rows(batch_id: BatchId, speaker: Speaks) -> Response:
    """Give back the refused rows of the upload, each with its fault."""
    batch = known_id(batch_id, "batch")
    await _require(speaker.db, speaker, batch_id=batch)
    file = await open_mend_file(
        speaker.db,
        team=speaker.team,
        batch_id=batch,
        format_=Format.CSV,
        marks=(ERROR_CODE, ERROR),
        with_failed=False,
    )
    return StreamingResponse(
        file.content,
        media_type="text/csv",
        headers={"Content-Disposition": 'attachment; filename="errors.csv"'},
    )


async def _schedule(request: Request, speaker: Speaker, *, batch_id: str, form: Fields) -> Response:
    async def perform(db: Transactions) -> Response:
        batch = known_id(batch_id, "batch")
        await _require(db, speaker, batch_id=batch)
        text = last(form, "scheduled_at")
        if text is None:
            raise Refusal(400, "scheduled_at is missing.")
        config = speaker.config
        rules = ScheduleRules(
            lead=timedelta(seconds=config.bolna_schedule_lead_seconds),
            step=timedelta(minutes=config.bolna_schedule_step_minutes),
        )
        bypass_windows = read_flag(form, "bypass_call_guardrails")
        at = schedule.settle(schedule.parse_time(text), rules=rules, now=db.clock())
        facts = ("scheduled_at", "bypass_windows")
        async with _changing(db, speaker, batch, "batch.schedule", facts=facts) as work:
            await schedule_batch(
                work,
                team=speaker.team,
                kind=Kind.CALL,
                batch_id=batch,
                at=at,
                bypass_windows=bypass_windows,
            )
        state = translate.scheduled_state(at, version=speaker.version)
        return JSONResponse({"message": "success", "state": state})

    return await answer_once(request, speaker, body=digest(form), perform=perform)


async def _lock_shown(
    connection: Connection, *, team: Team, kind: Kind, batch_id: UUID
) -> LockedBatch:
    """Lock a list that this door shows; raise `NotFound`, and `Conflict` for a cancelled one."""
    batch = await lock_any_list(connection, team=team, kind=kind, batch_id=batch_id)
    if batch.state is BatchState.CANCELLED:
        raise Conflict("The batch is cancelled.", state=batch.state)
    return batch


def _changing(
    db: Transactions,
    speaker: Speaker,
    batch_id: UUID,
    action: str,
    *,
    facts: Collection[str] = (),
    lock: Lock = _lock_shown,
) -> AbstractAsyncContextManager[Joined]:
    return changing_batch(
        db,
        team=speaker.team,
        actor=speaker.actor,
        kind=Kind.CALL,
        batch_id=batch_id,
        action=action,
        facts=facts,
        lock=lock,
    )


async def _require(db: Transactions, speaker: Speaker, *, batch_id: UUID) -> None:
    if not await queries.has_batch(db, team_id=speaker.team.id, batch_id=batch_id):
        raise missing("batch")

"""Every call of this door, at the root of the server."""

from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.requests import ClientDisconnect

from batchyard import schedule
from batchyard.api.bolna import answers, call_queries, mending, queries, translate, wire
from batchyard.api.bolna.answers import Refusal
from batchyard.api.bolna.forms import Fields, last, read_flag, read_form
from batchyard.api.bolna.queries import Page
from batchyard.api.bolna.speaker import Speaker, Speaks, furnish
from batchyard.api.bolna.translate import Version
from batchyard.api.bolna.upload import receive_batch
from batchyard.config import Config
from batchyard.errors import NotFound
from batchyard.models import Kind
from batchyard.operations.batches import schedule_batch
from batchyard.schedule import ScheduleRules
from batchyard.store.db import Database

DEFAULT_PAGE_SIZE = 20
MAX_PAGE_SIZE = 1000

PageNumber = Annotated[int | None, Query(ge=1, le=1_000_000)]
PageSize = Annotated[int | None, Query(ge=1, le=MAX_PAGE_SIZE)]

router = APIRouter(responses=wire.FAULTS)


def build_door(config: Config, db: Database) -> FastAPI:
    """Build the application that answers this door's paths."""
    app = FastAPI(title="Batchyard: batches of calls", docs_url=None, redoc_url=None)
    answers.install(app)
    furnish(app, config=config, db=db)
    app.include_router(router)
    return app


@router.post("/batches", response_model=wire.Created, openapi_extra=wire.UPLOAD_BODY)
async def create_batch(request: Request, speaker: Speaks) -> Response:
    """Upload a list of calls."""
    try:
        batch_id = await receive_batch(
            request, team=speaker.team, config=speaker.config, db=speaker.db
        )
    except ClientDisconnect:
        # Nobody is left to read this.
        return answers.fault(400, "The upload was cut off.")
    status = 201 if speaker.version is Version.V2026 else 200
    return JSONResponse({"batch_id": batch_id.hex, "state": "created"}, status)


@router.post("/batches/schedule", response_model=wire.Scheduled, openapi_extra=wire.SCHEDULE_BODY)
async def schedule_by_field(request: Request, speaker: Speaks) -> Response:
    """Schedule the batch named by the field `batch_id`: the old form."""
    form = await read_form(request)
    batch_id = last(form, "batch_id")
    if batch_id is None:
        raise Refusal(400, "batch_id is missing.")
    return await _schedule(speaker, batch_id=batch_id, form=form)


@router.post(
    "/batches/{batch_id}/schedule",
    response_model=wire.Scheduled,
    openapi_extra=wire.SCHEDULE_BODY,
)
async def schedule_by_path(batch_id: str, request: Request, speaker: Speaks) -> Response:
    """Say when a batch starts."""
    return await _schedule(speaker, batch_id=batch_id, form=await read_form(request))


@router.get("/batches/{batch_id}", response_model=wire.Batch)
async def read_batch(batch_id: str, speaker: Speaks) -> Response:
    """Read one batch."""
    body = await queries.read_batch(
        speaker.db, view=speaker.view(), batch_id=_known_id(batch_id, "batch")
    )
    if body is None:
        raise _missing("batch")
    return _json(body)


@router.get("/batches/{agent_id}/all", response_model=list[wire.Batch])
async def list_batches(
    agent_id: str,
    speaker: Speaks,
    page_number: PageNumber = None,
    page_size: PageSize = None,
) -> Response:
    """List all batches of an agent, newest first."""
    body = await queries.list_batches(
        speaker.db,
        view=speaker.view(),
        agent_id=_known_id(agent_id, "agent"),
        page=_page(page_number, page_size),
    )
    if body is None:
        raise _missing("agent")
    return _json(body)


@router.get("/batches/{batch_id}/executions", response_model=list[dict[str, Any]])
async def list_executions(
    batch_id: str,
    speaker: Speaks,
    page_number: PageNumber = None,
    page_size: PageSize = None,
) -> Response:
    """List the calls of a batch in the order of its file."""
    known_id = _known_id(batch_id, "batch")
    await _require_columns(speaker, batch_id=known_id)
    view, page = speaker.view(), _page(page_number, page_size)
    if page is not None:
        return _json(
            await call_queries.list_executions(speaker.db, view=view, batch_id=known_id, page=page)
        )
    stream = call_queries.stream_executions(speaker.db, view=view, batch_id=known_id)
    return StreamingResponse(stream, media_type="application/json")


@router.get("/batches/{batch_id}/errors.csv")
async def list_refused_rows(batch_id: str, speaker: Speaks) -> Response:
    """Give back the refused rows of the upload, each with its fault."""
    known_id = _known_id(batch_id, "batch")
    columns = await _require_columns(speaker, batch_id=known_id)
    rows = call_queries.stream_refused(speaker.db, team_id=speaker.team.id, batch_id=known_id)
    return StreamingResponse(
        mending.render(rows, columns=columns),
        media_type="text/csv",
        headers={"Content-Disposition": 'attachment; filename="errors.csv"'},
    )


async def _schedule(speaker: Speaker, *, batch_id: str, form: Fields) -> Response:
    text = last(form, "scheduled_at")
    if text is None:
        raise Refusal(400, "scheduled_at is missing.")
    config = speaker.config
    rules = ScheduleRules(
        lead=timedelta(seconds=config.bolna_schedule_lead_seconds),
        step=timedelta(minutes=config.bolna_schedule_step_minutes),
    )
    bypass_windows = read_flag(form, "bypass_call_guardrails")
    at = schedule.settle(schedule.parse_time(text), rules=rules, now=speaker.db.clock())
    await schedule_batch(
        speaker.db,
        team=speaker.team,
        kind=Kind.CALL,
        batch_id=_known_id(batch_id, "batch"),
        at=at,
        bypass_windows=bypass_windows,
    )
    state = translate.scheduled_state(at, version=speaker.version)
    return JSONResponse({"message": "success", "state": state})


async def _require_columns(speaker: Speaker, *, batch_id: UUID) -> list[str]:
    columns = await call_queries.find_columns(
        speaker.db, team_id=speaker.team.id, batch_id=batch_id
    )
    if columns is None:
        raise _missing("batch")
    return columns


def _known_id(text: str, noun: str) -> UUID:
    known_id = translate.parse_id(text)
    if known_id is None:
        raise _missing(noun)
    return known_id


def _missing(noun: str) -> NotFound:
    return NotFound(f"There is no such {noun}.")


def _page(number: int | None, size: int | None) -> Page | None:
    if number is None and size is None:
        return None
    return Page(number=number or 1, size=size or DEFAULT_PAGE_SIZE)


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")

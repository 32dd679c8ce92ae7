"""What a batch would do before it does anything: played through, then started or planned."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson
from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response

from batchyard.dashboard.batch_head import batch_page, read_head, read_standing
from batchyard.dashboard.forms import read_fields
from batchyard.dashboard.frame import frame_of, go_to
from batchyard.dashboard.remarks import read_remarks
from batchyard.dashboard.visitors import READ, WRITE, Visitor
from batchyard.errors import InvalidRequest
from batchyard.operations import rehearsals
from batchyard.operations.batches import schedule_batch
from batchyard.operations.plays import Rehearsal
from batchyard.operations.rehearsals import UNSTARTED
from batchyard.operations.scenes import RehearsalSettings
from batchyard.operations.traces import changing_batch
from batchyard.operations.waiting import REASONS
from batchyard.schedule import is_in_calendar

BASES = {
    "exact": "The sandbox says beforehand what it will do.",
    "observed": "Judged by what this provider did lately.",
    "assumed": "Nothing is known of this provider yet; usual values are assumed.",
}

router = APIRouter()

StartAt = Annotated[str, Query(max_length=40)]


@dataclass(frozen=True, kw_only=True, slots=True)
class PaceChart:
    """The planned pace."""

    series: str
    """`[[seconds since 1970], [attempts a minute]]`"""


@router.get("/batches/{batch_id}/rehearsal")
async def show_rehearsal(
    request: Request, visitor: Annotated[Visitor, READ], batch_id: UUID, start_at: StartAt = ""
) -> Response:
    """Show the page; what the batch would do is worked out after it is there."""
    head = await read_head(visitor, batch_id)
    is_unstarted = head.standing.batch.state in UNSTARTED
    return batch_page(
        request,
        visitor,
        "batch_rehearsal.html",
        head=head,
        tab="/rehearsal",
        is_unstarted=is_unstarted,
        remarks=await read_remarks(visitor, batch_id) if is_unstarted else (),
        start_at=start_at or _local(visitor, head.standing.batch.scheduled_at),
        earliest=_local(visitor, visitor.db.clock()),
    )


@router.get("/batches/{batch_id}/rehearsal/result")
async def rehearse(
    request: Request, visitor: Annotated[Visitor, READ], batch_id: UUID, start_at: StartAt = ""
) -> Response:
    """Play the batch through, and tell."""
    told = await rehearsals.rehearse_batch(
        visitor.db,
        team=visitor.team,
        batch_id=batch_id,
        settings=RehearsalSettings(start_at=read_local(visitor, start_at) if start_at else None),
        config=visitor.config,
    )
    html = frame_of(request).piece(
        visitor,
        "rehearsal_result.html",
        told=told,
        basis=BASES[told.basis],
        limited_by=REASONS.get(told.limited_by or ""),
        chart=draw_pace(told),
    )
    return HTMLResponse(html)


@router.post("/batches/{batch_id}/schedule")
async def schedule(
    request: Request, visitor: Annotated[Visitor, WRITE], batch_id: UUID
) -> Response:
    """Let the batch start at a time."""
    standing = await read_standing(visitor, batch_id)
    fields = await read_fields(request)
    at = read_local(visitor, fields.text("start_at", longest=40))
    if at <= visitor.db.clock():
        raise InvalidRequest("Choose a time that is still to come.")
    async with changing_batch(
        visitor.db,
        team=visitor.team,
        actor=visitor.actor,
        kind=standing.batch.kind,
        batch_id=batch_id,
        action="batch.schedule",
        facts=("scheduled_at",),
    ) as work:
        await schedule_batch(
            work, team=visitor.team, kind=standing.batch.kind, batch_id=batch_id, at=at
        )
    told = visitor.voice.say("The batch starts {time}.", time=visitor.voice.moment(at))
    return go_to(f"/batches/{batch_id}/rehearsal", visitor.config, notice=told)


def draw_pace(told: Rehearsal) -> PaceChart | None:
    """Return the chart of a rehearsal; None where nothing would be sent."""
    if not told.pace:
        return None
    times = [round(at.timestamp()) for at, _ in told.pace]
    step = times[1] - times[0] if len(times) > 1 else 1
    series = [times, [round(n * 60 / step, 1) for _, n in told.pace]]
    return PaceChart(series=orjson.dumps(series).decode())


def read_local(visitor: Visitor, text: str) -> datetime:
    """Read a time as a page's field has it, in the team's zone; raise `InvalidRequest`."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidRequest("Choose a day and a time.") from error
    at = at if at.tzinfo else at.replace(tzinfo=ZoneInfo(visitor.voice.timezone))
    if not is_in_calendar(at):
        raise InvalidRequest("Choose a day and a time.")
    return at


def _local(visitor: Visitor, at: datetime | None) -> str:
    if at is None:
        return ""
    return at.astimezone(ZoneInfo(visitor.voice.timezone)).strftime("%Y-%m-%dT%H:%M")

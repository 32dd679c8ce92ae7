"""The overview: what runs, how today goes, what fails and why, who does the work."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response

from batchyard.dashboard import live, overview_queries, queries
from batchyard.dashboard.frame import Place, frame_of
from batchyard.dashboard.live import Pieces
from batchyard.dashboard.overview_queries import Health, Hour, Now, Reason
from batchyard.dashboard.standing import Standing, counted_since, stand
from batchyard.dashboard.visitors import READ, Visitor
from batchyard.models import BatchState

PLACE = Place(name="Overview", path="/overview", icon="overview")
ALIVE_WITHIN = timedelta(seconds=10)
LATELY = timedelta(hours=1)
"""How far back the health of providers looks."""
SHOWN_BATCHES = 8
SHOWN_REASONS = 8
SHOWN_STATES = (BatchState.QUEUED, BatchState.RUNNING, BatchState.PAUSED)

router = APIRouter()


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """Everything on the page."""

    now: Now
    queue_age_seconds: float
    hours: Sequence[Hour]
    reasons: Sequence[Reason]
    providers: Sequence[Health]
    lines: Sequence[Standing]
    series: str
    """The chart's numbers; empty where nothing has ended today."""

    @property
    def ok(self) -> int:
        """Attempts that went well today."""
        return sum(hour.ok for hour in self.hours)

    @property
    def failed(self) -> int:
        """Attempts that failed today."""
        return sum(hour.failed for hour in self.hours)


@router.get("/overview")
async def show_overview(request: Request, visitor: Annotated[Visitor, READ]) -> Response:
    """Show the page."""
    view = await _read(visitor)
    return frame_of(request).page(request, visitor, "overview.html", view=view)


@router.get("/overview/live")
async def follow_overview(request: Request, visitor: Annotated[Visitor, READ]) -> Response:
    """Send what changes of it."""
    frame = frame_of(request)

    async def render() -> Pieces:
        view = await _read(visitor)
        return {
            "overview-now": frame.piece(visitor, "overview_now.html", view=view),
            "overview-rest": frame.piece(visitor, "overview_rest.html", view=view),
            "hours-data": view.series,
        }

    return live.stream(request, visitor, render)


async def _read(visitor: Visitor) -> View:
    now, team = visitor.db.clock(), visitor.team
    midnight = start_of_day(now, visitor.voice.timezone)
    async with visitor.db.pool.connection() as conn:
        stands = await overview_queries.read_now(
            conn, team_id=team.id, now=now, beaten_since=now - ALIVE_WITHIN
        )
        hours = await overview_queries.read_hours(conn, team_id=team.id, since=midnight)
        reasons = await overview_queries.list_reasons(
            conn, team_id=team.id, since=midnight, limit=SHOWN_REASONS
        )
        providers = await overview_queries.list_health(
            conn, team_id=team.id, since=now - LATELY, now=now
        )
        batches = await queries.list_batches(
            conn,
            team_id=team.id,
            kind=None,
            states=SHOWN_STATES,
            text=None,
            start=None,
            backwards=False,
            since=counted_since(now),
            limit=SHOWN_BATCHES,
        )
    due_at = stands.oldest_due_at
    return View(
        now=stands,
        queue_age_seconds=0 if due_at is None else max(0.0, (now - due_at).total_seconds()),
        hours=hours,
        reasons=reasons,
        providers=providers,
        lines=[stand(batch, now=now) for batch in batches],
        series=draw_hours(hours, since=midnight, now=now),
    )


def start_of_day(now: datetime, timezone: str) -> datetime:
    """Return when the day began where the team is."""
    local = now.astimezone(ZoneInfo(timezone))
    return local.replace(hour=0, minute=0, second=0, microsecond=0)


def draw_hours(hours: Sequence[Hour], *, since: datetime, now: datetime) -> str:
    """Return the chart of a day up to now, an hour a bar; empty where nothing has ended."""
    if not hours:
        return ""
    known = {round(hour.at.timestamp()): hour for hour in hours}
    times = list(range(round(since.timestamp()), round(now.timestamp()) + 1, 3600))
    ended = [known.get(at) for at in times]
    series = [
        times,
        [hour.ok if hour else 0 for hour in ended],
        [hour.failed if hour else 0 for hour in ended],
    ]
    return orjson.dumps(series).decode()

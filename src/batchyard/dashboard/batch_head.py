"""The head of every page about one batch: how it stands, why it waits, what can be done to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from fastapi import Request
from fastapi.responses import Response

from batchyard.dashboard import queries
from batchyard.dashboard.charts import POINTS, Chart, draw_throughput
from batchyard.dashboard.deeds import Deed, deeds_for
from batchyard.dashboard.frame import Frame, frame_of
from batchyard.dashboard.live import Pieces
from batchyard.dashboard.standing import Standing, counted_since, stand
from batchyard.dashboard.visitors import Visitor
from batchyard.dashboard.words import STATES
from batchyard.errors import NotFound
from batchyard.operations import waiting
from batchyard.operations.rehearsals import UNSTARTED
from batchyard.operations.waiting import Waiting


@dataclass(frozen=True, kw_only=True, slots=True)
class Tab:
    """A page about one side of a batch."""

    name: str
    path: str
    """Behind the address of the batch."""
    scope: str = "batches:read"


TABS = (
    Tab(name="Items", path=""),
    Tab(name="Refused rows", path="/refused"),
    Tab(name="Results", path="/results"),
    Tab(name="Events", path="/events"),
    Tab(name="Settings", path="/settings"),
)
REHEARSAL = Tab(name="Rehearsal", path="/rehearsal")
"""Of a batch that was not started, before all others."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """What all pages about a batch show."""

    standing: Standing
    waiting: Waiting | None
    chart: Chart | None
    deeds: Sequence[Deed]


async def read_standing(visitor: Visitor, batch_id: UUID) -> Standing:
    """Return how a batch of the team stands. Raises `NotFound`."""
    now = visitor.db.clock()
    async with visitor.db.pool.connection() as conn:
        batch = await queries.read_batch(
            conn, team_id=visitor.team.id, batch_id=batch_id, since=counted_since(now)
        )
    if batch is None:
        raise NotFound("There is no such batch.")
    return stand(batch, now=now)


async def read_head(visitor: Visitor, batch_id: UUID) -> Head:
    """Return the head of a batch of the team. Raises `NotFound`."""
    standing = await read_standing(visitor, batch_id)
    async with visitor.db.pool.connection() as conn:
        points = await queries.read_throughput(conn, batch_id=batch_id, points=POINTS)
    return Head(
        standing=standing,
        waiting=await waiting.explain_batch(visitor.db, team=visitor.team, batch_id=batch_id),
        chart=draw_throughput(points, is_running=standing.is_running),
        deeds=deeds_for(standing) if visitor.may("batches:write") else (),
    )


def head_pieces(frame: Frame, visitor: Visitor, head: Head) -> Pieces:
    """Return what changes of the head while the batch runs."""
    standing = head.standing
    return {
        "batch-head": frame.piece(visitor, "batch_head.html", head=head),
        "batch-told": visitor.voice.say(STATES[standing.batch.state][0]),
        "chart-data": "" if head.chart is None else head.chart.series,
    }


def batch_page(
    request: Request,
    visitor: Visitor,
    template: str,
    *,
    head: Head,
    tab: str,
    status: int = 200,
    **context: object,
) -> Response:
    """Answer with one of the pages about a batch; `tab` is its path."""
    is_unstarted = head.standing.batch.state in UNSTARTED
    return frame_of(request).page(
        request,
        visitor,
        template,
        status=status,
        head=head,
        tabs=(REHEARSAL, *TABS) if is_unstarted else TABS,
        tab=tab,
        **context,
    )

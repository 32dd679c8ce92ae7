"""The list of batches, of calls and of shipments, live."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from batchyard.cursors import write_cursor
from batchyard.dashboard import live, queries
from batchyard.dashboard.frame import Frame, Place, frame_of
from batchyard.dashboard.live import Pieces
from batchyard.dashboard.queries import ShownBatch
from batchyard.dashboard.standing import Standing, counted_since, stand
from batchyard.dashboard.starts import read_start
from batchyard.dashboard.visitors import READ, Visitor
from batchyard.models import BatchState, Kind

PLACE = Place(name="Batches", path="/batches", icon="batches")
PAGE = 50

GROUPS: Mapping[str, tuple[str, tuple[BatchState, ...]]] = {
    "running": ("Running", (BatchState.QUEUED, BatchState.RUNNING)),
    "paused": ("Paused", (BatchState.PAUSED,)),
    "planned": ("Not started", (BatchState.OPEN, BatchState.SCHEDULED)),
    "ended": (
        "Ended",
        (BatchState.COMPLETED, BatchState.FAILED, BatchState.STOPPED, BatchState.CANCELLED),
    ),
}
"""What the filter calls them: few words for ten states."""

router = APIRouter()

Cursor = Annotated[str | None, Query(max_length=500)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What of the list is asked for; all of it is in the address."""

    kind: Kind | None
    group: str | None
    text: str
    after: str | None
    before: str | None

    def query(self, **changes: str | None) -> str:
        """Return the address of this list with something else; another filter begins anew."""
        said = {"kind": self.kind, "state": self.group, "q": self.text}
        if not changes:
            said |= {"after": self.after, "before": self.before}
        given = {name: value for name, value in (said | changes).items() if value}
        return f"?{urlencode(given)}" if given else ""

    @property
    def filters(self) -> bool:
        """Whether less than everything is asked for."""
        return bool(self.kind or self.group or self.text)


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """A page of the list, and the cursors of those beside it."""

    lines: Sequence[Standing]
    older: str | None
    newer: str | None

    @property
    def ids(self) -> Sequence[UUID]:
        """Which batches are on it."""
        return [line.batch.id for line in self.lines]


async def read_asked(
    kind: str = "",
    state: str = "",
    text: Annotated[str, Query(alias="q", max_length=200)] = "",
    after: Cursor = None,
    before: Cursor = None,
) -> Asked:
    """Read the address; what is no filter of ours filters nothing."""
    return Asked(
        kind=Kind(kind) if kind in set(Kind) else None,
        group=state if state in GROUPS else None,
        text=text.replace("\0", "").strip(),
        after=after,
        before=before,
    )


AskedFor = Annotated[Asked, Depends(read_asked)]


@router.get("/batches")
async def show_batches(
    request: Request, visitor: Annotated[Visitor, READ], asked: AskedFor
) -> Response:
    """Show the list, a page of it."""
    listed = await _list(visitor, asked)
    return frame_of(request).page(
        request, visitor, "batches.html", asked=asked, groups=GROUPS, listed=listed
    )


@router.get("/batches/live")
async def follow_batches(
    request: Request, visitor: Annotated[Visitor, READ], asked: AskedFor
) -> Response:
    """Send what changes of that page."""
    frame = frame_of(request)
    shown: list[Sequence[UUID]] = []

    async def render() -> Pieces:
        listed = await _list(visitor, asked)
        if [listed.ids] == shown:
            return _rows(frame, visitor, listed)
        # Another set of batches: the list as a whole.
        shown[:] = [listed.ids]
        html = frame.piece(visitor, "batches_list.html", asked=asked, listed=listed)
        return {"list": html}

    return live.stream(request, visitor, render)


async def _list(visitor: Visitor, asked: Asked) -> Listed:
    now = visitor.db.clock()
    start = read_start(asked.before or asked.after, datetime.fromisoformat)
    is_before = asked.before is not None
    async with visitor.db.pool.connection() as conn:
        rows = await queries.list_batches(
            conn,
            team_id=visitor.team.id,
            kind=asked.kind,
            states=GROUPS[asked.group][1] if asked.group else None,
            text=asked.text or None,
            start=start,
            backwards=is_before,
            since=counted_since(now),
            limit=PAGE + 1,
        )
    has_more = len(rows) > PAGE
    if has_more:
        rows = rows[1:] if is_before else rows[:-1]
    if not rows:
        return Listed(lines=(), older=None, newer=None)
    return Listed(
        lines=[stand(row, now=now) for row in rows],
        older=_cursor(rows[-1]) if has_more or is_before else None,
        newer=_cursor(rows[0]) if (has_more if is_before else start is not None) else None,
    )


def _cursor(batch: ShownBatch) -> str:
    return write_cursor([batch.created_at.isoformat(), batch.id])


def _rows(frame: Frame, visitor: Visitor, listed: Listed) -> Pieces:
    return {
        f"batch-{line.batch.id}": frame.piece(visitor, "batches_row.html", line=line)
        for line in listed.lines
    }

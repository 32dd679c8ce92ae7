"""The items of a batch: search, filter by status, page through a million of them, live."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import RedirectResponse, Response

from batchyard.clock import monotonic
from batchyard.cursors import write_cursor
from batchyard.dashboard import item_queries, live
from batchyard.dashboard.batch_head import batch_page, head_pieces, read_head
from batchyard.dashboard.frame import frame_of
from batchyard.dashboard.item_queries import ListedItem, Order, Start, order_of
from batchyard.dashboard.live import Pieces
from batchyard.dashboard.starts import read_start, whole
from batchyard.dashboard.visitors import PREFIX, READ, Visitor
from batchyard.dashboard.words import STATUSES

PAGE = 50
SEARCH_ROWS = 10_000
SEARCH_SECONDS = 0.12
"""A search in contents goes on in the same request for so long: then the person decides."""
NOBODY = str(UUID(int=0))

router = APIRouter()

Cursor = Annotated[str | None, Query(max_length=500)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """Which items are asked for; all of it is in the address."""

    status: str | None
    text: str
    in_contents: bool
    """The text is looked for in what was uploaded, not at the beginning of numbers."""
    after: str | None
    before: str | None
    line: int | None

    def query(self, **changes: str | None) -> str:
        """Return the address with something else; another filter begins anew."""
        said = {
            "status": self.status,
            "q": self.text,
            "in": "contents" if self.in_contents else None,
        }
        if not changes:
            line = None if self.line is None else str(self.line)
            said |= {"after": self.after, "before": self.before, "line": line}
        given = {name: value for name, value in (said | changes).items() if value}
        return f"?{urlencode(given)}" if given else ""

    @property
    def filters(self) -> bool:
        """Whether less than everything is asked for."""
        return bool(self.status or self.text)

    @property
    def order(self) -> Order:
        """By what the list is sorted."""
        return order_of(status=self.status, text=self.text or None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A page of items, and the cursors of those beside it."""

    items: Sequence[ListedItem]
    next: str | None
    previous: str | None
    searched_to: int | None = None
    """A search in contents that has not seen the end: the last line it has seen."""


async def read_asked(
    *,
    status: str = "",
    text: Annotated[str, Query(alias="q", max_length=200)] = "",
    where: Annotated[str, Query(alias="in")] = "",
    after: Cursor = None,
    before: Cursor = None,
    line: str = "",
) -> Asked:
    """Read the address; what is no filter of ours filters nothing."""
    text = text.replace("\0", "").strip()
    return Asked(
        status=status if status in STATUSES else None,
        text=text,
        in_contents=bool(text) and where == "contents",
        after=after,
        before=before,
        line=int(line) if line.isdecimal() and len(line) < 10 else None,
    )


AskedFor = Annotated[Asked, Depends(read_asked)]


@router.get("/batches/{batch_id}")
async def show_items(
    request: Request, visitor: Annotated[Visitor, READ], batch_id: UUID, asked: AskedFor
) -> Response:
    """Show a batch with its items; the id of an item as text leads to it."""
    head = await read_head(visitor, batch_id)
    if (item_id := _read_uuid(asked.text)) is not None:
        async with visitor.db.pool.connection() as conn:
            item = await item_queries.read_item(conn, team_id=visitor.team.id, item_id=item_id)
        if item is not None:
            return RedirectResponse(f"{PREFIX}/items/{item_id}", status_code=303)
    found = await _find(visitor, batch_id, asked)
    return batch_page(
        request, visitor, "batch_items.html", head=head, tab="", asked=asked, found=found
    )


@router.get("/batches/{batch_id}/items/live")
async def follow_items(
    request: Request, visitor: Annotated[Visitor, READ], batch_id: UUID, asked: AskedFor
) -> Response:
    """Send what changes of that page; a search in contents is not repeated by itself."""
    frame = frame_of(request)

    async def render() -> Pieces:
        head = await read_head(visitor, batch_id)
        pieces = {
            **head_pieces(frame, visitor, head),
            "statuses": frame.piece(visitor, "batch_statuses.html", head=head, asked=asked),
        }
        if asked.in_contents:
            return pieces
        found = await _find(visitor, batch_id, asked)
        html = frame.piece(visitor, "items_list.html", head=head, asked=asked, found=found)
        return {**pieces, "items": html}

    return live.stream(request, visitor, render, batch_id=batch_id)


@router.get("/batches/{batch_id}/live")
async def follow_head(
    request: Request, visitor: Annotated[Visitor, READ], batch_id: UUID
) -> Response:
    """Send what changes of the head alone, for the other pages about a batch."""
    frame = frame_of(request)

    async def render() -> Pieces:
        return head_pieces(frame, visitor, await read_head(visitor, batch_id))

    return live.stream(request, visitor, render, batch_id=batch_id)


async def _find(visitor: Visitor, batch_id: UUID, asked: Asked) -> Found:
    start = _start(asked)
    if asked.in_contents:
        return await _search(visitor, batch_id, asked, start)
    is_before = asked.before is not None
    async with visitor.db.pool.connection() as conn:
        rows = await item_queries.list_items(
            conn,
            team_id=visitor.team.id,
            batch_id=batch_id,
            status=asked.status,
            text=asked.text or None,
            start=start,
            backwards=is_before,
            limit=PAGE + 1,
        )
    has_more = len(rows) > PAGE
    if has_more:
        rows = rows[1:] if is_before else rows[:-1]
    if not rows:
        return Found(items=rows, next=None, previous=None)
    return Found(
        items=rows,
        next=_cursor(rows[-1]) if has_more or is_before else None,
        previous=_cursor(rows[0]) if (has_more if is_before else start is not None) else None,
    )


async def _search(visitor: Visitor, batch_id: UUID, asked: Asked, start: Start | None) -> Found:
    """Look through block after block until a page is full or the time is used up."""
    found: list[ListedItem] = []
    began_at, end = monotonic(), start
    while True:
        async with visitor.db.pool.connection() as conn:
            some, end = await item_queries.search_block(
                conn,
                team_id=visitor.team.id,
                batch_id=batch_id,
                text=asked.text,
                status=asked.status,
                start=end,
                rows=SEARCH_ROWS,
                limit=PAGE - len(found) + 1,
            )
        found += some
        if len(found) > PAGE:
            return Found(items=found[:PAGE], next=_cursor(found[PAGE - 1]), previous=None)
        if end is None:
            return Found(items=found, next=None, previous=None)
        if monotonic() - began_at > SEARCH_SECONDS:
            return Found(
                items=found,
                next=write_cursor(list(end)),
                previous=None,
                searched_to=int(end[0]),
            )


def _start(asked: Asked) -> Start | None:
    if asked.line is not None:
        return (str(asked.line), NOBODY) if asked.order is Order.POSITION else None
    return read_start(
        asked.before or asked.after,
        datetime.fromisoformat if asked.order is Order.DUE else whole,
    )


def _cursor(item: ListedItem) -> str:
    return write_cursor([item.key, item.id])


def _read_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None

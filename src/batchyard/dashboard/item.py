"""One item: what was sent, every attempt, what came back, why it waits, what can be done."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response

from batchyard.dashboard import item_queries, live, row_queries
from batchyard.dashboard.batch_events import ACTIONS
from batchyard.dashboard.frame import frame_of
from batchyard.dashboard.item_queries import ShownItem
from batchyard.dashboard.live import Pieces
from batchyard.dashboard.row_queries import Trace
from batchyard.dashboard.visitors import READ, Visitor
from batchyard.errors import NotFound
from batchyard.models import Kind, Phase, key_of
from batchyard.operations import documents, waiting
from batchyard.operations.changes import FAILED_STATUSES
from batchyard.operations.documents import Paper
from batchyard.operations.outcomes import Verdict
from batchyard.operations.waiting import Waiting

LINK_LASTS = timedelta(hours=1)
TRACES = 20

VERDICTS: Mapping[Verdict, tuple[str, str]] = {
    Verdict.DONE: ("It was done", "It counts as done. Nothing is sent."),
    Verdict.FAILED: ("It failed", "It counts as failed. Nothing is sent."),
    Verdict.RETRY: (
        "Send it again",
        "It is sent again as a new attempt. If it was done already, it happens twice.",
    ),
}

router = APIRouter()


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One try of an item, as its history has it."""

    number: int
    key: str
    status: str
    sent_at: datetime | None
    ended_at: datetime | None
    reference: str | None
    error_code: str | None
    error_message: str | None
    result: Mapping[str, object] | None = None
    """What was answered; kept of an attempt that was followed by another."""

    @property
    def seconds(self) -> float | None:
        """How long it took."""
        if self.sent_at is None or self.ended_at is None:
            return None
        return (self.ended_at - self.sent_at).total_seconds()


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """A document and where it is."""

    paper: Paper
    token: str

    @property
    def is_shown(self) -> bool:
        """Whether there is a picture of it."""
        return self.paper.format == "pdf"


@dataclass(frozen=True, kw_only=True, slots=True)
class Whole:
    """An item with all there is to say about it."""

    item: ShownItem
    waiting: Waiting | None
    attempts: Sequence[Attempt]
    documents: Sequence[Document]
    traces: Sequence[Trace]
    can_stop: bool
    can_retry: bool
    can_correct: bool
    can_resolve: bool

    @property
    def can(self) -> bool:
        """Whether anything can be done."""
        return self.can_stop or self.can_retry or self.can_correct or self.can_resolve


@router.get("/items/{item_id}")
async def show_item(request: Request, visitor: Annotated[Visitor, READ], item_id: UUID) -> Response:
    """Show an item."""
    whole = await read_whole(visitor, item_id)
    return frame_of(request).page(
        request, visitor, "item.html", whole=whole, actions=ACTIONS, verdicts=VERDICTS
    )


@router.get("/items/{item_id}/live")
async def follow_item(
    request: Request, visitor: Annotated[Visitor, READ], item_id: UUID
) -> Response:
    """Send what changes of it."""
    frame = frame_of(request)
    item = await _read(visitor, item_id)

    async def render() -> Pieces:
        whole = await read_whole(visitor, item_id)
        return {
            "item": frame.piece(visitor, "item_parts.html", whole=whole, actions=ACTIONS),
            "item-head": frame.piece(visitor, "item_head.html", whole=whole),
            "item-resolve": frame.piece(
                visitor, "item_resolve.html", whole=whole, verdicts=VERDICTS
            ),
        }

    return live.stream(request, visitor, render, batch_id=item.batch_id)


async def read_whole(visitor: Visitor, item_id: UUID) -> Whole:
    """Return an item of the team. Raises `NotFound`."""
    item = await _read(visitor, item_id)
    traces: list[Trace] = []
    if visitor.may("audit:read"):
        async with visitor.db.pool.connection() as conn:
            traces = await row_queries.list_traces(
                conn, team_id=visitor.team.id, subject=str(item_id), limit=TRACES
            )
    may = visitor.may("batches:write")
    has_failed = item.phase is Phase.DONE and item.status in FAILED_STATUSES[item.kind]
    was_stopped = item.phase is Phase.DONE and item.status == "stopped"
    is_ready = item.phase is Phase.READY
    is_kept = item.removed is None
    return Whole(
        item=item,
        waiting=await waiting.explain_item(visitor.db, team=visitor.team, item_id=item_id),
        attempts=_attempts(item),
        documents=await _documents(visitor, item),
        traces=traces,
        can_stop=may and is_ready,
        can_retry=may and is_kept and (has_failed or was_stopped),
        can_correct=may and is_kept and (has_failed or is_ready),
        can_resolve=may and item.phase is Phase.UNKNOWN,
    )


async def _read(visitor: Visitor, item_id: UUID) -> ShownItem:
    async with visitor.db.pool.connection() as conn:
        item = await item_queries.read_item(conn, team_id=visitor.team.id, item_id=item_id)
    if item is None:
        raise NotFound("There is no such item.")
    return item


def _attempts(item: ShownItem) -> list[Attempt]:
    """Return the history, and what is out now, the newest first."""
    known = [_attempt(one) for one in item.attempts]
    is_out = item.phase in {Phase.CALLING, Phase.LIVE, Phase.UNKNOWN}
    if is_out and all(one.number != item.attempt for one in known):
        known.append(
            Attempt(
                number=item.attempt,
                key=key_of(item.id, item.attempt),
                status=item.status,
                sent_at=item.intent_at,
                ended_at=None,
                reference=item.provider_reference,
                error_code=None,
                error_message=None,
            )
        )
    return known[::-1]


def _attempt(kept: Mapping[str, object]) -> Attempt:
    result = kept.get("result")
    return Attempt(
        number=int(str(kept.get("attempt", 0))),
        key=str(kept.get("key", "")),
        status=str(kept.get("status", "")),
        sent_at=_time(kept.get("sent_at")),
        ended_at=_time(kept.get("ended_at")),
        reference=_text(kept.get("reference")),
        error_code=_text(kept.get("error_code")),
        error_message=_text(kept.get("error_message")),
        result=result if isinstance(result, Mapping) else None,
    )


async def _documents(visitor: Visitor, item: ShownItem) -> list[Document]:
    if item.kind is not Kind.SHIPMENT or item.phase is not Phase.DONE:
        return []
    papers = await documents.list_papers(visitor.db, team=visitor.team, shipment_id=item.id)
    if not papers:
        return []
    key = await documents.document_key(visitor.db)
    # To the hour: a page that is rendered anew each second keeps its addresses, and its pictures.
    now = visitor.db.clock()
    expires_at = now.replace(minute=0, second=0, microsecond=0) + 2 * LINK_LASTS
    return [
        Document(paper=paper, token=paper.link.token(key, expires_at=expires_at))
        for paper in papers
    ]


def _time(value: object) -> datetime | None:
    return datetime.fromisoformat(value) if isinstance(value, str) else None


def _text(value: object) -> str | None:
    return None if value is None else str(value)

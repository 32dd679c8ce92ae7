"""What happened to a batch, and who did it."""

from collections.abc import Mapping
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from batchyard.dashboard import row_queries
from batchyard.dashboard.batch_head import batch_page, read_head
from batchyard.dashboard.visitors import READ, Visitor
from batchyard.operations import live

PAGE = 50
TRACES = 50

EVENTS: Mapping[str, str] = {
    "batch.created": "The batch was made.",
    "batch.imported": "Its list came in.",
    "batch.scheduled": "It was scheduled.",
    "batch.queued": "It was started.",
    "batch.started": "Its first item was sent.",
    "batch.paused": "It was paused.",
    "batch.braked": "Too much of it failed, so it paused itself.",
    "batch.resumed": "It was resumed.",
    "batch.stopped": "It was stopped.",
    "batch.ended": "It ended.",
    "batch.cancelled": "It was cancelled.",
    "batch.deleted": "It was deleted.",
    "items.resolved": "Unknown outcomes were decided.",
}
"""Types of events as people read them; others are shown by their type."""

ACTIONS: Mapping[str, str] = {
    "batch.create": "made the batch",
    "batch.dispatch": "started it",
    "batch.schedule": "scheduled it",
    "batch.pause": "paused it",
    "batch.resume": "resumed it",
    "batch.stop": "stopped it",
    "batch.cancel": "cancelled it",
    "batch.delete": "deleted it",
    "batch.change": "changed its settings",
    "batch.limit": "changed its limits",
    "batch.retry": "had failed items tried again",
    "batch.add_rows": "added rows",
    "batch.mend": "sent corrected rows",
    "item.stop": "stopped it",
    "item.correct": "corrected it",
    "items.resolve": "decided unknown outcomes",
    "call.create": "asked for it",
    "shipment.create": "asked for it",
    "shipment.book": "started it",
    "shipment.cancel": "cancelled it",
}

router = APIRouter()


@router.get("/batches/{batch_id}/events")
async def show_events(
    request: Request,
    visitor: Annotated[Visitor, READ],
    batch_id: UUID,
    before: Annotated[str | None, Query(max_length=50)] = None,
) -> Response:
    """Show the events of a batch, the newest first, and what people did."""
    head = await read_head(visitor, batch_id)
    team_id = visitor.team.id
    async with visitor.db.pool.connection() as conn:
        events = await row_queries.list_events(
            conn,
            team_id=team_id,
            batch_id=batch_id,
            start=live.read_position(before),
            limit=PAGE + 1,
        )
        traces = (
            await row_queries.list_traces(
                conn, team_id=team_id, subject=str(batch_id), limit=TRACES
            )
            if visitor.may("audit:read")
            else []
        )
    older = None
    if len(events) > PAGE:
        events = events[:PAGE]
        older = live.write_position((events[-1].xid, events[-1].id))
    return batch_page(
        request,
        visitor,
        "batch_events.html",
        head=head,
        tab="/events",
        events=events,
        older=older,
        is_newest=before is None,
        sentences=EVENTS,
        traces=traces,
        actions=ACTIONS,
    )

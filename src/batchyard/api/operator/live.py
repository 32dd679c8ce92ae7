"""Events: as a page of JSON, or followed live as server-sent events."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated
from uuid import UUID

import orjson
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response, StreamingResponse

from batchyard import tasks
from batchyard.api.operator import queries
from batchyard.api.operator.access import READ, Caller, KnownRoute
from batchyard.errors import NotFound
from batchyard.operations import live
from batchyard.operations.live import Hub, write_position
from batchyard.store.live import Counts, Event, Position

EVENT_STREAM = "text/event-stream"
STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
RECONNECT_MS = 1000

router = APIRouter(tags=["Events"], route_class=KnownRoute)

LastEventId = Annotated[
    str | None, Header(alias="Last-Event-ID", description="where the last stream ended")
]
After = Annotated[str | None, Query(description="the id of the last event seen; 0-0 is the first")]
Limit = Annotated[int, Query(ge=1, le=500, description="of a page; a stream has no end")]
BOTH = {200: {"content": {EVENT_STREAM: {"schema": {"type": "string"}}}}}


@router.get("/events", responses=BOTH)  # type: ignore[arg-type]  # an int is allowed
async def list_events(
    request: Request,
    caller: Annotated[Caller, READ],
    *,
    last_event_id: LastEventId = None,
    after: After = None,
    limit: Limit = 100,
) -> Response:
    """List the team's events, or follow them.

    With `Accept: text/event-stream` they are followed live: from now on, or after
    `Last-Event-ID`, and `batch.counts` tells how the counts of running batches change. Otherwise
    this is a page of what is kept, the oldest first.
    """
    return await _answer(request, caller, None, last_event_id or after, limit)


@router.get("/batches/{batch_id}/events", responses=BOTH)  # type: ignore[arg-type]  # as above
async def list_batch_events(
    request: Request,
    caller: Annotated[Caller, READ],
    *,
    batch_id: UUID,
    last_event_id: LastEventId = None,
    after: After = None,
    limit: Limit = 100,
) -> Response:
    """List the events of a batch, or follow them (see the events of the team)."""
    async with caller.db.pool.connection() as conn:
        kind = await queries.find_kind(conn, team_id=caller.team.id, batch_id=batch_id)
    if kind is None:
        raise NotFound("There is no such batch.")
    return await _answer(request, caller, batch_id, last_event_id or after, limit)


async def _answer(
    request: Request, caller: Caller, batch_id: UUID | None, after: str | None, limit: int
) -> Response:
    position = live.read_position(after)
    if EVENT_STREAM in request.headers.get("accept", ""):
        told = live.follow(
            caller.db,
            _hub(request),
            team=caller.team,
            permit=live.while_token_works(caller.db, caller.principal),
            batch_id=batch_id,
            after=position,
        )
        return StreamingResponse(
            tasks.relay(_write(told)), media_type=EVENT_STREAM, headers=STREAM_HEADERS
        )
    events = await live.read_events(
        caller.db, team=caller.team, batch_id=batch_id, after=position, limit=limit
    )
    last = write_position(events[-1].position) if len(events) == limit else None
    page = {"data": [_shown(event) for event in events], "next_after": last}
    return Response(orjson.dumps(page), media_type="application/json")


async def _write(
    told: AsyncIterator[Event | Counts | Position | None],
) -> AsyncGenerator[bytes, None]:
    # At once, so that the client knows that it is connected.
    yield b"retry: %d\n\n" % RECONNECT_MS
    async for one in told:
        if one is None:
            yield b": nothing new\n\n"
        elif isinstance(one, tuple):
            yield f"id: {write_position(one)}\n\n".encode()
        elif isinstance(one, Counts):
            shown = {"batch_id": one.batch_id, "state": one.state, "counts": one.counts}
            yield b"event: batch.counts\ndata: %s\n\n" % orjson.dumps(shown)
        else:
            head = f"id: {write_position(one.position)}\nevent: {one.type}\n".encode()
            yield head + b"data: %s\n\n" % orjson.dumps(_shown(one))


def _shown(event: Event) -> dict[str, object]:
    return {
        "id": write_position(event.position),
        "type": event.type,
        "batch_id": event.batch_id,
        "item_id": event.item_id,
        "data": event.data,
        "at": event.at,
    }


def _hub(request: Request) -> Hub:
    """Return the one hub of this process's door."""
    state = request.app.state
    if not hasattr(state, "hub"):
        state.hub = Hub(request.app.state.db)
    hub: Hub = state.hub
    return hub

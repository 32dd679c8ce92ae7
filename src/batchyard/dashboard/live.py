"""Keep a page up to date: pieces of it are rendered anew when something happened, and sent."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from uuid import UUID

import orjson
from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from batchyard import tasks
from batchyard.clock import monotonic
from batchyard.dashboard.visitors import Visitor
from batchyard.errors import BatchyardError
from batchyard.operations import sessions
from batchyard.operations.live import Hub, follow

LEAST_SECONDS = 0.5
"""Between two updates of a page: at most two a second."""
TICK_SECONDS = 5.0
"""So often pieces are looked at without news: a pace falls while nothing happens."""
HEARTBEAT_SECONDS = 15.0
RECONNECT_MS = 1000

EVENT_STREAM = "text/event-stream"
HEADERS = {"X-Accel-Buffering": "no"}

Pieces = Mapping[str, str]
"""The inner HTML of elements, by their ids; `app.js` changes only what differs."""
Render = Callable[[], Awaitable[Pieces]]


def stream(
    request: Request, visitor: Visitor, render: Render, *, batch_id: UUID | None = None
) -> StreamingResponse:
    """Answer with what changes of a page, as server-sent events; of one batch, or of the team.

    `render` makes the pieces; only those that differ from what was sent are sent. Ends with the
    session, and when the page's subject is gone: then the page is told to load again.
    """
    told = tasks.relay(_tell(_hub(request), visitor, render, batch_id))
    return StreamingResponse(told, media_type=EVENT_STREAM, headers=HEADERS)


def gone() -> Response:
    """Answer who may not follow a page, or not any more: the page is told to load again.

    As an event: a browser that gets a fault for a stream tells nobody which.
    """
    return Response(_event("gone", ""), media_type=EVENT_STREAM)


async def _tell(
    hub: Hub, visitor: Visitor, render: Render, batch_id: UUID | None
) -> AsyncGenerator[bytes, None]:
    yield b"retry: %d\n\n" % RECONNECT_MS
    sent: dict[str, str] = {}
    told_at = monotonic()
    async for _ in _occasions(hub, visitor, batch_id):
        try:
            pieces = await render()
        except BatchyardError:
            yield _event("gone", "")
            return
        changed = {key: html for key, html in pieces.items() if sent.get(key) != html}
        sent |= changed
        if changed:
            yield _event("pieces", orjson.dumps(changed).decode())
            told_at = monotonic()
        elif monotonic() - told_at >= HEARTBEAT_SECONDS:
            yield b": nothing new\n\n"
            told_at = monotonic()
    async with visitor.db.pool.connection() as conn:
        if not await sessions.while_signed_in(visitor.db, visitor.session)(conn):
            yield _event("gone", "")


async def _occasions(hub: Hub, visitor: Visitor, batch_id: UUID | None) -> AsyncIterator[None]:
    """Yield at once, then whenever something happened, and now and then when nothing did."""
    news = asyncio.Event()

    async def listen() -> None:
        async for told in follow(
            visitor.db,
            hub,
            team=visitor.team,
            permit=sessions.while_signed_in(visitor.db, visitor.session),
            batch_id=batch_id,
        ):
            if told is not None:
                news.set()

    listening = asyncio.create_task(listen(), name="dashboard listener")
    try:
        while not listening.done():
            news.clear()
            yield
            await asyncio.sleep(LEAST_SECONDS)
            waiting = asyncio.create_task(news.wait())
            try:
                await asyncio.wait(
                    {waiting, listening},
                    timeout=TICK_SECONDS - LEAST_SECONDS,
                    return_when=asyncio.FIRST_COMPLETED,
                )
            finally:
                waiting.cancel()
        listening.result()
    finally:
        listening.cancel()


def _event(name: str, data: str) -> bytes:
    return f"event: {name}\ndata: {data}\n\n".encode()


def _hub(request: Request) -> Hub:
    """Return the one hub of this process's dashboard."""
    state = request.app.state
    if not hasattr(state, "hub"):
        state.hub = Hub(state.db)
    hub: Hub = state.hub
    return hub

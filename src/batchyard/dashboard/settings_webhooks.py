"""Webhooks: the addresses that listen to the team, what signs the news, and the log of them."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from pydantic import TypeAdapter, ValidationError

from batchyard.cursors import read_cursor, write_cursor
from batchyard.dashboard.forms import Fields, read_fields
from batchyard.dashboard.frame import go_to
from batchyard.dashboard.settings_frame import settings_page
from batchyard.dashboard.visitors import Visitor, needs
from batchyard.dashboard.words import Tone
from batchyard.errors import InvalidRequest
from batchyard.operations import endpoints, listeners, webhooks
from batchyard.operations.audit import audited
from batchyard.operations.endpoints import EVENTS

PATH = "/settings/webhooks"
PAGE = 50
POSITION: TypeAdapter[tuple[datetime, int, UUID]] = TypeAdapter(tuple[datetime, int, UUID])
STATES: Mapping[str, tuple[str, Tone]] = {
    "pending": ("waiting", Tone.LATER),
    "delivered": ("delivered", Tone.GOOD),
    "failed": ("failed", Tone.BAD),
    "dropped": ("dropped", Tone.MUTED),
}
"""Of a delivery."""

router = APIRouter(prefix=PATH)

Listener = Annotated[Visitor, Depends(needs("webhooks"))]
Cursor = Annotated[str | None, Query(max_length=500)]


@router.get("")
async def show_webhooks(
    request: Request, visitor: Listener, state: str = "", after: Cursor = None
) -> Response:
    """Show the addresses and a page of the log."""
    return await _page(request, visitor, state=state if state in STATES else None, after=after)


@router.post("")
async def add_endpoint(request: Request, visitor: Listener) -> Response:
    """Let an address listen."""
    fields = await read_fields(request)
    url = fields.text("url", longest=2000)
    events = [one for one in fields.texts("events") if one in EVENTS] or None
    try:
        async with audited(
            visitor.db,
            team=visitor.team,
            actor=visitor.actor,
            action="webhook.create",
            subject=url,
            after={"url": url, "events": events},
        ) as work:
            await endpoints.create_endpoint(
                work,
                team=visitor.team,
                url=url,
                description=fields.text("description", longest=255) or None,
                events=events,
            )
    except InvalidRequest as error:
        faults = error.faults or {"url": [error.message]}
        return await _page(request, visitor, typed=fields, faults=faults, status=422)
    return go_to(PATH, visitor.config, notice=visitor.voice.say("The address listens now."))


@router.post("/endpoints/{endpoint_id}/{deed}")
async def change_endpoint(visitor: Listener, endpoint_id: UUID, deed: str) -> Response:
    """Try an address, let it listen again, or let it listen no more."""
    if deed not in DEEDS:
        raise InvalidRequest("There is no such thing to do.")
    match deed:
        case "test":
            async with audited(
                visitor.db,
                team=visitor.team,
                actor=visitor.actor,
                action="webhook.test",
                subject=str(endpoint_id),
            ) as work:
                await endpoints.send_test(work, team=visitor.team, endpoint_id=endpoint_id)
        case "delete":
            await listeners.delete_endpoint(
                visitor.db, team=visitor.team, actor=visitor.actor, endpoint_id=endpoint_id
            )
        case _:
            await listeners.change_endpoint(
                visitor.db,
                team=visitor.team,
                actor=visitor.actor,
                endpoint_id=endpoint_id,
                change=lambda old: replace(old, is_disabled=deed == "disable"),
            )
    return go_to(PATH, visitor.config, notice=visitor.voice.say(DEEDS[deed]))


@router.post("/deliveries/{delivery_id}/redeliver")
async def redeliver(visitor: Listener, delivery_id: UUID) -> Response:
    """Send a delivery once more, under its old id."""
    await listeners.redeliver(
        visitor.db, team=visitor.team, actor=visitor.actor, delivery_id=delivery_id
    )
    return go_to(PATH, visitor.config, notice=visitor.voice.say("It is sent once more."))


@router.post("/redeliver-failed")
async def redeliver_failed(visitor: Listener) -> Response:
    """Send everything once more that was given up."""
    n = await listeners.redeliver_failed(visitor.db, team=visitor.team, actor=visitor.actor)
    told = visitor.voice.count(n, "1 delivery is sent once more.", "{n} are sent once more.")
    return go_to(PATH, visitor.config, notice=told)


@router.post("/rotate")
async def rotate(visitor: Listener) -> Response:
    """Sign with a new secret too; the old one retires after a day."""
    await listeners.rotate_secret(visitor.db, team=visitor.team, actor=visitor.actor)
    told = visitor.voice.say("A new secret signs too; the old one retires after a day.")
    return go_to(PATH, visitor.config, notice=told)


async def _page(
    request: Request,
    visitor: Visitor,
    *,
    state: str | None = None,
    after: str | None = None,
    typed: Fields | None = None,
    faults: Mapping[str, list[str]] | None = None,
    status: int = 200,
) -> Response:
    rows = await webhooks.list_deliveries(
        visitor.db, team=visitor.team, state=state, after=_position(after), limit=PAGE + 1
    )
    last = rows[PAGE - 1] if len(rows) > PAGE else None
    return settings_page(
        request,
        visitor,
        "settings_webhooks.html",
        section="/webhooks",
        endpoints=await endpoints.list_endpoints(visitor.db, team=visitor.team),
        secrets=await endpoints.list_signing_secrets(visitor.db, team=visitor.team),
        rows=rows[:PAGE],
        next=None if last is None else write_cursor([last.created_at, last.number, last.id]),
        after=after,
        state=state,
        delivery_states=STATES,
        events=EVENTS,
        test=endpoints.TEST,
        typed=typed,
        faults=faults or {},
        status=status,
    )


def _position(cursor: str | None) -> tuple[datetime, int, UUID] | None:
    values = read_cursor(cursor, length=3)
    if values is None:
        return None
    try:
        return POSITION.validate_python(values)
    except ValidationError as error:
        raise InvalidRequest("The cursor is not one of ours.") from error


DEEDS: Mapping[str, str] = {
    "test": "A test is on its way; the log tells what became of it.",
    "enable": "The address listens again.",
    "disable": "The address listens no more until you enable it.",
    "delete": "The address is removed.",
}
"""What can be done to an address, and what is said afterwards."""

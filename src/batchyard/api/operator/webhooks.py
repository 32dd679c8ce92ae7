"""Webhooks: who listens to the team, what signs, what was told, and telling it again."""

from dataclasses import asdict, replace
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from batchyard.api.operator.access import WEBHOOKS, Caller
from batchyard.api.operator.keyed import KeyedRoute
from batchyard.api.operator.places import DELIVERY, read_place
from batchyard.cursors import write_cursor
from batchyard.errors import NotFound
from batchyard.operations import endpoints, listeners, webhooks
from batchyard.store.endpoints import Endpoint
from batchyard.store.webhooks import LogEntry

router = APIRouter(prefix="/webhooks", tags=["Webhooks"], route_class=KeyedRoute)

State = Literal["pending", "sending", "delivered", "failed", "dropped"]
Event = Annotated[str, Field(max_length=50)]


class NewEndpoint(BaseModel):
    """An address that is to be told what happens in the team."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(
        max_length=endpoints.MAX_URL_LENGTH, examples=["https://example.com/batchyard"]
    )
    description: str | None = Field(default=None, max_length=500, pattern=r"^[^\x00]*$")
    events: list[Event] | None = Field(
        default=None,
        max_length=100,
        description="which it wants, such as `item.completed`, `item.*`, `batch.ended`; null: all",
    )


class EndpointChange(NewEndpoint):
    """What is to be changed of an endpoint; what is left out stays."""

    url: str = Field(default="", max_length=endpoints.MAX_URL_LENGTH)
    is_disabled: bool = Field(default=False, description="enabled again, it starts anew")


class EndpointShown(BaseModel):
    """An endpoint, and whether it works."""

    id: UUID
    url: str
    description: str | None
    events: list[str] | None
    failures: int = Field(description="tries that failed since the last that did not")
    failing_since: datetime | None
    disabled_at: datetime | None
    created_at: datetime


class DeliveryShown(BaseModel):
    """Something that was told, or waits to be."""

    id: UUID
    type: str
    endpoint_id: UUID
    url: str
    batch_id: UUID | None
    item_id: UUID | None
    number: int
    state: str
    attempts: int
    created_at: datetime
    due_at: datetime
    ended_at: datetime | None
    last_status: int | None
    last_error: str | None


class Deliveries(BaseModel):
    """A page of the log."""

    data: list[DeliveryShown]
    next_cursor: str | None


class AttemptShown(BaseModel):
    """One try to deliver."""

    at: datetime
    duration_ms: int
    status: int | None
    error: str | None


@router.get("/endpoints")
async def list_endpoints(caller: Annotated[Caller, WEBHOOKS]) -> dict[str, list[EndpointShown]]:
    """List the addresses that listen to the team."""
    rows = await endpoints.list_endpoints(caller.db, team=caller.team)
    return {"data": [_shown(row) for row in rows]}


@router.post("/endpoints", status_code=201)
async def create_endpoint(caller: Annotated[Caller, WEBHOOKS], new: NewEndpoint) -> EndpointShown:
    """Let an address listen to the team."""
    async with caller.changing(
        "webhook.create", subject=new.url, after=new.model_dump(mode="json")
    ) as work:
        made = await endpoints.create_endpoint(
            work, team=caller.team, url=new.url, description=new.description, events=new.events
        )
    return _shown(made)


@router.get("/endpoints/{endpoint_id}")
async def read_endpoint(caller: Annotated[Caller, WEBHOOKS], endpoint_id: UUID) -> EndpointShown:
    """Return an endpoint, and whether it works."""
    return _shown(
        await endpoints.read_endpoint(caller.db, team=caller.team, endpoint_id=endpoint_id)
    )


@router.patch("/endpoints/{endpoint_id}")
async def change_endpoint(
    caller: Annotated[Caller, WEBHOOKS], endpoint_id: UUID, change: EndpointChange
) -> EndpointShown:
    """Change an endpoint, disable it, or enable it again."""
    given = change.model_dump(exclude_unset=True)
    changed = await listeners.change_endpoint(
        caller.work,
        team=caller.team,
        actor=caller.actor,
        endpoint_id=endpoint_id,
        change=lambda old: replace(old, **given),
    )
    return _shown(changed)


@router.delete("/endpoints/{endpoint_id}", status_code=204)
async def delete_endpoint(caller: Annotated[Caller, WEBHOOKS], endpoint_id: UUID) -> Response:
    """Let an address listen no more; what waits for it is dropped."""
    await listeners.delete_endpoint(
        caller.work, team=caller.team, actor=caller.actor, endpoint_id=endpoint_id
    )
    return Response(status_code=204)


@router.post("/endpoints/{endpoint_id}/test", status_code=202)
async def send_test(caller: Annotated[Caller, WEBHOOKS], endpoint_id: UUID) -> dict[str, UUID]:
    """Send an event `webhook.test`; the log tells what became of it."""
    async with caller.changing("webhook.test", subject=str(endpoint_id)) as work:
        sent = await endpoints.send_test(work, team=caller.team, endpoint_id=endpoint_id)
    return {"delivery_id": sent}


@router.get("/secret")
async def read_secrets(caller: Annotated[Caller, WEBHOOKS]) -> dict[str, list[str]]:
    """Return what signs the team's webhooks, the newest first; two for a day after a rotation."""
    return {"secrets": await endpoints.list_signing_secrets(caller.db, team=caller.team)}


@router.post("/secret/rotate", status_code=201)
async def rotate_secret(caller: Annotated[Caller, WEBHOOKS]) -> dict[str, list[str]]:
    """Sign with a new secret too; the old one retires after a day."""
    await listeners.rotate_secret(caller.work, team=caller.team, actor=caller.actor)
    return {"secrets": await endpoints.list_signing_secrets(caller.work, team=caller.team)}


@router.get("/deliveries")
async def list_deliveries(
    caller: Annotated[Caller, WEBHOOKS],
    *,
    state: State | None = None,
    batch_id: UUID | None = None,
    endpoint_id: UUID | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before")] = None,
) -> Deliveries:
    """List what was told and what waits, the newest first."""
    rows = await webhooks.list_deliveries(
        caller.db,
        team=caller.team,
        state=state,
        batch_id=batch_id,
        endpoint_id=endpoint_id,
        after=read_place(cursor, DELIVERY, length=3),
        limit=limit + 1,
    )
    last = rows[limit - 1] if len(rows) > limit else None
    return Deliveries(
        data=[_told(row) for row in rows[:limit]],
        next_cursor=last and write_cursor([last.created_at, last.number, last.id]),
    )


@router.get("/deliveries/{delivery_id}/attempts")
async def list_attempts(
    caller: Annotated[Caller, WEBHOOKS], delivery_id: UUID
) -> dict[str, list[AttemptShown]]:
    """List every try of a delivery; 404 for one never tried, or not the team's."""
    rows = await webhooks.list_attempts(caller.db, team=caller.team, delivery_id=delivery_id)
    if not rows:
        raise NotFound("There is no such delivery, or it was never tried.")
    return {"data": [AttemptShown.model_validate(asdict(row)) for row in rows]}


@router.post("/deliveries/{delivery_id}/redeliver", status_code=202)
async def redeliver(caller: Annotated[Caller, WEBHOOKS], delivery_id: UUID) -> dict[str, int]:
    """Send a delivery once more, under its old id, by which receivers know it."""
    await listeners.redeliver(
        caller.work, team=caller.team, actor=caller.actor, delivery_id=delivery_id
    )
    return {"deliveries": 1}


@router.post("/deliveries/redeliver", status_code=202)
async def redeliver_failed(caller: Annotated[Caller, WEBHOOKS]) -> dict[str, int]:
    """Send everything once more that was given up."""
    sent = await listeners.redeliver_failed(caller.work, team=caller.team, actor=caller.actor)
    return {"deliveries": sent}


def _shown(endpoint: Endpoint) -> EndpointShown:
    return EndpointShown.model_validate(asdict(endpoint))


def _told(row: LogEntry) -> DeliveryShown:
    shown = DeliveryShown.model_validate(asdict(row))
    # A test is about its endpoint alone.
    return shown.model_copy(update={"batch_id": None}) if row.type == endpoints.TEST else shown

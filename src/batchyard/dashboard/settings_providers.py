"""Providers and routes: who does a team's items, how they do, their limits, and the brake."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from batchyard.dashboard import overview_queries
from batchyard.dashboard.forms import UNITS, Fields, read_fields, read_limits
from batchyard.dashboard.frame import go_to
from batchyard.dashboard.overview_queries import Health
from batchyard.dashboard.settings_frame import ADMIN, settings_page
from batchyard.dashboard.visitors import READ, Visitor
from batchyard.errors import InvalidRequest, NotFound
from batchyard.models import Kind
from batchyard.operations import administration, agents, limits, providers
from batchyard.operations.audit import audited
from batchyard.store.limits import Ceiling, provider_key

LATELY = timedelta(hours=1)
LONGEST_REASON = 200
NO_REASON = "a person"
"""What others read where a person pauses a provider and does not say why."""

router = APIRouter(prefix="/settings/providers")


@router.get("")
async def show_providers(request: Request, visitor: Annotated[Visitor, READ]) -> Response:
    """Show them."""
    return await _page(request, visitor)


@router.post("/resume/{name}")
async def resume(visitor: Annotated[Visitor, Depends(ADMIN)], name: str) -> Response:
    """Let a paused provider go on, for every team that uses it."""
    await _check_offered(visitor, name)
    async with audited(
        visitor.db,
        team=visitor.team,
        actor=visitor.actor,
        action="provider.resume",
        subject=name,
    ) as work:
        await providers.resume_provider(work, name=name)
    told = visitor.voice.say("{name} goes on.", name=name)
    return go_to("/settings/providers", visitor.config, notice=told)


@router.post("/pause/{name}")
async def pause(
    request: Request, visitor: Annotated[Visitor, Depends(ADMIN)], name: str
) -> Response:
    """Let nothing more be sent to a provider, by any team; what it has goes on."""
    await _check_offered(visitor, name)
    fields = await read_fields(request)
    reason = fields.text("reason", longest=LONGEST_REASON)
    fields.check()
    await administration.pause_provider(
        visitor.db, actor=visitor.actor, name=name, reason=reason or NO_REASON
    )
    told = visitor.voice.say("{name} is paused, for every team.", name=name)
    return go_to("/settings/providers", visitor.config, notice=told)


@router.post("/limits/{name}")
async def set_limits(
    request: Request, visitor: Annotated[Visitor, Depends(ADMIN)], name: str
) -> Response:
    """Set how much a provider is given at once, and how fast, by all teams together."""
    await _check_offered(visitor, name)
    fields = await read_fields(request)
    scope = f"provider:{name}"
    try:
        concurrency, rates = read_limits(fields)
        await administration.set_limit(
            visitor.db,
            actor=visitor.actor,
            scope=scope,
            concurrency=concurrency,
            rates=rates,
            # What the form does not show stays as it is.
            burst=await limits.read_burst(visitor.db, scope=scope) if rates else None,
        )
    except InvalidRequest as error:
        faults = error.faults or {"limits": [error.message]}
        return await _page(request, visitor, typed={name: fields}, faults=faults, status=422)
    told = visitor.voice.say("The limits are set; they hold from the next item on.")
    return go_to("/settings/providers", visitor.config, notice=told)


@router.post("/routes")
async def set_route(request: Request, visitor: Annotated[Visitor, Depends(ADMIN)]) -> Response:
    """Lead the team's items of a kind, or of one agent, to a provider."""
    fields = await read_fields(request)
    try:
        kind, agent_id = _scope(fields.text("scope", longest=100))
        name = fields.text("provider", longest=100)
        await _check_offered(visitor, name)
        await administration.set_route(
            visitor.db,
            team=visitor.team,
            actor=visitor.actor,
            kind=kind,
            agent_id=agent_id,
            provider=name,
        )
    except InvalidRequest as error:
        return await _page(request, visitor, faults={"route": [error.message]}, status=422)
    told = visitor.voice.say("The route is set; it holds for what is sent from now on.")
    return go_to("/settings/providers", visitor.config, notice=told)


async def _page(
    request: Request,
    visitor: Visitor,
    *,
    typed: Mapping[str, Fields] | None = None,
    faults: dict[str, list[str]] | None = None,
    status: int = 200,
) -> Response:
    set_ = await limits.list_limits(visitor.db)
    shown = await _read_health(visitor)
    known = await agents.list_agents(visitor.db, team=visitor.team)
    routes = [
        one for one in await providers.list_routes(visitor.db) if one.team_id == visitor.team.id
    ]
    return settings_page(
        request,
        visitor,
        "settings_providers.html",
        section="/providers",
        providers=shown,
        ceilings={one.name: set_.get(provider_key(one.id), Ceiling()) for one in shown},
        units=UNITS,
        typed=typed or {},
        names=await providers.list_offered(visitor.db, team=visitor.team),
        routes=routes,
        agents={agent.id: agent.name for agent in known},
        faults=faults or {},
        status=status,
    )


async def _check_offered(visitor: Visitor, name: str) -> None:
    if name not in await providers.list_offered(visitor.db, team=visitor.team):
        raise NotFound("The team has no such provider.")


async def _read_health(visitor: Visitor) -> Sequence[Health]:
    now = visitor.db.clock()
    async with visitor.db.pool.connection() as conn:
        return await overview_queries.list_health(
            conn, team_id=visitor.team.id, since=now - LATELY, now=now
        )


def _scope(text: str) -> tuple[Kind, UUID | None]:
    """Read what a route is for: a kind, or an agent's id."""
    if text in set(Kind):
        return Kind(text), None
    try:
        return Kind.CALL, UUID(text)
    except ValueError as error:
        raise InvalidRequest("Choose what the route is for.") from error

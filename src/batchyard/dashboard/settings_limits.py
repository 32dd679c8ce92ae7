"""The team: what it is, whom it calls, what it keeps, how much of its work is out at once."""

from collections.abc import Mapping
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from batchyard.dashboard import words
from batchyard.dashboard.forms import MOST, UNITS, Fields, read_fields, read_limits
from batchyard.dashboard.frame import go_to
from batchyard.dashboard.settings_frame import ADMIN, settings_page
from batchyard.dashboard.visitors import READ, Visitor
from batchyard.errors import InvalidRequest, NotFound
from batchyard.operations import administration, agents, contacts, limits, retention, teams
from batchyard.operations.audit import audited
from batchyard.store.limits import Ceiling, agent_key, team_key

TEAM = "team"
FACTS = "facts"
RULES = "rules"
RETENTION = "retention"
"""Names of forms; those of agents are their ids."""
LONGEST = 255
LANGUAGES: Mapping[str, str] = {"en": "English", "da": "Dansk"}
"""What pages are there in, each by its own name."""
TEAM_FAULTS: Mapping[str, str] = {
    "name": "Use 1 to 255 characters.",
    "locale": "Choose one of these languages.",
    "timezone": "Enter a time zone such as Europe/Copenhagen.",
}

router = APIRouter(prefix="/settings/limits")


@router.get("")
async def show_limits(request: Request, visitor: Annotated[Visitor, READ]) -> Response:
    """Show them."""
    return await limits_page(request, visitor)


@router.post("")
async def change_team(request: Request, visitor: Annotated[Visitor, Depends(ADMIN)]) -> Response:
    """Change what the team is called, its language and its time zone."""
    fields = await read_fields(request)
    wanted = {name: fields.text(name, longest=LONGEST) for name in TEAM_FAULTS}
    try:
        fields.check()
        async with audited(
            visitor.db,
            team=visitor.team,
            actor=visitor.actor,
            action="team.change",
            subject=visitor.team.slug,
            before=teams.facts_of(visitor.team),
            after=wanted,
        ) as work:
            await teams.change_team(work, team=visitor.team, **wanted)
    except InvalidRequest as error:
        faults = {name: fields.faults.get(name, [TEAM_FAULTS[name]]) for name in error.faults}
        return await limits_page(request, visitor, typed={FACTS: fields}, faults=faults, status=422)
    told = visitor.voice.say("The team is changed.")
    return go_to("/settings/limits", visitor.config, notice=told)


@router.post("/{name}")
async def set_limits(
    request: Request, visitor: Annotated[Visitor, Depends(ADMIN)], name: str
) -> Response:
    """Set the limits of the team, or of one of its agents."""
    scope = await _scope(visitor, name)
    fields = await read_fields(request)
    try:
        weight = fields.whole("weight", least=1, most=MOST) if name == TEAM else None
        concurrency, rates = read_limits(fields)
        await administration.set_limit(
            visitor.db,
            actor=visitor.actor,
            scope=scope,
            concurrency=concurrency,
            rates=rates,
            # What the form does not show stays as it is.
            burst=await limits.read_burst(visitor.db, scope=scope) if rates else None,
            weight=weight,
        )
    except InvalidRequest as error:
        faults = error.faults or {"limits": [error.message]}
        return await limits_page(request, visitor, typed={name: fields}, faults=faults, status=422)
    told = visitor.voice.say("The limits are set; they hold from the next item on.")
    return go_to("/settings/limits", visitor.config, notice=told)


async def _scope(visitor: Visitor, name: str) -> str:
    """Return the scope of a limit that is the team's own. Raises `NotFound`."""
    if name == TEAM:
        return f"team:{visitor.team.slug}"
    try:
        agent_id = UUID(name)
    except ValueError as error:
        raise NotFound("There are no such limits.") from error
    await agents.require_agent(visitor.db, team=visitor.team, agent_id=agent_id)
    return f"agent:{agent_id}"


async def limits_page(
    request: Request,
    visitor: Visitor,
    *,
    typed: Mapping[str, Fields] | None = None,
    faults: Mapping[str, list[str]] | None = None,
    status: int = 200,
) -> Response:
    """Answer with the page; `typed` holds the form that was not right, by its name."""
    known = await limits.list_limits(visitor.db)
    own = await agents.list_agents(visitor.db, team=visitor.team)
    return settings_page(
        request,
        visitor,
        "settings_limits.html",
        section="/limits",
        ceilings=[
            (TEAM, visitor.team.name, known.get(team_key(visitor.team.id), Ceiling())),
            *((str(one.id), one.name, known.get(agent_key(one.id), Ceiling())) for one in own),
        ],
        rules=await contacts.read_rules(visitor.db, team=visitor.team),
        days=await retention.read_set(visitor.db, team=visitor.team),
        defaults=retention.DEFAULT_DAYS,
        kept=words.KEPT,
        usual=visitor.config.team_concurrency,
        languages=LANGUAGES,
        units=UNITS,
        typed=typed or {},
        faults=faults or {},
        status=status,
    )

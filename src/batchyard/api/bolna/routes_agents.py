"""Agents, their calls, and the team itself."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from batchyard.api.bolna import agent_queries, document, wire_agents, wire_calls
from batchyard.api.bolna.agent_queries import Filters
from batchyard.api.bolna.gate import DoorRoute
from batchyard.api.bolna.keyed import Key, answer_once
from batchyard.api.bolna.queries import Page
from batchyard.api.bolna.requests import (
    DEFAULT_PAGE_SIZE,
    MAX_PAGE_NUMBER,
    AgentId,
    json_of,
    known_id,
    read_time,
)
from batchyard.api.bolna.speaker import Speaker, Speaks
from batchyard.api.bolna.translate import parse_id
from batchyard.api.bolna.wire import ANY_ID, Done
from batchyard.models import BatchState
from batchyard.operations import agents, control, deletions
from batchyard.operations.agents import AgentChange, Seal
from batchyard.operations.transactions import Transactions, one_transaction
from batchyard.store.agents import AgentRow
from batchyard.store.db import Connection

MAX_EXECUTIONS = 50

PageNumber = Annotated[int, Query(ge=1, le=MAX_PAGE_NUMBER)]
PageSize = Annotated[int, Query(ge=1, le=MAX_EXECUTIONS)]
When = Annotated[
    str | None,
    Query(
        description="ISO 8601, of the creation of the call",
        examples=["2024-01-01T00:00:00Z"],
        json_schema_extra={"format": "date-time"},
    ),
]

router = APIRouter(route_class=DoorRoute, tags=[document.AGENTS])


@router.post(
    "/v2/agent",
    status_code=201,
    response_model=wire_agents.AgentCreated,
    responses={201: document.OF_AGENT, **document.faults(409, 413, 422)},
)
async def create_agent(
    body: wire_agents.NewAgent, request: Request, speaker: Speaks, _key: Key = None
) -> Response:
    """Make an agent."""

    async def perform(db: Transactions) -> Response:
        change = _change(body)
        async with one_transaction(db) as work:
            agent_id = await agents.create_agent(
                work, team=speaker.team, change=change, webhook_format=speaker.webhook_format
            )
            after = {"name": (change.config or {}).get(agents.NAME_KEY)}
            await speaker.note(work.connection, "agent.create", subject=agent_id, after=after)
        return JSONResponse({"agent_id": str(agent_id), "state": "created"}, 201)

    return await answer_once(request, speaker, body=await request.body(), perform=perform)


@router.get("/v2/agent/all", response_model=list[wire_agents.Agent], responses=document.faults())
async def list_agents(speaker: Speaks) -> Response:
    """List all agents, newest first."""
    return json_of(await agent_queries.list_agents(speaker.db, team_id=speaker.team.id), "agent")


@router.get("/v2/agent/{agent_id}", response_model=wire_agents.Agent, responses=document.faults())
async def read_agent(agent_id: AgentId, speaker: Speaks) -> Response:
    """Read an agent."""
    body = await agent_queries.read_agent(
        speaker.db, team_id=speaker.team.id, agent_id=known_id(agent_id, "agent")
    )
    return json_of(body, "agent")


@router.put("/v2/agent/{agent_id}", response_model=Done, responses=document.faults(413))
async def replace_agent(agent_id: AgentId, body: wire_agents.NewAgent, speaker: Speaks) -> Response:
    """Put a new configuration in the place of the old one."""
    agent = known_id(agent_id, "agent")
    await agents.replace_agent(
        speaker.db,
        team=speaker.team,
        agent_id=agent,
        change=_change(body),
        webhook_format=speaker.webhook_format,
        seal=_traced(speaker, agent),
    )
    return JSONResponse({"message": "success", "state": "updated"})


@router.patch("/v2/agent/{agent_id}", response_model=Done, responses=document.faults(413))
async def change_agent(
    agent_id: AgentId, body: wire_agents.ChangedAgent, speaker: Speaks
) -> Response:
    """Change what is given of an agent, key by key; the rest stays."""
    agent = known_id(agent_id, "agent")
    await agents.patch_agent(
        speaker.db,
        team=speaker.team,
        agent_id=agent,
        change=_change(body),
        webhook_format=speaker.webhook_format,
        seal=_traced(speaker, agent),
    )
    return JSONResponse({"message": "success", "state": "updated"})


@router.delete("/v2/agent/{agent_id}", response_model=Done, responses=document.faults())
async def delete_agent(agent_id: AgentId, speaker: Speaks) -> Response:
    """Delete an agent with all its batches and calls."""
    agent = known_id(agent_id, "agent")
    async with one_transaction(speaker.db) as work:
        await agents.delete_agent(work, team=speaker.team, agent_id=agent)
        await speaker.note(
            work.connection,
            "agent.delete",
            subject=agent,
            before={"is_deleted": False},
            after={"is_deleted": True},
        )
    await deletions.delete_batches_of_deleted_agents(speaker.db, agent_id=agent)
    return JSONResponse({"message": "success", "state": "deleted"})


@router.post(
    "/v2/agent/{agent_id}/stop",
    response_model=wire_agents.AgentStopped,
    responses=document.faults(409, 413, 422),
)
async def stop_agent(
    agent_id: AgentId, request: Request, speaker: Speaks, _key: Key = None
) -> Response:
    """Stop everything of an agent that was not sent yet: its batches and single calls."""
    stopped: list[UUID] = []

    async def perform(db: Transactions) -> Response:
        agent = known_id(agent_id, "agent")
        async with one_transaction(db) as work:
            done = await agents.stop_agent(work, team=speaker.team, agent_id=agent)
            await speaker.note(
                work.connection,
                "agent.stop",
                subject=agent,
                before={"batches": {str(key): state for key, state in done.states.items()}},
                after={"batches": {str(key): BatchState.STOPPED for key in done.states}},
            )
        stopped.extend(done.states)
        body = f'{{"stopped_executions":{done.item_ids}}}'
        return Response(body, media_type="application/json")

    answer = await answer_once(request, speaker, body=await request.body(), perform=perform)
    for batch_id in stopped:
        await control.end_unsent(speaker.db, batch_id=batch_id)
    return answer


@router.get(
    "/v2/agent/{agent_id}/executions",
    response_model=wire_calls.ExecutionPage,
    responses=document.faults(),
)
async def list_agent_executions(
    *,
    agent_id: AgentId,
    speaker: Speaks,
    page_number: PageNumber = 1,
    page_size: PageSize = DEFAULT_PAGE_SIZE,
    status: wire_calls.Status | None = None,
    batch_id: Annotated[str | None, Query(pattern=ANY_ID)] = None,
    since: Annotated[When, Query(alias="from")] = None,
    until: Annotated[When, Query(alias="to")] = None,
    answered_by_voice_mail: Literal["true", "false"] | None = None,
) -> Response:
    """List the calls of an agent, the newest batch first, single calls among them."""
    agent = known_id(agent_id, "agent")
    await agents.require_agent(speaker.db, team=speaker.team, agent_id=agent)
    filters = Filters(
        status=status,
        batch_id=None if batch_id is None else parse_id(batch_id),
        since=read_time(since, "from"),
        until=read_time(until, "to"),
        answered_by_voice_mail=(
            None if answered_by_voice_mail is None else answered_by_voice_mail == "true"
        ),
    )
    body = await agent_queries.list_executions(
        speaker.db,
        view=speaker.view(),
        agent_id=agent,
        filters=filters,
        page=Page(number=page_number, size=page_size),
    )
    return json_of(body, "agent")


@router.get(
    "/user/me",
    response_model=wire_agents.User,
    responses=document.faults(),
    tags=[document.ACCOUNT],
)
async def read_user(speaker: Speaks) -> Response:
    """Read whose token this is, and how many calls are made at once."""
    body = await agent_queries.read_user(
        speaker.db,
        team_id=speaker.team.id,
        default_concurrency=speaker.config.team_concurrency,
    )
    return json_of(body, "user")


@router.get(
    "/phone-numbers/all",
    response_model=list[wire_agents.Number],
    responses=document.faults(),
    tags=[document.ACCOUNT],
)
async def list_numbers(speaker: Speaks) -> Response:
    """List the numbers the team calls from."""
    return json_of(await agent_queries.list_numbers(speaker.db, view=speaker.view()), "number")


def _traced(speaker: Speaker, agent_id: UUID) -> Seal:
    """Return what writes the trace of a change: each part that is another, before and after."""

    async def trace(conn: Connection, old: AgentRow, new: AgentRow) -> None:
        was, is_ = _parts(old), _parts(new)
        keys = [key for key in {**was, **is_} if was.get(key) != is_.get(key)]
        await speaker.note(
            conn,
            "agent.change",
            subject=agent_id,
            before={key: was.get(key) for key in keys},
            after={key: is_.get(key) for key in keys},
        )

    return trace


def _parts(agent: AgentRow) -> dict[str, object]:
    return {**agent.extra, **agent.config, "agent_prompts": agent.prompts}


def _change(body: wire_agents.NewAgent | wire_agents.ChangedAgent) -> AgentChange:
    config = body.agent_config
    return AgentChange(
        config=None if config is None else config.model_dump(exclude_unset=True),
        prompts=body.agent_prompts,
        extra=body.model_extra or {},
    )

"""Agents, who speak in calls, by their names; what they say and when belongs to another door."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from batchyard.api.operator.access import READ, WRITE, Caller
from batchyard.api.operator.keyed import KeyedRoute
from batchyard.api.operator.letters import DOOR
from batchyard.operations import agents
from batchyard.operations.agents import NAME_KEY, AgentChange

router = APIRouter(tags=["Team"], route_class=KeyedRoute)


class NewAgent(BaseModel):
    """An agent to make."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=100, pattern=r"^[^\x00]*$")


class AgentShown(BaseModel):
    """An agent of the team."""

    id: UUID
    name: str
    created_at: datetime


class Made(BaseModel):
    """What was made."""

    id: UUID


@router.get("/agents")
async def list_agents(caller: Annotated[Caller, READ]) -> dict[str, list[AgentShown]]:
    """List the team's agents, the oldest first."""
    rows = await agents.list_agents(caller.db, team=caller.team)
    return {
        "data": [AgentShown(id=row.id, name=row.name, created_at=row.created_at) for row in rows]
    }


@router.post("/agents", status_code=201)
async def create_agent(caller: Annotated[Caller, WRITE], new: NewAgent) -> Made:
    """Make an agent that has a name so far."""
    async with caller.changing(
        "agent.create",
        after={"name": new.name},
    ) as work:
        made = await agents.create_agent(
            work,
            team=caller.team,
            change=AgentChange(config={NAME_KEY: new.name}, prompts=None, extra={}),
            webhook_format=DOOR,
        )
    return Made(id=made)

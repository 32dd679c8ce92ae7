"""Agents: who speaks in a batch of calls."""

from datetime import datetime
from uuid import UUID

from batchyard.errors import NotFound
from batchyard.models import Team
from batchyard.store import agents
from batchyard.store.db import Connection, Database


async def require_agent(db: Database, *, team: Team, agent_id: UUID) -> None:
    """Raise `NotFound` unless the team has this agent."""
    async with db.pool.connection() as conn:
        await _require(conn, team=team, agent_id=agent_id)


async def use_agent(
    conn: Connection, *, team: Team, agent_id: UUID, creates: bool, now: datetime
) -> None:
    """Make sure within a transaction that the team has this agent.

    `creates` makes one of an id never seen before. Raises `NotFound`, also for an id that is
    another team's.
    """
    if creates:
        await agents.insert_unless_taken(
            conn, agent_id=agent_id, team_id=team.id, name=f"Agent {agent_id.hex[:8]}", now=now
        )
    await _require(conn, team=team, agent_id=agent_id)


async def _require(conn: Connection, *, team: Team, agent_id: UUID) -> None:
    if not await agents.exists(conn, agent_id=agent_id, team_id=team.id):
        raise NotFound("There is no such agent.")

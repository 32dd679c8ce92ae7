"""Rows of `agents`: who speaks in a batch of calls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from batchyard.models import JsonObject
from batchyard.store.db import Connection

EXISTS = """
SELECT FROM agents WHERE id = %(id)s AND team_id = %(team_id)s AND deleted_at IS NULL
"""


async def exists(conn: Connection, *, agent_id: UUID, team_id: int) -> bool:
    """Tell whether the team has this agent."""
    cursor = await conn.execute(EXISTS, {"id": agent_id, "team_id": team_id})
    return cursor.rowcount == 1


# An id is taken for ever, also by another team or by an agent that was deleted.
INSERT_UNLESS_TAKEN = """
INSERT INTO agents (id, team_id, name, created_at, updated_at)
VALUES (%(id)s, %(team_id)s, %(name)s, %(now)s, %(now)s)
ON CONFLICT (id) DO NOTHING
"""


async def insert_unless_taken(
    conn: Connection, *, agent_id: UUID, team_id: int, name: str, now: datetime
) -> bool:
    """Write an agent; False where its id is taken."""
    cursor = await conn.execute(
        INSERT_UNLESS_TAKEN, {"id": agent_id, "team_id": team_id, "name": name, "now": now}
    )
    return cursor.rowcount == 1


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentRow:
    """An agent, with all that its client sent."""

    name: str
    config: Mapping[str, object]
    prompts: Mapping[str, object] | None
    extra: Mapping[str, object]


INSERT = """
INSERT INTO agents (id, team_id, name, config, prompts, extra, created_at, updated_at)
VALUES (%(id)s, %(team_id)s, %(name)s, %(config)s, %(prompts)s, %(extra)s, %(now)s, %(now)s)
"""


async def insert(
    conn: Connection, *, agent_id: UUID, team_id: int, agent: AgentRow, now: datetime
) -> None:
    """Write a new agent."""
    await conn.execute(INSERT, {**_values(agent), "id": agent_id, "team_id": team_id, "now": now})


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedAgent:
    """An agent, by its name."""

    id: UUID
    name: str
    created_at: datetime


LIST_NAMED = """
SELECT id, name, created_at FROM agents
 WHERE team_id = %(team_id)s AND deleted_at IS NULL
 ORDER BY created_at, id
"""


async def list_named(conn: Connection, *, team_id: int) -> list[NamedAgent]:
    """List the agents of a team, the oldest first."""
    async with conn.cursor(row_factory=class_row(NamedAgent)) as cursor:
        await cursor.execute(LIST_NAMED, {"team_id": team_id})
        return await cursor.fetchall()


LOCK = """
SELECT name, config, prompts, extra FROM agents
 WHERE id = %(id)s AND team_id = %(team_id)s AND deleted_at IS NULL
   FOR UPDATE
"""


async def lock(conn: Connection, *, agent_id: UUID, team_id: int) -> AgentRow | None:
    """Lock an agent of the team until the end of the transaction, and return it."""
    async with conn.cursor(row_factory=class_row(AgentRow)) as cursor:
        await cursor.execute(LOCK, {"id": agent_id, "team_id": team_id})
        return await cursor.fetchone()


UPDATE = """
UPDATE agents
   SET name = %(name)s, config = %(config)s, prompts = %(prompts)s, extra = %(extra)s,
       updated_at = %(now)s
 WHERE id = %(id)s
"""


async def update(conn: Connection, *, agent_id: UUID, agent: AgentRow, now: datetime) -> None:
    """Write an agent locked before."""
    await conn.execute(UPDATE, {**_values(agent), "id": agent_id, "now": now})


MARK_DELETED = "UPDATE agents SET deleted_at = %(now)s, updated_at = %(now)s WHERE id = %(id)s"


async def mark_deleted(conn: Connection, *, agent_id: UUID, now: datetime) -> None:
    """Mark an agent locked before as deleted; its id stays taken."""
    await conn.execute(MARK_DELETED, {"id": agent_id, "now": now})


# In id order, as whoever locks several batches; admission waits here, or was before.
LOCK_STOPPABLE = """
SELECT id, state FROM batches
 WHERE agent_id = %(id)s AND deleted_at IS NULL
   AND state IN ('scheduled', 'queued', 'running', 'paused')
 ORDER BY id
   FOR UPDATE
"""


async def lock_stoppable_batches(conn: Connection, *, agent_id: UUID) -> dict[UUID, str]:
    """Lock every batch of an agent that could send something, single calls too; return states."""
    cursor = await conn.execute(LOCK_STOPPABLE, {"id": agent_id})
    return {UUID(str(batch_id)): str(state) for batch_id, state in await cursor.fetchall()}


UNSENT = """
SELECT coalesce(json_agg(id ORDER BY id), '[]')::text FROM items
 WHERE batch_id = ANY (%(batch_ids)s) AND phase = 'ready'
"""


async def render_unsent(conn: Connection, *, batch_ids: Sequence[UUID]) -> str:
    """Write down, as a JSON array, the items of locked batches that nobody has taken."""
    row = await (await conn.execute(UNSENT, {"batch_ids": list(batch_ids)})).fetchone()
    return str(row[0]) if row else "[]"


def _values(agent: AgentRow) -> JsonObject:
    return {
        "name": agent.name,
        "config": Jsonb(dict(agent.config)),
        "prompts": None if agent.prompts is None else Jsonb(dict(agent.prompts)),
        "extra": Jsonb(dict(agent.extra)),
    }


FIND_TEAM = "SELECT team_id FROM agents WHERE id = %(agent_id)s AND deleted_at IS NULL"


async def find_team_id(conn: Connection, *, agent_id: UUID) -> int | None:
    """Return whose agent it is; for the operator, who stands above teams."""
    row = await (await conn.execute(FIND_TEAM, {"agent_id": agent_id})).fetchone()
    return int(str(row[0])) if row else None

"""Rows of `agents`: who speaks in a batch of calls."""

from datetime import datetime
from uuid import UUID

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
) -> None:
    """Write an agent, unless its id is taken."""
    await conn.execute(
        INSERT_UNLESS_TAKEN, {"id": agent_id, "team_id": team_id, "name": name, "now": now}
    )


FIND_TEAM = "SELECT team_id FROM agents WHERE id = %(agent_id)s AND deleted_at IS NULL"


async def find_team_id(conn: Connection, *, agent_id: UUID) -> int | None:
    """Return whose agent it is; for the operator, who stands above teams."""
    row = await (await conn.execute(FIND_TEAM, {"agent_id": agent_id})).fetchone()
    return int(str(row[0])) if row else None

"""Rows of `numbers`: the telephone numbers a team calls from."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row

from batchyard.store.db import Connection


@dataclass(frozen=True, kw_only=True, slots=True)
class NumberRow:
    """A number, and the agent it belongs to."""

    number: str
    agent_id: UUID | None
    created_at: datetime


INSERT = """
INSERT INTO numbers (id, team_id, number, agent_id, created_at, updated_at)
VALUES (%(id)s, %(team_id)s, %(number)s, %(agent_id)s, %(now)s, %(now)s)
ON CONFLICT (team_id, number) DO UPDATE
   SET agent_id = excluded.agent_id, updated_at = excluded.updated_at
"""


async def put(
    conn: Connection,
    *,
    number_id: UUID,
    team_id: int,
    number: str,
    agent_id: UUID | None,
    now: datetime,
) -> None:
    """Give a team a number, or an existing number to another agent."""
    await conn.execute(
        INSERT,
        {
            "id": number_id,
            "team_id": team_id,
            "number": number,
            "agent_id": agent_id,
            "now": now,
        },
    )


LIST = """
SELECT number, agent_id, created_at FROM numbers WHERE team_id = %(team_id)s ORDER BY number
"""


async def list_all(conn: Connection, *, team_id: int) -> list[NumberRow]:
    """List the numbers of a team."""
    async with conn.cursor(row_factory=class_row(NumberRow)) as cursor:
        await cursor.execute(LIST, {"team_id": team_id})
        return await cursor.fetchall()


DELETE = """
DELETE FROM numbers WHERE team_id = %(team_id)s AND number = %(number)s
RETURNING number, agent_id, created_at
"""


async def delete(conn: Connection, *, team_id: int, number: str) -> NumberRow | None:
    """Take a number away and return it; None when the team has no such number."""
    async with conn.cursor(row_factory=class_row(NumberRow)) as cursor:
        await cursor.execute(DELETE, {"team_id": team_id, "number": number})
        return await cursor.fetchone()


FREE_OF_AGENT = "UPDATE numbers SET agent_id = NULL, updated_at = %(now)s WHERE agent_id = %(id)s"


async def free_of_agent(conn: Connection, *, agent_id: UUID, now: datetime) -> None:
    """Leave the numbers of a deleted agent to the team."""
    await conn.execute(FREE_OF_AGENT, {"id": agent_id, "now": now})


# An agent's own numbers, else those of the team that belong to no agent.
FOR_AGENT = """
SELECT number FROM numbers
 WHERE team_id = %(team_id)s
   AND agent_id IS NOT DISTINCT FROM (
       SELECT agent_id FROM numbers WHERE team_id = %(team_id)s AND agent_id = %(agent_id)s LIMIT 1)
 ORDER BY created_at, number
"""


async def list_for_agent(conn: Connection, *, team_id: int, agent_id: UUID) -> list[str]:
    """List what an agent calls from when nothing else is said."""
    cursor = await conn.execute(FOR_AGENT, {"team_id": team_id, "agent_id": agent_id})
    return [str(row[0]) for row in await cursor.fetchall()]

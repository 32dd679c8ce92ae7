"""The telephone numbers a team calls from."""

import re
from collections.abc import Sequence
from uuid import UUID

from batchyard.errors import InvalidRequest, NotFound
from batchyard.models import Team
from batchyard.operations.transactions import Transactions
from batchyard.store import agents, numbers
from batchyard.store.db import Connection
from batchyard.store.ids import new_id
from batchyard.store.numbers import NumberRow

E164 = re.compile(r"\+[1-9]\d{6,14}", re.ASCII)


async def put_numbers(
    db: Transactions, *, team: Team, texts: Sequence[str], agent_id: UUID | None = None
) -> Sequence[NumberRow]:
    """Let a team, or only one of its agents, call from numbers: from all of them, or none.

    A number the team has already changes its agent; these are returned as they were. Raises
    `InvalidRequest` and `NotFound`.
    """
    if wrong := [text for text in texts if not E164.fullmatch(text)]:
        raise InvalidRequest(f"{wrong[0]} is not a number such as +4520123456.")
    async with db.transaction() as conn:
        if agent_id is not None and not await agents.exists(
            conn, agent_id=agent_id, team_id=team.id
        ):
            raise NotFound("The team has no such agent.")
        known = await numbers.list_all(conn, team_id=team.id)
        for text in texts:
            await numbers.put(
                conn,
                number_id=new_id(),
                team_id=team.id,
                number=text,
                agent_id=agent_id,
                now=db.clock(),
            )
    return [row for row in known if row.number in set(texts)]


async def list_numbers(db: Transactions, *, team: Team) -> Sequence[NumberRow]:
    """List the numbers of a team."""
    async with db.transaction() as conn:
        return await numbers.list_all(conn, team_id=team.id)


async def remove_number(db: Transactions, *, team: Team, number: str) -> NumberRow:
    """Take a number away and return it; batches that were given it keep it. Raises `NotFound`."""
    async with db.transaction() as conn:
        removed = await numbers.delete(conn, team_id=team.id, number=number)
    if removed is None:
        raise NotFound(f"The team has no number {number}.")
    return removed


async def choose_numbers(
    conn: Connection, *, team: Team, agent_id: UUID, given: Sequence[str]
) -> Sequence[str]:
    """Return what is called from: what the client named, else what belongs to the agent."""
    return given or await numbers.list_for_agent(conn, team_id=team.id, agent_id=agent_id)

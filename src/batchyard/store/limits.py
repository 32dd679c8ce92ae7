"""Limits as rows: locked first, counted after, so that two admissions never count together."""

from collections.abc import Sequence

from batchyard.store.db import Connection

# In key order, so that admissions of different workers never wait for each other in a circle.
LOCK = """
SELECT key, concurrency FROM limits WHERE key = ANY (%(keys)s) ORDER BY key FOR UPDATE
"""

ADD = """
INSERT INTO limits (key) SELECT unnest(%(keys)s::text[]) ON CONFLICT (key) DO NOTHING
"""


def team_key(team_id: int) -> str:
    """Name the limit of a team."""
    return f"team:{team_id}"


async def lock(conn: Connection, keys: Sequence[str]) -> dict[str, int | None]:
    """Lock limits until the end of the transaction; return each one's concurrency, if set.

    Must be the transaction's first statement: what is counted later sees what the lock waited for.
    """
    wanted = sorted(keys)
    found = await (await conn.execute(LOCK, {"keys": wanted})).fetchall()
    if len(found) < len(wanted):
        await conn.execute(ADD, {"keys": wanted})
        found = await (await conn.execute(LOCK, {"keys": wanted})).fetchall()
    return {str(key): None if cap is None else int(str(cap)) for key, cap in found}

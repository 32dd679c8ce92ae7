"""Where teams send their shipments from."""

from datetime import datetime

from psycopg.types.json import Jsonb

from batchyard.models import JsonObject
from batchyard.store.db import Connection

READ = "SELECT sender FROM senders WHERE team_id = %(team_id)s"


async def read(conn: Connection, *, team_id: int) -> JsonObject | None:
    """Return the team's sender."""
    row = await (await conn.execute(READ, {"team_id": team_id})).fetchone()
    return row[0] if row and isinstance(row[0], dict) else None


WRITE = """
INSERT INTO senders (team_id, sender, updated_at)
VALUES (%(team_id)s, %(sender)s, %(now)s)
ON CONFLICT (team_id) DO UPDATE SET sender = excluded.sender, updated_at = excluded.updated_at
"""


async def write(conn: Connection, *, team_id: int, sender: JsonObject, now: datetime) -> None:
    """Write the team's sender; it replaces the one before."""
    await conn.execute(WRITE, {"team_id": team_id, "sender": Jsonb(dict(sender)), "now": now})

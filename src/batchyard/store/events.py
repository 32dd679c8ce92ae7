"""Events: rows of the transaction that made them true."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from psycopg.types.json import Jsonb

from batchyard.store.db import Connection

WRITE = """
INSERT INTO events (team_id, batch_id, item_id, type, data, at)
VALUES (%(team_id)s, %(batch_id)s, %(item_id)s, %(type)s, %(data)s, %(now)s)
"""


async def write(
    conn: Connection,
    *,
    team_id: int,
    type_: str,
    batch_id: UUID | None = None,
    item_id: UUID | None = None,
    data: Mapping[str, object] | None = None,
    now: datetime,
) -> None:
    """Write an event; readers see it in commit order (see the table's comment)."""
    await conn.execute(
        WRITE,
        {
            "team_id": team_id,
            "batch_id": batch_id,
            "item_id": item_id,
            "type": type_,
            "data": Jsonb(dict(data or {})),
            "now": now,
        },
    )

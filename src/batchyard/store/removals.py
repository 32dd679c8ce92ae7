"""Contents outside the database whose documents are gone, by a trigger, or came too late."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from batchyard.store.db import Connection

# A flush whose commit was not confirmed is repeated: what it has stored comes late then, and stays.
ADD_UNSTORED = """
INSERT INTO removals (location)
SELECT u.location
  FROM unnest(%(item_ids)s::uuid[], %(locations)s::text[]) AS u (item_id, location)
 WHERE NOT EXISTS (SELECT FROM documents d
                    WHERE d.item_id = u.item_id AND d.location = u.location)
    ON CONFLICT DO NOTHING
"""


async def add_unstored(conn: Connection, contents: Sequence[tuple[UUID, str]]) -> None:
    """Let contents go, each of an item and at a location, that became no documents."""
    await conn.execute(
        ADD_UNSTORED,
        {
            "item_ids": [item_id for item_id, _ in contents],
            "locations": [location for _, location in contents],
        },
    )


# No locks: whoever removes a content that is gone already has done it too.
LIST_DUE = """
SELECT location FROM removals
 WHERE tried_at IS NULL OR tried_at < %(before)s
 ORDER BY tried_at NULLS FIRST, location
 LIMIT %(limit)s
"""


async def list_due(conn: Connection, *, before: datetime, limit: int) -> list[str]:
    """List contents that were not tried since a time; those never tried come first."""
    rows = await (await conn.execute(LIST_DUE, {"before": before, "limit": limit})).fetchall()
    return [str(row[0]) for row in rows]


FORGET = "DELETE FROM removals WHERE location = ANY (%(locations)s)"


async def forget(conn: Connection, *, locations: Sequence[str]) -> None:
    """Forget contents that are gone."""
    await conn.execute(FORGET, {"locations": list(locations)})


POSTPONE = "UPDATE removals SET tried_at = %(now)s WHERE location = ANY (%(locations)s)"


async def postpone(conn: Connection, *, locations: Sequence[str], now: datetime) -> None:
    """Note that contents could not be removed."""
    await conn.execute(POSTPONE, {"locations": list(locations), "now": now})

"""Contents outside the database whose documents are gone; a trigger notes each."""

from collections.abc import Sequence
from datetime import datetime

from batchyard.store.db import Connection

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

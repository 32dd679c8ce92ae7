"""Numbers and references that came before: in the same upload, or in what a team did lately."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from batchyard.models import Kind
from batchyard.store.db import Connection

# Each by its index; what else the team has does not matter.
FIND_STAGED = """
SELECT number FROM item_data WHERE number = ANY (%(keys)s) AND batch_id = %(batch_id)s
UNION
SELECT reference FROM item_data
 WHERE reference = ANY (%(keys)s) AND batch_id = %(batch_id)s AND number IS NULL
"""


async def find_staged(conn: Connection, *, batch_id: UUID, keys: Sequence[str]) -> set[str]:
    """Return which of these numbers or references a batch has."""
    cursor = await conn.execute(FIND_STAGED, {"batch_id": batch_id, "keys": list(keys)})
    return {str(row[0]) for row in await cursor.fetchall()}


HAS_RECENT = """
SELECT EXISTS (
    SELECT FROM batches
     WHERE team_id = %(team_id)s AND kind = %(kind)s AND deleted_at IS NULL
       AND state NOT IN ('importing', 'cancelled')
       AND (finished_at IS NULL OR updated_at > %(since)s))
"""


async def has_recent(conn: Connection, *, team_id: int, kind: Kind, since: datetime) -> bool:
    """Tell whether a batch of the team ran since or still will; else nothing is to be looked up."""
    cursor = await conn.execute(HAS_RECENT, {"team_id": team_id, "kind": kind, "since": since})
    row = await cursor.fetchone()
    return row is not None and bool(row[0])


FIND_RECENT = """
SELECT DISTINCT d.{key}
  FROM item_data d
  JOIN batches b ON b.id = d.batch_id
  JOIN items i ON i.id = d.item_id
 WHERE d.{key} = ANY (%(keys)s)
   AND (i.phase <> 'done' OR coalesce(d.ended_at, i.updated_at) > %(since)s)
   AND b.team_id = %(team_id)s AND b.kind = %(kind)s
   AND b.deleted_at IS NULL AND b.state NOT IN ('importing', 'cancelled')
   AND i.status NOT IN ('canceled', 'stopped')
"""

_KEYS = {Kind.CALL: "number", Kind.SHIPMENT: "reference"}


async def find_recent(
    conn: Connection, *, team_id: int, kind: Kind, keys: Sequence[str], since: datetime
) -> set[str]:
    """Return which of these the team has an item for since, done or still to be done."""
    cursor = await conn.execute(
        FIND_RECENT.format(key=_KEYS[kind]).encode(),
        {"team_id": team_id, "kind": kind, "keys": list(keys), "since": since},
    )
    return {str(row[0]) for row in await cursor.fetchall()}

"""Booked shipments that are taken back."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from batchyard.models import JsonObject
from batchyard.store.db import Connection


@dataclass(frozen=True, kw_only=True, slots=True)
class BookedShipment:
    """What is needed to take one back."""

    status: str
    provider_id: int | None
    reference: str | None
    voided: JsonObject | None
    """When and by whom it was taken back already, and what was said of that."""


READ = """
SELECT i.status, i.provider_id, d.provider_reference AS reference, d.result -> 'voided' AS voided
  FROM items i
  JOIN item_data d ON d.item_id = i.id
  JOIN batches b ON b.id = i.batch_id
 WHERE i.id = %(item_id)s AND b.team_id = %(team_id)s AND b.kind = 'shipment'
   AND b.deleted_at IS NULL
"""


async def read(conn: Connection, *, team_id: int, item_id: UUID) -> BookedShipment | None:
    """Return a shipment of the team."""
    async with conn.cursor(row_factory=class_row(BookedShipment)) as cursor:
        await cursor.execute(READ, {"team_id": team_id, "item_id": item_id})
        return await cursor.fetchone()


# The item stays booked: it was, and a label that was printed may still travel.
NOTE = """
UPDATE item_data
   SET result = coalesce(result, '{}') || jsonb_build_object('voided', %(voided)s::jsonb)
 WHERE item_id = %(item_id)s
"""


async def note(
    conn: Connection, *, item_id: UUID, actor: str, told: JsonObject, now: datetime
) -> None:
    """Note that a shipment was taken back, and what was told of that, beside its booking."""
    note = {"at": now.isoformat(), "by": actor, **told}
    await conn.execute(NOTE, {"item_id": item_id, "voided": Jsonb(note)})

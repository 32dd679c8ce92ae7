"""Single shipments: batches of one, never listed; and one shipment of any batch."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row, kwargs_row

from batchyard.models import BatchState
from batchyard.store.db import Connection

SINGLE_PRIORITY = 9
"""Somebody waits for it, so it goes before the batches of its team."""

INSERT_SINGLE = """
INSERT INTO batches (id, team_id, kind, state, is_single, reference, identifier, priority,
                     total_rows, created_at, updated_at)
VALUES (%(id)s, %(team_id)s, 'shipment', 'open', true, %(reference)s, %(identifier)s,
        %(priority)s, 1, %(now)s, %(now)s)
"""


async def insert_single(
    conn: Connection,
    *,
    batch_id: UUID,
    team_id: int,
    reference: str | None,
    identifier: str | None,
    now: datetime,
) -> None:
    """Write an open batch for one shipment."""
    await conn.execute(
        INSERT_SINGLE,
        {
            "id": batch_id,
            "team_id": team_id,
            "reference": reference,
            "identifier": identifier,
            "priority": SINGLE_PRIORITY,
            "now": now,
        },
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedShipmentBatch:
    """The batch of a shipment, under its lock."""

    id: UUID
    state: BatchState
    is_single: bool


# The batch first, as everywhere: admission waits here, or has taken the shipment before.
LOCK_BATCH = """
SELECT b.id, b.state, b.is_single FROM batches b
 WHERE b.id = (SELECT i.batch_id FROM items i WHERE i.id = %(item_id)s)
   AND b.team_id = %(team_id)s AND b.kind = 'shipment' AND b.deleted_at IS NULL
   AND b.state <> 'importing'
   FOR UPDATE
"""


async def lock_batch(
    conn: Connection, *, item_id: UUID, team_id: int
) -> LockedShipmentBatch | None:
    """Lock the batch of a shipment that the team can see."""
    async with conn.cursor(row_factory=kwargs_row(_locked)) as cursor:
        await cursor.execute(LOCK_BATCH, {"item_id": item_id, "team_id": team_id})
        return await cursor.fetchone()


def _locked(*, id: UUID, state: str, is_single: bool) -> LockedShipmentBatch:  # noqa: A002 - column
    return LockedShipmentBatch(id=id, state=BatchState(state), is_single=is_single)


CANCEL_ITEM = """
WITH ended AS (
    UPDATE items SET phase = 'done', status = 'canceled', updated_at = %(now)s
     WHERE id = %(item_id)s AND phase = 'ready'
    RETURNING id
)
UPDATE item_data d SET ended_at = %(now)s FROM ended e WHERE d.item_id = e.id
"""


async def cancel_item(conn: Connection, *, item_id: UUID, now: datetime) -> bool:
    """End a shipment that nobody has taken; False when it is too late."""
    cursor = await conn.execute(CANCEL_ITEM, {"item_id": item_id, "now": now})
    return cursor.rowcount == 1


INSERT_BOOKING = """
INSERT INTO bookings (id, team_id, item_id, key, created_at)
VALUES (%(id)s, %(team_id)s, %(item_id)s, %(key)s, %(now)s)
"""


async def insert_booking(
    conn: Connection,
    *,
    booking_id: UUID,
    team_id: int,
    item_id: UUID,
    key: str | None,
    now: datetime,
) -> None:
    """Note that somebody asked for a shipment to be booked."""
    await conn.execute(
        INSERT_BOOKING,
        {"id": booking_id, "team_id": team_id, "item_id": item_id, "key": key, "now": now},
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownBooking:
    """A booking that was asked for before."""

    id: UUID
    key: str | None


FIND_BOOKING = """
SELECT id, key FROM bookings WHERE item_id = %(item_id)s ORDER BY created_at DESC, id DESC LIMIT 1
"""


async def find_booking(conn: Connection, *, item_id: UUID) -> KnownBooking | None:
    """Return the last booking of a shipment."""
    async with conn.cursor(row_factory=class_row(KnownBooking)) as cursor:
        await cursor.execute(FIND_BOOKING, {"item_id": item_id})
        return await cursor.fetchone()


LIST_SETTLED = """
SELECT id FROM items WHERE id = ANY (%(ids)s) AND phase IN ('done', 'unknown')
"""


async def list_settled(conn: Connection, *, ids: list[UUID]) -> set[UUID]:
    """Tell which of these shipments have ended, or wait for a person."""
    cursor = await conn.execute(LIST_SETTLED, {"ids": ids})
    return {row[0] for row in await cursor.fetchall() if isinstance(row[0], UUID)}

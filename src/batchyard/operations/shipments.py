"""Put shipments into batches or make them singly, and cancel one."""

from collections.abc import Sequence
from uuid import UUID

from batchyard.errors import Conflict, NotFound
from batchyard.models import BatchState, JsonObject, Kind, Team
from batchyard.operations.batches import lock_list
from batchyard.operations.transactions import Transactions
from batchyard.store import batches, control, item_intake, shipments
from batchyard.store.ids import new_id
from batchyard.store.item_intake import NewItem

ENDED_STATES = (
    BatchState.STOPPED,
    BatchState.COMPLETED,
    BatchState.FAILED,
    BatchState.CANCELLED,
)
"""Of batches whose shipments have met their end, sent or not."""


async def add_shipments(
    db: Transactions, *, team: Team, batch_id: UUID, shipments: Sequence[JsonObject]
) -> list[UUID]:
    """Add checked shipments to an open batch, all or none; return their ids in the same order.

    Raises `Conflict` when the batch is not open, and `NotFound`.
    """
    async with db.transaction() as connection:
        batch = await lock_list(connection, team=team, kind=Kind.SHIPMENT, batch_id=batch_id)
        if batch.state is not BatchState.OPEN:
            raise Conflict("Only an open batch takes shipments.", state=batch.state)
        items = [
            _item(shipment, position=position)
            for position, shipment in enumerate(shipments, start=batch.last_line + 1)
        ]
        now = db.clock()
        await batches.add_rows(connection, batch_id=batch_id, added=len(items), now=now)
        await item_intake.copy_items(
            connection, batch_id=batch_id, team_id=team.id, rows=items, now=now
        )
    return [item.id for item in items]


async def create_shipment(db: Transactions, *, team: Team, shipment: JsonObject) -> UUID:
    """Make a checked shipment that belongs to no batch a client sees, and return its id."""
    batch_id = new_id()
    item = _item(shipment, position=1)
    async with db.transaction() as connection:
        now = db.clock()
        await shipments.insert_single(
            connection,
            batch_id=batch_id,
            team_id=team.id,
            reference=item.reference,
            identifier=_text(shipment, "identifier"),
            now=now,
        )
        await item_intake.copy_items(
            connection, batch_id=batch_id, team_id=team.id, rows=[item], now=now
        )
    return item.id


async def cancel_shipment(db: Transactions, *, team: Team, shipment_id: UUID) -> None:
    """End a shipment that was not sent yet, of a batch or single.

    Raises `NotFound`, and `Conflict` when it is being booked or has ended.
    """
    async with db.transaction() as connection:
        batch = await shipments.lock_batch(connection, item_id=shipment_id, team_id=team.id)
        if batch is None:
            raise NotFound("There is no such shipment.")
        now = db.clock()
        has_ended = batch.state in ENDED_STATES
        if has_ended or not await shipments.cancel_item(connection, item_id=shipment_id, now=now):
            raise Conflict("The shipment is being booked or has ended.", state=batch.state)
        if batch.is_single and batch.state is BatchState.OPEN:
            await batches.set_cancelled(connection, batch_id=batch.id, now=now)
        else:
            await control.start_if_all_ended(connection, batch_ids=[batch.id], now=now)


def _item(shipment: JsonObject, *, position: int) -> NewItem:
    return NewItem(
        id=new_id(),
        position=position,
        payload=shipment,
        reference=_text(shipment, "reference"),
    )


def _text(shipment: JsonObject, name: str) -> str | None:
    value = shipment.get(name)
    return value if isinstance(value, str) else None

"""Put shipments into batches."""

from collections.abc import Sequence
from uuid import UUID

from batchyard.errors import Conflict
from batchyard.models import BatchState, JsonObject, Kind, Team
from batchyard.operations.batches import lock_batch
from batchyard.operations.transactions import Transactions
from batchyard.store import batches, item_intake
from batchyard.store.ids import new_id
from batchyard.store.item_intake import NewItem


async def add_shipments(
    db: Transactions, *, team: Team, batch_id: UUID, shipments: Sequence[JsonObject]
) -> list[UUID]:
    """Add checked shipments to an open batch, all or none; return their ids in the same order.

    Raises `Conflict` when the batch is not open, and `NotFound`.
    """
    async with db.transaction() as connection:
        batch = await lock_batch(connection, team=team, kind=Kind.SHIPMENT, batch_id=batch_id)
        if batch.state is not BatchState.OPEN:
            raise Conflict("Only an open batch takes shipments.", state=batch.state)
        items = [
            _item(shipment, position=position)
            for position, shipment in enumerate(shipments, start=batch.total_rows + 1)
        ]
        now = db.clock()
        await batches.add_rows(connection, batch_id=batch_id, added=len(items), now=now)
        await item_intake.copy_items(
            connection, batch_id=batch_id, team_id=team.id, rows=items, now=now
        )
    return [item.id for item in items]


def _item(shipment: JsonObject, *, position: int) -> NewItem:
    reference = shipment.get("reference")
    return NewItem(
        id=new_id(),
        position=position,
        payload=shipment,
        reference=reference if isinstance(reference, str) else None,
    )

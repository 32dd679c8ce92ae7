"""Single items: stop one that was not sent yet, find one that is live."""

from collections.abc import Mapping
from uuid import UUID

from batchyard.errors import Conflict, NotFound
from batchyard.models import Phase, Team
from batchyard.operations.transactions import Transactions
from batchyard.store import control, queue, waits

NOT_LIVE: Mapping[str, str] = {
    Phase.CALLING: "It was just sent, and what became of it is not known yet; try again.",
    Phase.UNKNOWN: "Nobody knows what became of it; look for it at the provider.",
    Phase.DONE: "The item has ended.",
}


async def stop_item(db: Transactions, *, team: Team, item_id: UUID) -> None:
    """End an item that was not sent; a batch of which it was the last one ends with it.

    Raises `NotFound`, and `Conflict` once it was sent.
    """
    async with db.transaction() as conn:
        batch_id = await control.lock_batch_of_item(conn, team_id=team.id, item_id=item_id)
        if batch_id is None:
            raise NotFound("There is no such item.")
        now = db.clock()
        if not await control.stop_item(conn, item_id=item_id, now=now):
            raise Conflict("The item was sent already, or has ended.")
        await control.start_if_all_ended(conn, batch_ids=[batch_id], now=now)
        await queue.wake(conn, team_id=team.id, now=now)


async def check_live(db: Transactions, *, team: Team, item_id: UUID) -> str:
    """Return the status of a live item; raise `NotFound`, or `Conflict` with what to do."""
    async with db.transaction() as conn:
        item = await waits.read_item(conn, team_id=team.id, item_id=item_id)
    if item is None:
        raise NotFound("There is no such item.")
    if item.phase != Phase.LIVE:
        told = NOT_LIVE.get(item.phase, "The item was not sent yet; stop it.")
        raise Conflict(told, state=item.phase)
    return item.status

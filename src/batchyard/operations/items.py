"""Single items: stop one that was not sent yet."""

from uuid import UUID

from batchyard.errors import Conflict, NotFound
from batchyard.models import Team
from batchyard.operations.transactions import Transactions
from batchyard.store import control, queue


async def stop_item(db: Transactions, *, team: Team, item_id: UUID) -> None:
    """End an item that was not sent. Raises `NotFound`, and `Conflict` once it was sent."""
    async with db.transaction() as conn:
        now = db.clock()
        found = await control.stop_item(conn, team_id=team.id, item_id=item_id, now=now)
        if found is None:
            raise NotFound("There is no such item.")
        if not found:
            raise Conflict("The item was sent already, or has ended.")
        await queue.wake(conn, team_id=team.id, now=now)

"""Book single shipments now, and wait for how they end."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from uuid import UUID

from batchyard.errors import Conflict, NotFound
from batchyard.lifecycle import BatchEvent, next_batch_state
from batchyard.models import BatchState, Team
from batchyard.operations.transactions import Transactions
from batchyard.store import batches, queue, shipments
from batchyard.store.db import TRANSIENT, Connection, Database
from batchyard.store.ids import new_id

LOOK_SECONDS = 0.05
"""How often all that is waited for in this process is looked at, by one small query."""


async def book_shipment(
    db: Transactions,
    *,
    team: Team,
    shipment_id: UUID,
    key: str | None = None,
    seal: Callable[[Connection, UUID], Awaitable[None]] | None = None,
) -> UUID:
    """Let an open single shipment be booked at once; return the id of the booking.

    A request that comes again with its own `key`, because its answer was lost in a crash, gets the
    booking it has begun; `seal` is given the id of a new one, to do more in its transaction. Raises
    `NotFound`, and `Conflict`, whose state is `open` where the shipment belongs to a batch.
    """
    async with db.transaction() as connection:
        batch = await shipments.lock_batch(connection, item_id=shipment_id, team_id=team.id)
        if batch is None:
            raise NotFound("There is no such shipment.")
        if not batch.is_single:
            raise Conflict("The shipment belongs to a batch.", state=BatchState.OPEN)
        if batch.state is not BatchState.OPEN:
            return await _begun(connection, shipment_id, key=key, state=batch.state)
        now = db.clock()
        state = next_batch_state(batch.state, BatchEvent.DISPATCHED)
        await batches.set_state(connection, batch_id=batch.id, state=state, now=now)
        await batches.note_trace(connection, batch_id=batch.id)
        booking_id = new_id()
        await shipments.insert_booking(
            connection,
            booking_id=booking_id,
            team_id=team.id,
            item_id=shipment_id,
            key=key,
            now=now,
        )
        await queue.wake(connection, team_id=team.id, now=now)
        if seal is not None:
            await seal(connection, booking_id)
    return booking_id


async def _begun(
    connection: Connection, shipment_id: UUID, *, key: str | None, state: BatchState
) -> UUID:
    booking = await shipments.find_booking(connection, item_id=shipment_id)
    if key is None or booking is None or booking.key != key:
        raise Conflict("Only an open shipment can be booked.", state=state)
    return booking.id


class Endings:
    """Waits for shipments to end; one a process, however many wait."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._waiting: dict[UUID, list[asyncio.Future[None]]] = {}
        self._looking: asyncio.Task[None] | None = None

    async def wait(self, shipment_id: UUID, *, seconds: float) -> bool:
        """Wait until a shipment has ended or needs a person; False when it takes longer.

        Holds neither a connection nor a transaction.
        """
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(shipment_id, []).append(ended)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(), name="endings")
        try:
            async with asyncio.timeout(seconds):
                await ended
        except TimeoutError:
            return False
        finally:
            self._leave(shipment_id, ended)
        return True

    async def _look(self) -> None:
        while self._waiting:
            settled: set[UUID] = set()
            with suppress(*TRANSIENT):
                async with self._db.pool.connection() as connection:
                    settled = await shipments.list_settled(connection, ids=list(self._waiting))
            for shipment_id in settled:
                for ended in self._waiting.get(shipment_id, ()):
                    if not ended.done():
                        ended.set_result(None)
            await asyncio.sleep(LOOK_SECONDS)

    def _leave(self, shipment_id: UUID, ended: "asyncio.Future[None]") -> None:
        self._waiting[shipment_id].remove(ended)
        if not self._waiting[shipment_id]:
            del self._waiting[shipment_id]

"""Change batches before they run: create, dispatch, schedule."""

from datetime import datetime
from uuid import UUID

from batchyard.errors import Conflict, NotFound
from batchyard.lifecycle import BatchEvent, next_batch_state
from batchyard.models import BatchState, Kind, Team
from batchyard.operations.transactions import Transactions
from batchyard.store import batches, control, queue
from batchyard.store.batches import LockedBatch
from batchyard.store.db import Connection
from batchyard.store.ids import new_id


async def create_batch(
    db: Transactions,
    *,
    team: Team,
    kind: Kind,
    reference: str | None = None,
    identifier: str | None = None,
) -> UUID:
    """Make an empty batch that takes items, and return its id."""
    batch_id = new_id()
    async with db.transaction() as connection:
        await batches.insert_open(
            connection,
            batch_id=batch_id,
            team_id=team.id,
            kind=kind,
            reference=reference,
            identifier=identifier,
            now=db.clock(),
        )
    return batch_id


async def dispatch_batch(
    db: Transactions,
    *,
    team: Team,
    kind: Kind,
    batch_id: UUID,
    expected: BatchState | None = None,
) -> None:
    """Let a batch run now, and wake its team; one in which nothing is left to do ends at once.

    `expected` narrows the states it may come from. Raises `Conflict` when its state does not
    allow it or it has no items (then the error's `state` is one that allows it), and `NotFound`.
    """
    async with db.transaction() as connection:
        batch = await lock_batch(connection, team=team, kind=kind, batch_id=batch_id)
        if expected is not None and batch.state is not expected:
            raise Conflict(f"The batch is not {expected}.", state=batch.state)
        state = next_batch_state(batch.state, BatchEvent.DISPATCHED)
        if not await batches.has_items(connection, batch_id=batch_id):
            raise Conflict("The batch has no items.", state=batch.state)
        now = db.clock()
        await batches.set_state(connection, batch_id=batch_id, state=state, now=now)
        await control.start_if_all_ended(connection, batch_ids=[batch_id], now=now)
        await batches.note_trace(connection, batch_id=batch_id)
        await queue.wake(connection, team_id=team.id, now=now)


async def schedule_batch(
    db: Transactions,
    *,
    team: Team,
    kind: Kind,
    batch_id: UUID,
    at: datetime,
    bypass_windows: bool | None = None,
) -> None:
    """Let a batch run at a time; a time set before is replaced.

    `bypass_windows` None leaves the batch's own. Raises `Conflict` and `NotFound`.
    """
    async with db.transaction() as connection:
        batch = await lock_batch(connection, team=team, kind=kind, batch_id=batch_id)
        next_batch_state(batch.state, BatchEvent.SCHEDULED)
        await batches.set_scheduled(
            connection, batch_id=batch_id, at=at, bypass_windows=bypass_windows, now=db.clock()
        )
        await batches.note_trace(connection, batch_id=batch_id)


async def unschedule_batch(db: Transactions, *, team: Team, kind: Kind, batch_id: UUID) -> None:
    """Let a batch wait until somebody starts it, whatever time was set.

    One that has no time, and was not started, stays as it is. Raises `Conflict` and `NotFound`.
    """
    async with db.transaction() as connection:
        batch = await lock_batch(connection, team=team, kind=kind, batch_id=batch_id)
        if batch.state is BatchState.OPEN:
            return
        next_batch_state(batch.state, BatchEvent.UNSCHEDULED)
        await batches.set_unscheduled(connection, batch_id=batch_id, now=db.clock())


async def lock_batch(
    connection: Connection, *, team: Team, kind: Kind, batch_id: UUID
) -> LockedBatch:
    """Lock a batch of the team for the rest of the transaction; raise `NotFound`."""
    return _found(await batches.lock(connection, batch_id=batch_id, team_id=team.id, kind=kind))


async def lock_any_batch(
    connection: Connection, *, team: Team, kind: Kind, batch_id: UUID
) -> LockedBatch:
    """Lock a batch as `lock_batch` does, also one that was cancelled.

    For deletion, and for doors that show such a batch; nothing else is done to it.
    """
    return _found(await batches.lock_any(connection, batch_id=batch_id, team_id=team.id, kind=kind))


async def lock_list(
    connection: Connection, *, team: Team, kind: Kind, batch_id: UUID
) -> LockedBatch:
    """Lock a batch as `lock_batch` does, where that of a single item is none.

    For doors that show it as an item only, and for what would give it more items.
    """
    return _list(await lock_batch(connection, team=team, kind=kind, batch_id=batch_id))


async def lock_any_list(
    connection: Connection, *, team: Team, kind: Kind, batch_id: UUID
) -> LockedBatch:
    """Lock a batch as `lock_any_batch` does, where that of a single item is none."""
    return _list(await lock_any_batch(connection, team=team, kind=kind, batch_id=batch_id))


def _found(batch: LockedBatch | None) -> LockedBatch:
    if batch is None:
        raise NotFound("There is no such batch.")
    return batch


def _list(batch: LockedBatch) -> LockedBatch:
    return _found(None if batch.is_single else batch)

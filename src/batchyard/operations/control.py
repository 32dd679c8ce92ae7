"""Steer a batch: pause, resume, stop, cancel."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from batchyard.errors import Conflict
from batchyard.lifecycle import BatchEvent, next_batch_state
from batchyard.models import BatchState, Kind, Team
from batchyard.operations.batches import lock_batch
from batchyard.operations.transactions import Transactions
from batchyard.store import batches, control, queue
from batchyard.store.db import Connection, Database

BLOCK = 5000
"""Items that one transaction ends."""
STILL_ENDING = (
    "The batch was stopped, and what it had not sent is still being ended; try again in a moment."
)


async def pause_batch(
    db: Transactions,
    *,
    team: Team,
    kind: Kind,
    batch_id: UUID,
    actor: str | None = None,
    reason: str = "paused",
) -> None:
    """Let nothing more of a batch be sent until it is resumed; keep who wanted that.

    Raises `Conflict` where its state does not allow it, and `NotFound`.
    """
    async with db.transaction() as conn:
        batch = await lock_batch(conn, team=team, kind=kind, batch_id=batch_id)
        state = next_batch_state(batch.state, BatchEvent.PAUSED)
        await control.set_state(
            conn,
            batch_id=batch_id,
            state=state,
            reason=reason,
            paused_by=actor,
            now=db.clock(),
        )


async def resume_batch(db: Transactions, *, team: Team, kind: Kind, batch_id: UUID) -> None:
    """Let a paused batch go on. Raises `Conflict` and `NotFound`."""
    async with db.transaction() as conn:
        batch = await lock_batch(conn, team=team, kind=kind, batch_id=batch_id)
        state = next_batch_state(batch.state, BatchEvent.RESUMED)
        now = db.clock()
        await control.set_state(conn, batch_id=batch_id, state=state, reason=None, now=now)
        await queue.wake(conn, team_id=team.id, now=now)


async def stop_batch(db: Database, *, team: Team, kind: Kind, batch_id: UUID) -> None:
    """End a batch: what was not sent ends `stopped`, what is live runs to its end.

    Raises `Conflict` and `NotFound`. The items follow in slices; a crash between them is mended
    by `end_stopped_items`.
    """
    await mark_stopped(db, team=team, kind=kind, batch_id=batch_id)
    await end_unsent(db, batch_id=batch_id)


async def mark_stopped(db: Transactions, *, team: Team, kind: Kind, batch_id: UUID) -> None:
    """Let nothing more of a batch be sent, for good; its items end soon after.

    Raises `Conflict` and `NotFound`.
    """
    async with db.transaction() as conn:
        batch = await lock_batch(conn, team=team, kind=kind, batch_id=batch_id)
        state = next_batch_state(batch.state, BatchEvent.STOPPED)
        await control.set_state(conn, batch_id=batch_id, state=state, reason=None, now=db.clock())


async def cancel_batch(db: Transactions, *, team: Team, kind: Kind, batch_id: UUID) -> None:
    """End an open batch for good; it is gone for clients, and its items end `canceled`.

    Raises `Conflict` and `NotFound`. One block of items ends with it, so a small batch has ended
    whole; `end_stopped_items` ends what a large one has left.
    """
    async with db.transaction() as conn:
        batch = await lock_batch(conn, team=team, kind=kind, batch_id=batch_id)
        next_batch_state(batch.state, BatchEvent.CANCELLED)
        now = db.clock()
        await batches.set_cancelled(conn, batch_id=batch_id, now=now)
        await control.end_ready(conn, batch_ids=[batch_id], limit=BLOCK, now=now)


async def end_stopped_items(db: Database) -> None:
    """End what stopped and cancelled batches still have: not reached yet, or handed back since."""
    async with db.pool.connection() as conn:
        batch_ids = await control.list_ended_with_ready(conn)
    for batch_id in batch_ids:
        await end_unsent(db, batch_id=batch_id)


async def end_unsent(db: Database, *, batch_id: UUID) -> None:
    """End what a stopped or cancelled batch has not sent, in slices."""
    while True:
        async with db.transaction() as conn:
            ended = await control.end_ready(conn, batch_ids=[batch_id], limit=BLOCK, now=db.clock())
        if not ended:
            return


async def clear_stopped(conn: Connection, *, batch_ids: Sequence[UUID], now: datetime) -> None:
    """End what those of these locked batches that are stopped have not sent, before they run again.

    A stop is for good: what it kept from being sent must not go out with what is tried again.
    Raises `Conflict` when more is left than a transaction may end, or a worker still holds some.
    """
    if await end_stopped(conn, batch_ids=batch_ids, now=now):
        raise Conflict(STILL_ENDING, state=BatchState.STOPPED)


async def end_stopped(conn: Connection, *, batch_ids: Sequence[UUID], now: datetime) -> set[UUID]:
    """End what those of these locked batches that are stopped have not sent, as far as one may.

    Return those that must not run again yet, for they have some left.
    """
    await control.end_ready(conn, batch_ids=batch_ids, limit=BLOCK, now=now)
    return await control.find_stopped_with_unsent(conn, batch_ids=batch_ids)

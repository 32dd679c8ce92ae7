"""Delete batches: gone for clients at once, purged in slices afterwards."""

from datetime import timedelta
from uuid import UUID

from batchyard.models import Kind, Team
from batchyard.operations.batches import lock_any_batch
from batchyard.operations.transactions import Transactions
from batchyard.store import deletions
from batchyard.store.db import Database

SLICE = 2000
"""Rows deleted in one transaction."""
BATCHES_AT_ONCE = 500
"""Batches of a deleted agent that are marked in one transaction."""


async def delete_batch(db: Transactions, *, team: Team, kind: Kind, batch_id: UUID) -> None:
    """Delete a batch in any state; what is live runs to its end unseen. Raises `NotFound`."""
    async with db.transaction() as conn:
        batch = await lock_any_batch(conn, team=team, kind=kind, batch_id=batch_id)
        await deletions.mark(conn, batch_ids=[batch.id], now=db.clock())


async def delete_batches_of_deleted_agents(
    db: Transactions, *, agent_id: UUID | None = None
) -> None:
    """Delete all batches of this agent, or of any, that was deleted itself."""
    while True:
        async with db.transaction() as conn:
            batch_ids = await deletions.lock_of_deleted_agents(
                conn, agent_id=agent_id, limit=BATCHES_AT_ONCE
            )
            await deletions.mark(conn, batch_ids=batch_ids, now=db.clock())
        if len(batch_ids) < BATCHES_AT_ONCE:
            return


async def purge_deleted(db: Database, *, unknown_grace: timedelta) -> None:
    """Delete the rows of deleted batches, except what is still live, in short transactions."""
    await delete_batches_of_deleted_agents(db)
    async with db.pool.connection() as conn:
        batch_ids = await deletions.list_deleted(conn)
    for batch_id in batch_ids:
        await _purge(db, batch_id, unknown_grace=unknown_grace)


async def _purge(db: Database, batch_id: UUID, *, unknown_grace: timedelta) -> None:
    while True:
        async with db.transaction() as conn:
            purged = await deletions.purge_some(
                conn,
                batch_id=batch_id,
                limit=SLICE,
                unknown_before=db.clock() - unknown_grace,
            )
            if not purged:
                await deletions.purge_batch(conn, batch_id=batch_id)
                return

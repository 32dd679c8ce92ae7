"""Changes of one batch or one item, whose trace tells how it stood before and after."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from uuid import UUID

from batchyard.models import Kind, Team
from batchyard.operations.audit import Actor, note
from batchyard.operations.batches import lock_batch
from batchyard.operations.transactions import Joined, Transactions, one_transaction
from batchyard.store import batches, control


@asynccontextmanager
async def changing_batch(
    db: Transactions,
    *,
    team: Team,
    actor: Actor,
    kind: Kind,
    batch_id: UUID,
    action: str,
    after: Mapping[str, object] | None = None,
) -> AsyncIterator[Joined]:
    """Lend the transaction of a change of a batch; its trace tells the state before and after.

    `after` tells more of what is true then. Raises `NotFound`.
    """
    async with one_transaction(db) as work:
        found = await lock_batch(work.connection, team=team, kind=kind, batch_id=batch_id)
        yield work
        state = await batches.read_state(work.connection, batch_id=batch_id)
        await note(
            work.connection,
            team=team,
            actor=actor,
            action=action,
            subject=str(batch_id),
            before={"state": found.state},
            after={"state": state, **(after or {})},
            now=db.clock(),
        )


@asynccontextmanager
async def changing_item(
    db: Transactions, *, team: Team, actor: Actor, item_id: UUID, action: str
) -> AsyncIterator[Joined]:
    """Lend the transaction of a change of an item; its trace tells the status before and after.

    What an item holds is not told: the log forgets nothing. That an item is missing the change
    itself has to find out.
    """
    async with one_transaction(db) as work:
        conn = work.connection
        before = await control.read_status(conn, team_id=team.id, item_id=item_id)
        yield work
        after = await control.read_status(conn, team_id=team.id, item_id=item_id)
        await note(
            conn,
            team=team,
            actor=actor,
            action=action,
            subject=str(item_id),
            before={"status": before},
            after={"status": after},
            now=db.clock(),
        )

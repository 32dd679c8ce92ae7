"""Changes of one batch or one item, whose trace tells how it stood before and after."""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Protocol
from uuid import UUID

from batchyard.models import Kind, Team
from batchyard.operations.audit import Actor, note
from batchyard.operations.batches import lock_batch
from batchyard.operations.transactions import Joined, Transactions, one_transaction
from batchyard.store import batches, control
from batchyard.store.batches import LockedBatch
from batchyard.store.db import Connection


class Lock(Protocol):
    """How a batch of the team is found and locked."""

    async def __call__(
        self, connection: Connection, /, *, team: Team, kind: Kind, batch_id: UUID
    ) -> LockedBatch:
        """Return it; raise `NotFound`."""


@asynccontextmanager
async def changing_batch(
    db: Transactions,
    *,
    team: Team,
    actor: Actor,
    kind: Kind,
    batch_id: UUID,
    action: str,
    facts: Collection[str] = (),
    lock: Lock = lock_batch,
) -> AsyncIterator[Joined]:
    """Lend the transaction of a change of a batch; its trace tells the state before and after.

    `facts` names what else of `batches.read_facts` it tells; `lock` finds the batch, `lock_list`
    for a door that knows lists only, `lock_any_batch` for a deletion. Raises `NotFound`.
    """
    async with one_transaction(db) as work:
        conn = work.connection
        found = await lock(conn, team=team, kind=kind, batch_id=batch_id)
        before = await _read_facts(conn, batch_id, facts)
        yield work
        state = await batches.read_state(conn, batch_id=batch_id)
        after = await _read_facts(conn, batch_id, facts)
        await note(
            conn,
            team=team,
            actor=actor,
            action=action,
            subject=str(batch_id),
            before={"state": found.state, **before},
            after={"state": state, **after},
            now=db.clock(),
        )


async def _read_facts(
    conn: Connection, batch_id: UUID, names: Collection[str]
) -> Mapping[str, object]:
    if not names:
        return {}
    facts = await batches.read_facts(conn, batch_id=batch_id)
    return {name: facts.get(name) for name in names}


async def read_state(db: Transactions, *, batch_id: UUID) -> str:
    """Return the state of a batch, as a trace tells it."""
    async with db.transaction() as conn:
        return await batches.read_state(conn, batch_id=batch_id)


async def note_batch(
    conn: Connection,
    *,
    team: Team,
    actor: Actor,
    batch_id: UUID,
    action: str,
    state_before: str,
    after: Mapping[str, object],
    now: datetime,
) -> None:
    """Write the trace of a change of a batch that took several transactions, in the last one.

    `after` tells what it did; the state of the batch is told beside it.
    """
    state = await batches.read_state(conn, batch_id=batch_id)
    await note(
        conn,
        team=team,
        actor=actor,
        action=action,
        subject=str(batch_id),
        before={"state": state_before},
        after={"state": state, **after},
        now=now,
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

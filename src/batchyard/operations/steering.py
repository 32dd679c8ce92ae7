"""What a person does to a batch as a whole, with its trace in the audit log."""

from collections.abc import Sequence
from enum import StrEnum
from uuid import UUID

from batchyard.lifecycle import UNKNOWN_STATUS
from batchyard.models import Kind, Team
from batchyard.operations import batches, changes, control, deletions, outcomes
from batchyard.operations.audit import Actor, note
from batchyard.operations.outcomes import Verdict
from batchyard.operations.slices import Slices
from batchyard.operations.traces import changing_batch, note_batch, read_state
from batchyard.operations.transactions import Transactions
from batchyard.store.db import Connection, Database


class Steer(StrEnum):
    """What can be done to a batch; the audit log knows it as `batch.<word>`."""

    DISPATCH = "dispatch"
    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"
    CANCEL = "cancel"
    DELETE = "delete"


async def steer_batch(
    db: Transactions, *, team: Team, actor: Actor, kind: Kind, batch_id: UUID, steer: Steer
) -> None:
    """Do it. Raises `Conflict` where the batch's state does not allow it, and `NotFound`."""
    async with changing_batch(
        db,
        team=team,
        actor=actor,
        kind=kind,
        batch_id=batch_id,
        action=f"batch.{steer}",
        lock=batches.lock_any_batch if steer is Steer.DELETE else batches.lock_batch,
    ) as work:
        match steer:
            case Steer.DISPATCH:
                await batches.dispatch_batch(work, team=team, kind=kind, batch_id=batch_id)
            case Steer.PAUSE:
                await control.pause_batch(
                    work, team=team, kind=kind, batch_id=batch_id, actor=actor.name
                )
            case Steer.RESUME:
                await control.resume_batch(work, team=team, kind=kind, batch_id=batch_id)
            case Steer.STOP:
                await control.mark_stopped(work, team=team, kind=kind, batch_id=batch_id)
            case Steer.CANCEL:
                await control.cancel_batch(work, team=team, kind=kind, batch_id=batch_id)
            case Steer.DELETE:
                await deletions.delete_batch(work, team=team, kind=kind, batch_id=batch_id)


async def retry_failed(
    db: Database,
    *,
    team: Team,
    actor: Actor,
    kind: Kind,
    batch_id: UUID,
    statuses: Sequence[str] | None = None,
    item_ids: Sequence[UUID] | None = None,
) -> int:
    """Try ended items again, as `changes.retry_failed` does; return how many."""
    state = await read_state(db, batch_id=batch_id)

    async def trace(conn: Connection, items: int) -> None:
        await note_batch(
            conn,
            team=team,
            actor=actor,
            batch_id=batch_id,
            action="batch.retry",
            state_before=state,
            after={"items": items, "statuses": statuses},
            now=db.clock(),
        )

    return await changes.retry_failed(
        db,
        team=team,
        kind=kind,
        batch_id=batch_id,
        statuses=statuses,
        item_ids=item_ids,
        slices=Slices(began_at=db.clock(), seal=trace),
    )


async def resolve_unknown(
    db: Database, *, team: Team, actor: Actor, verdict: Verdict, item_ids: Sequence[UUID]
) -> int:
    """Decide unknown items, as `outcomes.resolve_unknown` does; return how many."""

    async def trace(conn: Connection, items: int) -> None:
        await note(
            conn,
            team=team,
            actor=actor,
            action="items.resolve",
            subject=str(item_ids[0]) if len(item_ids) == 1 else None,
            before={"status": UNKNOWN_STATUS},
            after={"as": verdict, "items": items},
            now=db.clock(),
        )

    return await outcomes.resolve_unknown(
        db,
        team=team,
        verdict=verdict,
        actor=actor.name,
        item_ids=item_ids,
        slices=Slices(began_at=db.clock(), seal=trace),
    )

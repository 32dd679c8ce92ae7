"""Change a batch after it was started: try failed items again, priority, retries, the brake."""

from collections.abc import Sequence
from uuid import UUID

from batchyard import retry
from batchyard.errors import Conflict, InvalidRequest
from batchyard.lifecycle import ENDED_STATUSES, SUCCESS_STATUS, BatchEvent, next_batch_state
from batchyard.models import BatchState, Kind, RetryPolicy, Team
from batchyard.operations.batches import lock_batch
from batchyard.operations.transactions import Transactions
from batchyard.store import control, queue, retries
from batchyard.store.db import Database

BLOCK = 5000

FAILED_STATUSES: dict[Kind, tuple[str, ...]] = {
    Kind.CALL: ("no-answer", "busy", "failed", "error", "balance-low"),
    Kind.SHIPMENT: ("failed",),
}
"""What `retry failed` takes unless told otherwise."""

LOWEST_PRIORITY, HIGHEST_PRIORITY = 0, 9


async def retry_failed(
    db: Database,
    *,
    team: Team,
    kind: Kind,
    batch_id: UUID,
    statuses: Sequence[str] | None = None,
    item_ids: Sequence[UUID] | None = None,
) -> int:
    """Try ended items of a batch again under new keys; return how many.

    Only items whose failure was answered: an unknown outcome has to be resolved. An ended batch
    runs again. Raises `Conflict` while the batch was never started, `InvalidRequest` for a status
    that is none or that is success, and `NotFound`.
    """
    chosen = tuple(statuses) if statuses is not None else FAILED_STATUSES[kind]
    allowed = [word for word in ENDED_STATUSES[kind] if word != SUCCESS_STATUS[kind]]
    if wrong := [word for word in chosen if word not in allowed]:
        raise InvalidRequest(f"'{wrong[0]}' cannot be retried. Known: {', '.join(allowed)}.")
    before, total = db.clock(), 0
    while True:
        async with db.transaction() as conn:
            batch = await lock_batch(conn, team=team, kind=kind, batch_id=batch_id)
            now = db.clock()
            again = await retries.retry_failed(
                conn,
                batch_id=batch_id,
                statuses=chosen,
                item_ids=item_ids,
                limit=BLOCK,
                before=before,
                now=now,
            )
            if again and batch.state not in {BatchState.RUNNING, BatchState.PAUSED}:
                state = next_batch_state(batch.state, BatchEvent.REOPENED)
                await control.reopen(conn, batch_id=batch_id, state=state, now=now)
            if again:
                await queue.wake(conn, team_id=team.id, now=now)
        total += again
        if again < BLOCK:
            return total


async def change_batch(
    db: Transactions,
    *,
    team: Team,
    kind: Kind,
    batch_id: UUID,
    priority: int | None = None,
    retry_policy: RetryPolicy | None = None,
    reference: str | None = None,
    has_brake: bool | None = None,
    bypass_windows: bool | None = None,
) -> None:
    """Change what is given of a batch, at any time before it ended for good; None leaves it.

    Raises `InvalidRequest` for a priority that is none, `Conflict` for a cancelled batch, and
    `NotFound`.
    """
    if priority is not None and not LOWEST_PRIORITY <= priority <= HIGHEST_PRIORITY:
        raise InvalidRequest(f"A priority is {LOWEST_PRIORITY} to {HIGHEST_PRIORITY}.")
    async with db.transaction() as conn:
        batch = await lock_batch(conn, team=team, kind=kind, batch_id=batch_id)
        if batch.state is BatchState.CANCELLED:
            raise Conflict("The batch is cancelled.", state=batch.state)
        now = db.clock()
        await retries.change_batch(
            conn,
            batch_id=batch_id,
            priority=priority,
            retry_policy=None if retry_policy is None else retry.to_json(retry_policy),
            reference=reference,
            has_brake=has_brake,
            bypass_windows=bypass_windows,
            now=now,
        )
        await queue.wake(conn, team_id=team.id, now=now)

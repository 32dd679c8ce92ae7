"""Change a batch after it was started: try failed items again, priority, retries, the brake."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from uuid import UUID

from batchyard import retry
from batchyard.errors import Conflict, InvalidRequest, NotFound
from batchyard.lifecycle import ENDED_STATUSES, SUCCESS_STATUS, BatchEvent, next_batch_state
from batchyard.models import BatchState, Kind, RetryPolicy, Team
from batchyard.operations.batches import lock_batch
from batchyard.operations.contacts import reconsider_windows
from batchyard.operations.control import clear_stopped
from batchyard.operations.slices import Slices
from batchyard.operations.transactions import Transactions, one_transaction
from batchyard.store import control, corrections, queue, retries
from batchyard.store.batches import LockedBatch
from batchyard.store.db import Connection, Database

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
    slices: Slices | None = None,
) -> int:
    """Try ended items of a batch again under new keys; return how many.

    Only items whose failure was answered: an unknown outcome has to be resolved. An ended batch
    runs again; one that is stopped while this goes on is left so. Raises `Conflict` while the batch
    was never started or still ends what it had not sent, `InvalidRequest` for a status that is none
    or that is success, and `NotFound`.
    """
    chosen = tuple(statuses) if statuses is not None else FAILED_STATUSES[kind]
    check_retried(kind, chosen)
    slices = slices or Slices(began_at=db.clock())
    total = slices.done
    while True:
        async with db.transaction() as conn:
            batch = await lock_batch(conn, team=team, kind=kind, batch_id=batch_id)
            if total and batch.state is BatchState.STOPPED:
                await slices.seal(conn, total)
                return total
            again = await _retry_some(
                conn,
                batch,
                team=team,
                statuses=chosen,
                item_ids=item_ids,
                before=slices.began_at,
                now=db.clock(),
            )
            total += again
            await (slices.advance if again == BLOCK else slices.seal)(conn, total)
        if again < BLOCK:
            return total


async def retry_item(db: Transactions, *, team: Team, item_id: UUID) -> None:
    """Try an item again that ended without success, under a new key; its batch runs again.

    Raises `NotFound`, and `Conflict` for any other item: an unknown outcome has to be resolved.
    """
    async with db.transaction() as conn:
        found = await corrections.read(conn, team_id=team.id, item_id=item_id)
        if found is None:
            raise NotFound("There is no such item.")
        kind, now = Kind(found.kind), db.clock()
        batch = await lock_batch(conn, team=team, kind=kind, batch_id=found.batch_id)
        again = await _retry_some(
            conn,
            batch,
            team=team,
            statuses=retryable(kind),
            item_ids=[item_id],
            before=now,
            now=now,
        )
        if not again:
            raise Conflict("The item has not failed, or nothing is left of it.")


async def _retry_some(
    conn: Connection,
    batch: LockedBatch,
    *,
    team: Team,
    statuses: Sequence[str],
    item_ids: Sequence[UUID] | None,
    before: datetime,
    now: datetime,
) -> int:
    if batch.state is BatchState.STOPPED:
        await clear_stopped(conn, batch_ids=[batch.id], now=now)
    again = await retries.retry_failed(
        conn,
        batch_id=batch.id,
        statuses=statuses,
        item_ids=item_ids,
        limit=BLOCK,
        before=before,
        now=now,
    )
    if not again:
        return 0
    if batch.state not in {BatchState.RUNNING, BatchState.PAUSED}:
        state = next_batch_state(batch.state, BatchEvent.REOPENED)
        await control.reopen(conn, batch_id=batch.id, state=state, now=now)
    await queue.wake(conn, team_id=team.id, now=now)
    return again


def retryable(kind: Kind) -> list[str]:
    """Return after which statuses an item can be tried again."""
    return [word for word in ENDED_STATUSES[kind] if word != SUCCESS_STATUS[kind]]


def check_retried(kind: Kind, statuses: Sequence[str]) -> None:
    """Raise `InvalidRequest` for a status after which nothing can be tried again."""
    allowed = retryable(kind)
    if wrong := [word for word in statuses if word not in allowed]:
        told = f"{wrong[0]!r} cannot be retried. Known: {', '.join(allowed)}."
        raise InvalidRequest(told, faults={"statuses": [told]})


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

    Where `bypass_windows` is given, calls that wait for a window are looked at anew. Raises
    `InvalidRequest` for a priority or a retried status that is none, `Conflict` for a cancelled
    batch, and `NotFound`.
    """
    if priority is not None and not LOWEST_PRIORITY <= priority <= HIGHEST_PRIORITY:
        raise InvalidRequest(f"A priority is {LOWEST_PRIORITY} to {HIGHEST_PRIORITY}.")
    if retry_policy is not None:
        check_retried(kind, retry_policy.statuses)
    async with one_transaction(db) as work:
        conn = work.connection
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
        if bypass_windows is not None:
            work.follow_ups.append(partial(reconsider_windows, team=team, batch_id=batch_id))

"""What a person decides about outcomes that nobody could find out."""

from collections.abc import Sequence
from enum import StrEnum
from uuid import UUID

from batchyard.models import Team
from batchyard.operations.control import clear_stopped, end_stopped
from batchyard.operations.slices import Slices
from batchyard.store import events, queue, resolutions
from batchyard.store.db import Database
from batchyard.store.item_filters import NO_FILTERS, ItemFilters
from batchyard.store.resolutions import UnknownItem, Unknowns

BLOCK = 1000
"""Items decided in one transaction."""


class Verdict(StrEnum):
    """What became of an item whose answer was lost."""

    DONE = "done"
    FAILED = "failed"
    RETRY = "retry"


async def list_unknown(
    db: Database,
    *,
    team: Team,
    batch_id: UUID | None = None,
    filters: ItemFilters = NO_FILTERS,
    limit: int,
) -> list[UnknownItem]:
    """List a team's unknown outcomes, the oldest first."""
    chosen = Unknowns(team_id=team.id, batch_id=batch_id, filters=filters)
    async with db.pool.connection() as conn:
        return await resolutions.list_unknown(conn, chosen, limit=limit)


async def count_unknown(
    db: Database,
    *,
    team: Team,
    batch_id: UUID | None = None,
    filters: ItemFilters = NO_FILTERS,
) -> int:
    """Count what `resolve_unknown` would decide with the same choice."""
    chosen = Unknowns(team_id=team.id, batch_id=batch_id, filters=filters)
    async with db.pool.connection() as conn:
        return await resolutions.count_unknown(conn, chosen)


async def resolve_unknown(
    db: Database,
    *,
    team: Team,
    verdict: Verdict,
    actor: str,
    batch_id: UUID | None = None,
    item_ids: Sequence[UUID] | None = None,
    filters: ItemFilters = NO_FILTERS,
    slices: Slices | None = None,
) -> int:
    """Decide unknown items of a team: all of them, or what fits all that is given; return how many.

    Counts follow, an ended batch is corrected, and `retry` reopens it under new keys, but for what
    was erased. What became unknown since this began is left to the next decision, and so is what a
    deleted batch has.
    Raises `Conflict` for a retry in a batch that was stopped just now; one that is stopped while
    this goes on is left so, as what was done before must not be taken for refused.
    """
    chosen = Unknowns(team_id=team.id, batch_id=batch_id, item_ids=item_ids, filters=filters)
    slices = slices or Slices(began_at=db.clock())
    total = slices.done
    while True:
        async with db.transaction() as conn:
            now = db.clock()
            locked = await resolutions.lock_batches(conn, chosen)
            if verdict is Verdict.RETRY and total:
                still_ending = await end_stopped(conn, batch_ids=locked, now=now)
                locked = [batch_id for batch_id in locked if batch_id not in still_ending]
            elif verdict is Verdict.RETRY:
                await clear_stopped(conn, batch_ids=locked, now=now)
            resolved = await resolutions.resolve(
                conn,
                chosen,
                verdict=verdict,
                batch_ids=locked,
                actor=actor,
                limit=BLOCK,
                before=slices.began_at,
                now=now,
            )
            if not resolved:
                await slices.seal(conn, total)
                return total
            batch_ids = [row.batch_id for row in resolved]
            if verdict is Verdict.RETRY:
                await resolutions.reopen(conn, batch_ids=batch_ids, now=now)
                await queue.wake(conn, team_id=team.id, now=now)
            else:
                await resolutions.correct_ends(conn, batch_ids=batch_ids, now=now)
            for row in resolved:
                await events.write(
                    conn,
                    team_id=team.id,
                    batch_id=row.batch_id,
                    type_="items.resolved",
                    data={"as": verdict, "items": row.n, "by": actor},
                    now=now,
                )
            total += sum(row.n for row in resolved)
            await slices.advance(conn, total)

"""What a person decides about outcomes that nobody could find out."""

from collections.abc import Sequence
from enum import StrEnum
from uuid import UUID

from batchyard.models import Team
from batchyard.operations.slices import Slices
from batchyard.store import events, queue, resolutions
from batchyard.store.db import Database
from batchyard.store.resolutions import UnknownItem

BLOCK = 1000
"""Items decided in one transaction."""


class Verdict(StrEnum):
    """What became of an item whose answer was lost."""

    DONE = "done"
    FAILED = "failed"
    RETRY = "retry"


async def list_unknown(
    db: Database, *, team: Team, batch_id: UUID | None = None, limit: int
) -> list[UnknownItem]:
    """List a team's unknown outcomes, the oldest first."""
    async with db.pool.connection() as conn:
        return await resolutions.list_unknown(conn, team_id=team.id, batch_id=batch_id, limit=limit)


async def count_unknown(
    db: Database,
    *,
    team: Team,
    batch_id: UUID | None = None,
    item_ids: Sequence[UUID] | None = None,
) -> int:
    """Count what `resolve_unknown` would decide with the same choice."""
    async with db.pool.connection() as conn:
        return await resolutions.count_unknown(
            conn, team_id=team.id, batch_id=batch_id, item_ids=item_ids
        )


async def resolve_unknown(
    db: Database,
    *,
    team: Team,
    verdict: Verdict,
    actor: str,
    batch_id: UUID | None = None,
    item_ids: Sequence[UUID] | None = None,
    slices: Slices | None = None,
) -> int:
    """Decide unknown items of a team: all of them, those of a batch, or these; return how many.

    Counts follow, an ended batch is corrected, and `retry` reopens it under new keys. What became
    unknown since this began is left to the next decision.
    """
    slices = slices or Slices(began_at=db.clock())
    total = slices.done
    while True:
        async with db.transaction() as conn:
            now = db.clock()
            resolved = await resolutions.resolve(
                conn,
                team_id=team.id,
                verdict=verdict,
                batch_id=batch_id,
                item_ids=item_ids,
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

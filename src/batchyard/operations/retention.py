"""How long things are kept: per team, with defaults; what is older is taken out in slices."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from batchyard.models import Team
from batchyard.operations.transactions import Transactions
from batchyard.store import retention
from batchyard.store.db import TRANSIENT, Database
from batchyard.store.retention import Days, Due

DEFAULT_DAYS: Mapping[str, int] = {
    "items_days": 365,
    "transcripts_days": 90,
    "documents_days": 180,
    "events_days": 90,
    "webhooks_days": 30,
}
"""Days after the end of their batch, or after it happened. Answers kept for an `Idempotency-Key`
are gone after one day everywhere."""

SLICE = 1000
BATCHES_AT_ONCE = 20

log = structlog.get_logger("batchyard.retention")


async def read_days(db: Database, *, team: Team) -> Mapping[str, int]:
    """Return how many days the team keeps what, the defaults filled in."""
    async with db.pool.connection() as conn:
        days = await retention.read(conn, team_id=team.id)
    return _complete(days)


async def set_days(db: Transactions, *, team: Team, days: Mapping[str, int | None]) -> None:
    """Set the team's days; what is None or not named takes the default."""
    async with db.transaction() as conn:
        complete = {name: days.get(name) for name in DEFAULT_DAYS}
        await retention.write(conn, team_id=team.id, days=complete, now=db.clock())


async def expire(db: Database) -> None:
    """Take out what is kept for too long, in short transactions; no team waits for another."""
    async with db.pool.connection() as conn:
        teams = await retention.list_teams(conn)
    for team_id in teams:
        try:
            await _expire_of_team(db, team_id)
        except TRANSIENT as error:
            log.warning("retention.postponed", team=team_id, error=str(error))
        except Exception:  # what is wrong with the rows of one team is nothing to the others
            log.exception("retention.broke", team=team_id)


def _complete(days: Days) -> Mapping[str, int]:
    own = {name: int(n) for name, n in asdict(days).items() if n is not None}
    return {**DEFAULT_DAYS, **own}


async def _expire_of_team(db: Database, team_id: int) -> None:
    async with db.pool.connection() as conn:
        days = await retention.read(conn, team_id=team_id)
    for name, n in _complete(days).items():
        what = name.removesuffix("_days")
        before = db.clock() - timedelta(days=n)
        if what in retention.FORGET:
            while True:
                async with db.transaction() as conn:
                    gone = await retention.forget(
                        conn, team_id=team_id, what=what, before=before, limit=SLICE
                    )
                if gone < SLICE:
                    break
            continue
        await _expire_of_batches(db, team_id=team_id, what=what, before=before)


async def _expire_of_batches(db: Database, *, team_id: int, what: str, before: datetime) -> None:
    after: Due | None = None
    while True:
        async with db.pool.connection() as conn:
            due = await retention.list_due(
                conn,
                team_id=team_id,
                what=what,
                before=before,
                after=after,
                limit=BATCHES_AT_ONCE,
            )
        for one in due:
            while await _expire_some(db, one.batch_id, what):
                pass
        if len(due) < BATCHES_AT_ONCE:
            return
        after = due[-1]


async def _expire_some(db: Database, batch_id: UUID, what: str) -> bool:
    """Take out one slice; False when nothing was left."""
    async with db.transaction() as conn:
        taken = await retention.expire_some(conn, batch_id=batch_id, what=what, limit=SLICE)
        if not taken:
            await retention.mark_expired(conn, batch_id=batch_id, what=what)
    return taken > 0

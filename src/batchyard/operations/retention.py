"""How long things are kept: per team, with defaults; what is older is taken out in slices."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from uuid import UUID

import structlog

from batchyard.models import Team
from batchyard.operations.audit import Actor, note
from batchyard.operations.transactions import Transactions, one_transaction
from batchyard.store import retention
from batchyard.store.db import TRANSIENT, Database
from batchyard.store.retention import Days, Due
from batchyard.store.terms import Term

DEFAULT_DAYS: Mapping[str, int] = {
    "items_days": 365,
    "transcripts_days": 90,
    "documents_days": 180,
    "events_days": 90,
    "webhooks_days": 30,
    "idempotency_days": 1,
}
"""Days after the end of their batch, or after it happened."""

LEAST_DAYS = 1
"""Of anything, also of a key: every door promises to know it for 24 hours."""

MOST_DAYS: Mapping[str, int] = {**dict.fromkeys(DEFAULT_DAYS, 36_500), "webhooks_days": 30}

SLICE = 1000
BATCHES_AT_ONCE = 20

log = structlog.get_logger("batchyard.retention")


async def read_days(db: Database, *, team: Team) -> Mapping[str, int]:
    """Return how many days the team keeps what, the defaults filled in."""
    return _complete(await read_set(db, team=team))


async def read_set(db: Database, *, team: Team) -> Days:
    """Return what the team has set; None takes the default."""
    async with db.pool.connection() as conn:
        return await retention.read(conn, team_id=team.id)


async def change_days(
    db: Transactions, *, team: Team, actor: Actor, days: Mapping[str, int | None]
) -> Mapping[str, int]:
    """Change some of the team's days, with their trace in the audit log; None takes the default.

    What is not named stays. Returns all days as they are then, the defaults filled in. The days are
    `LEAST_DAYS` to `MOST_DAYS`, by names of `DEFAULT_DAYS`.
    """
    async with one_transaction(db) as work:
        conn = work.connection
        old = await retention.lock(conn, team_id=team.id)
        new = replace(old, **days)
        await set_days(work, team=team, days=asdict(new))
        held = _complete(old)
        await note(
            conn,
            team=team,
            actor=actor,
            action="retention.set",
            before={name: held[name] for name in days},
            after=dict(days),
            now=db.clock(),
        )
    return _complete(new)


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
    for name, usual in DEFAULT_DAYS.items():
        term = Term(team_id=team_id, what=name.removesuffix("_days"), default_days=usual)
        if term.what in retention.FORGET:
            while await _forget_some(db, term) == SLICE:
                pass
        else:
            await _expire_of_batches(db, term)


async def _forget_some(db: Database, term: Term) -> int:
    async with db.transaction() as conn:
        return await retention.forget(conn, term, limit=SLICE, now=db.clock())


async def _expire_of_batches(db: Database, term: Term) -> None:
    after: Due | None = None
    while True:
        async with db.pool.connection() as conn:
            due = await retention.list_due(
                conn, term, after=after, limit=BATCHES_AT_ONCE, now=db.clock()
            )
        for one in due:
            while await _expire_some(db, term, one.batch_id):
                pass
        if len(due) < BATCHES_AT_ONCE:
            return
        after = due[-1]


async def _expire_some(db: Database, term: Term, batch_id: UUID) -> bool:
    """Take out one slice; False when nothing was left, or the rest is kept for longer now."""
    async with db.transaction() as conn:
        if not await retention.is_due(conn, term, batch_id, now=db.clock()):
            return False
        taken = await retention.expire_some(conn, batch_id=batch_id, what=term.what, limit=SLICE)
        if not taken:
            await retention.mark_expired(conn, batch_id=batch_id, what=term.what)
    return taken > 0

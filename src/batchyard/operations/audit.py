"""Changes that leave a trace: who did what, from where."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from batchyard.models import Team
from batchyard.operations.transactions import Joined, Transactions, one_transaction
from batchyard.store import audit
from batchyard.store.audit import Entry
from batchyard.store.db import Connection, Database


@dataclass(frozen=True, kw_only=True, slots=True)
class Actor:
    """Who changes something, and from where."""

    name: str
    source: str | None = None


async def note(
    conn: Connection,
    *,
    team: Team,
    actor: Actor,
    action: str,
    subject: str | None = None,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
    now: datetime,
) -> None:
    """Write the trace of a change, within its transaction."""
    await note_to(
        conn,
        team_ids=[team.id],
        actor=actor,
        action=action,
        subject=subject,
        before=before,
        after=after,
        now=now,
    )


async def note_to(
    conn: Connection,
    *,
    team_ids: Iterable[int],
    actor: Actor,
    action: str,
    subject: str | None = None,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
    now: datetime,
) -> None:
    """Write the trace of a change that concerns several teams into the log of each."""
    for team_id in team_ids:
        await audit.write(
            conn,
            team_id=team_id,
            actor=actor.name,
            action=action,
            subject=subject,
            source=actor.source,
            before=before,
            after=after,
            now=now,
        )


@asynccontextmanager
async def audited(
    db: Transactions,
    *,
    team: Team,
    actor: Actor,
    action: str,
    subject: str | None = None,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
) -> AsyncIterator[Joined]:
    """Lend one transaction for a change; its trace commits with it, or neither does."""
    async with one_transaction(db) as work:
        yield work
        await note(
            work.connection,
            team=team,
            actor=actor,
            action=action,
            subject=subject,
            before=before,
            after=after,
            now=db.clock(),
        )


async def list_entries(
    db: Database, *, team: Team, before_id: int | None = None, limit: int = 100
) -> list[Entry]:
    """List the changes of a team, the newest first."""
    async with db.pool.connection() as conn:
        return await audit.list_entries(conn, team_id=team.id, before_id=before_id, limit=limit)

"""Data for tests: each function makes one thing and returns it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import count
from uuid import UUID

from batchyard.models import BatchState, JsonObject, Kind, Phase, Team
from batchyard.operations import access, teams
from batchyard.store.db import Database
from batchyard.store.ids import new_id
from batchyard.store.item_intake import NewItem, copy_items

_numbers = count(1)

ENDED_STATES = (
    BatchState.COMPLETED,
    BatchState.FAILED,
    BatchState.STOPPED,
    BatchState.CANCELLED,
)


async def make_team(
    db: Database, *, slug: str | None = None, locale: str = "en", timezone: str = "UTC"
) -> Team:
    """Make a team with a slug of its own."""
    slug = slug or f"team-{next(_numbers)}"
    return await teams.create_team(
        db, name=slug.title(), slug=slug, locale=locale, timezone=timezone
    )


async def make_token(db: Database, *, team: Team, bolna_version: str | None = None) -> str:
    """Make a token of the team."""
    return await access.create_token(db, team=team, name="test", bolna_version=bolna_version)


async def revoke_token(db: Database, *, team: Team) -> None:
    """Revoke all tokens of the team."""
    async with db.transaction() as connection:
        await connection.execute(
            "UPDATE tokens SET revoked_at = %s WHERE team_id = %s", (db.clock(), team.id)
        )


async def make_agent(db: Database, *, team: Team, name: str = "agent") -> UUID:
    """Make an agent of the team."""
    agent_id, now = new_id(), db.clock()
    async with db.transaction() as connection:
        await connection.execute(
            "INSERT INTO agents (id, team_id, name, created_at, updated_at)"
            " VALUES (%s, %s, %s, %s, %s)",
            (agent_id, team.id, name, now, now),
        )
    return agent_id


async def make_batch(
    db: Database,
    *,
    team: Team,
    kind: Kind = Kind.SHIPMENT,
    state: BatchState = BatchState.OPEN,
    reference: str | None = None,
    identifier: str | None = None,
    created_at: datetime | None = None,
    started_at: datetime | None = None,
    agent_id: UUID | None = None,
    is_single: bool = False,
    is_deleted: bool = False,
) -> UUID:
    """Write a batch in any state; one of calls gets an agent."""
    batch_id, now = new_id(), db.clock()
    if kind is Kind.CALL and agent_id is None:
        agent_id = await make_agent(db, team=team)
    async with db.transaction() as connection:
        await connection.execute(
            "INSERT INTO batches (id, team_id, kind, state, reference, identifier, agent_id,"
            " is_single, created_at, updated_at, scheduled_at, started_at, finished_at, deleted_at)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                batch_id,
                team.id,
                kind,
                state,
                reference,
                identifier,
                agent_id,
                is_single,
                created_at or now,
                created_at or now,
                now + timedelta(hours=1) if state is BatchState.SCHEDULED else None,
                started_at,
                now if state in ENDED_STATES else None,
                now if is_deleted else None,
            ),
        )
    return batch_id


async def make_items(
    db: Database,
    *,
    team: Team,
    batch_id: UUID,
    n: int = 1,
    phase: Phase = Phase.READY,
    status: str = "waiting",
    payload: JsonObject | None = None,
    number: str | None = None,
    updated_at: datetime | None = None,
) -> Sequence[UUID]:
    """Add `n` items to a batch, in any phase."""
    now = db.clock()
    async with db.transaction() as connection:
        row = await (
            await connection.execute(
                "UPDATE batches SET total_rows = total_rows + %s WHERE id = %s"
                " RETURNING total_rows",
                (n, batch_id),
            )
        ).fetchone()
        assert row is not None
        first = int(str(row[0])) - n + 1
        rows = [
            NewItem(id=new_id(), position=position, payload=payload or {}, number=number)
            for position in range(first, first + n)
        ]
        await copy_items(connection, batch_id=batch_id, team_id=team.id, rows=rows, now=now)
        ids = [row.id for row in rows]
        await connection.execute(
            "UPDATE items SET phase = %(phase)s, status = %(status)s, updated_at = %(at)s,"
            " intent_at = %(at)s, worker_id = CASE WHEN %(phase)s = 'claimed' THEN 1 END"
            " WHERE id = ANY(%(ids)s) AND (phase, status) <> (%(phase)s, %(status)s)",
            {"phase": phase, "status": status, "at": updated_at or now, "ids": ids},
        )
        await connection.execute(
            "UPDATE item_data SET ended_at = %s WHERE item_id = ANY(%s) AND %s",
            (updated_at or now, ids, phase is Phase.DONE),
        )
    return ids

"""What is set up with access to the machine, with its trace in the audit logs it concerns."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from batchyard.encryption import Vault
from batchyard.models import Kind, Rate, Team
from batchyard.operations import limits, provider_changes, providers
from batchyard.operations.audit import Actor, note, note_to
from batchyard.operations.limits import SetLimit
from batchyard.operations.provider_changes import Changed, Secrets
from batchyard.operations.teams import find_team
from batchyard.operations.transactions import Joined, Transactions, one_transaction
from batchyard.store import audit
from batchyard.store import providers as provider_rows
from batchyard.store.db import Connection, Database
from batchyard.store.limits import Ceiling


async def add_provider(
    db: Database,
    vault: Vault,
    *,
    actor: Actor,
    name: str,
    kind: str,
    settings: Mapping[str, object],
    secret: str | None,
    allow_private: bool,
    concurrency: int | None = None,
    rate: Rate | None = None,
) -> Sequence[str]:
    """Store a provider, as `providers.add_provider` does; its secret is not told."""
    after = {
        "kind": kind,
        "settings": dict(settings),
        "has_secret": secret is not None,
        "allow_private": allow_private,
        "concurrency": concurrency,
        "rates": _shown_rates([] if rate is None else [rate]),
    }

    async def seal(conn: Connection) -> None:
        await _note(conn, db, actor=actor, action="provider.add", name=name, after=after)

    return await providers.add_provider(
        db,
        vault,
        name=name,
        kind=kind,
        settings=settings,
        secret=secret,
        allow_private=allow_private,
        concurrency=concurrency,
        rate=rate,
        seal=seal,
    )


async def change_provider(
    db: Database,
    vault: Vault,
    *,
    actor: Actor,
    name: str,
    settings: Mapping[str, object],
    secrets: Secrets | None = None,
    allow_private: bool | None = None,
    concurrency: int | None = None,
    rate: Rate | None = None,
) -> Changed:
    """Store a provider anew, as `provider_changes.change_provider` does; no secret is told."""

    async def seal(conn: Connection, changed: Changed) -> None:
        await _note(
            conn,
            db,
            actor=actor,
            action="provider.change",
            name=name,
            before=changed.before,
            after=changed.after,
        )

    return await provider_changes.change_provider(
        db,
        vault,
        name=name,
        settings=settings,
        secrets=secrets,
        allow_private=allow_private,
        concurrency=concurrency,
        rate=rate,
        seal=seal,
    )


async def remove_provider(db: Transactions, *, actor: Actor, name: str) -> None:
    """Take a provider away, as `providers.remove_provider` does."""
    async with one_transaction(db) as work:
        row = await provider_rows.find(work.connection, name=name)
        await providers.remove_provider(work, name=name)
        before = None if row is None else {"kind": row.kind, "settings": dict(row.settings)}
        await _note(
            work.connection,
            db,
            actor=actor,
            action="provider.remove",
            name=name,
            before=before,
            after={"is_removed": True},
        )


async def pause_provider(db: Transactions, *, actor: Actor, name: str, reason: str) -> None:
    """Let nothing more be sent to a provider. Raises `NotFound`."""
    async with one_transaction(db) as work:
        row = await provider_rows.find(work.connection, name=name)
        await providers.pause_provider(work, name=name, reason=reason)
        await _note(
            work.connection,
            db,
            actor=actor,
            action="provider.pause",
            name=name,
            before={"paused": row and row.paused_reason},
            after={"paused": reason},
        )


async def resume_provider(db: Transactions, *, actor: Actor, name: str) -> str | None:
    """Let a provider that was paused go on; return why it was. Raises `NotFound`."""
    async with one_transaction(db) as work:
        reason = await providers.resume_provider(work, name=name)
        await _note(
            work.connection,
            db,
            actor=actor,
            action="provider.resume",
            name=name,
            before={"paused": reason},
            after={"paused": None},
        )
    return reason


async def set_route(
    db: Transactions,
    *,
    team: Team,
    actor: Actor,
    kind: Kind,
    agent_id: UUID | None,
    provider: str,
) -> None:
    """Lead a team's items of a kind, or of one agent, to a provider, as `providers` does."""
    async with one_transaction(db) as work:
        before = next(
            (
                {"provider": row.provider}
                for row in await provider_rows.list_routes(work.connection)
                if (row.team_id, row.kind, row.agent_id) == (team.id, kind, agent_id)
            ),
            None,
        )
        await providers.set_route(work, team=team, kind=kind, agent_id=agent_id, provider=provider)
        await note(
            work.connection,
            team=team,
            actor=actor,
            action="route.set",
            subject=str(agent_id or kind),
            before=before,
            after={"provider": provider},
            now=db.clock(),
        )


async def set_limit(
    db: Transactions,
    *,
    actor: Actor,
    scope: str,
    concurrency: int | None,
    rates: Sequence[Rate],
    burst: int | None = None,
    weight: int | None = None,
) -> SetLimit:
    """Set the limits of a scope, as `limits.set_limit` does."""
    async with one_transaction(db) as work:
        before = await _weight_of(work, scope) if weight is not None else {}
        done = await limits.set_limit(
            work, scope=scope, concurrency=concurrency, rates=rates, burst=burst, weight=weight
        )
        conn = work.connection
        kind, _, name = scope.partition(":")
        concerned = done.team_ids
        if kind == "provider":
            concerned = await audit.list_concerned(conn, provider=name)
        await note_to(
            conn,
            team_ids=concerned,
            actor=actor,
            action="limit.set",
            subject=scope,
            before={**_shown_ceiling(done.before), **before},
            after={
                "concurrency": concurrency,
                "rates": _shown_rates(rates),
                **({} if weight is None else {"weight": weight}),
            },
            now=db.clock(),
        )
    return done


async def _weight_of(work: Joined, scope: str) -> dict[str, object]:
    team = await find_team(work, slug_or_uuid=scope.partition(":")[2])
    return {} if team is None else {"weight": team.weight}


async def _note(
    conn: Connection,
    db: Transactions,
    *,
    actor: Actor,
    action: str,
    name: str,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
) -> None:
    await note_to(
        conn,
        team_ids=await audit.list_concerned(conn, provider=name),
        actor=actor,
        action=action,
        subject=name,
        before=before,
        after=after,
        now=db.clock(),
    )


def _shown_ceiling(ceiling: Ceiling) -> dict[str, object]:
    rates = [{"count": n, "seconds": seconds} for seconds, n in ceiling.rates.items()]
    return {"concurrency": ceiling.concurrency, "rates": rates}


def _shown_rates(rates: Sequence[Rate]) -> list[dict[str, int]]:
    return [{"count": rate.count, "seconds": rate.seconds} for rate in rates]

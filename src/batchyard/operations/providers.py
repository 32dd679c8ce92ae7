"""Add providers, lead items to them, and take them away."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from batchyard.encryption import Vault
from batchyard.errors import BatchyardError, Conflict, InvalidRequest, NotFound, ProviderError
from batchyard.models import Kind, Team
from batchyard.providers.base import Promise, Provider, Surroundings
from batchyard.providers.registry import find_kind
from batchyard.store import agents, limits, providers
from batchyard.store.db import Connection, Database
from batchyard.store.limits import Ceiling
from batchyard.store.providers import ProviderRow, RouteRow

NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """So many items in so many seconds."""

    count: int
    seconds: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedProvider:
    """A provider with what it promises and how much it may be given."""

    row: ProviderRow
    promise: Promise | None
    """None when it cannot be opened, for the reason in `fault`."""
    fault: str | None
    ceiling: Ceiling


async def add_provider(
    db: Database,
    vault: Vault,
    *,
    name: str,
    kind: str,
    settings: Mapping[str, object],
    secret: str | None,
    allow_private: bool,
    concurrency: int | None = None,
    rate: Rate | None = None,
) -> Sequence[str]:
    """Store a provider; return remarks, such as that it cannot be reached now.

    Raises `InvalidRequest` for a wrong name, `ConfigError` for settings its kind refuses, and
    `Conflict` when the name is taken.
    """
    if not NAME.fullmatch(name):
        raise InvalidRequest(
            "A provider's name has 1 to 63 small letters, digits, dots, dashes or underscores, and "
            "begins with a letter or digit."
        )
    surroundings = Surroundings(
        name=name,
        clock=db.clock,
        report=lambda _key, _answer: None,
        settings=settings,
        secret=secret,
        allow_private=allow_private,
    )
    provider = find_kind(kind)(surroundings)
    try:
        remarks = await provider.check()
    except ProviderError as error:
        remarks = [f"{error.message.rstrip('.')}. It is stored all the same."]
    finally:
        await provider.close()
    locked = None if secret is None else vault.lock(secret)
    async with db.transaction() as conn:
        provider_id = await providers.insert(
            conn,
            name=name,
            kind=kind,
            settings=settings,
            secret=locked,
            allow_private=allow_private,
            now=db.clock(),
        )
        if provider_id is None:
            raise Conflict(f"A provider named '{name}' exists already.")
        if concurrency is not None or rate is not None:
            key = limits.provider_key(provider_id)
            await limits.set_cap(conn, key=key, concurrency=concurrency)
            await _set_rate(conn, db, key, rate)
    return remarks


async def list_providers(db: Database, vault: Vault) -> list[ListedProvider]:
    """List the providers that were not removed."""
    async with db.pool.connection() as conn:
        rows = [row for row in await providers.list_all(conn) if row.removed_at is None]
        ceilings = await limits.read_ceilings(conn, [limits.provider_key(row.id) for row in rows])
    listed = []
    for row in rows:
        promise, fault = await read_promise(db, vault, row)
        ceiling = ceilings.get(limits.provider_key(row.id), Ceiling())
        listed.append(ListedProvider(row=row, promise=promise, fault=fault, ceiling=ceiling))
    return listed


async def remove_provider(db: Database, *, name: str) -> None:
    """Take a provider away. Raises `NotFound`, and `Conflict` while something still needs it."""
    async with db.transaction() as conn:
        row = await _find(conn, name)
        if row.kind == "sandbox":
            raise Conflict("The sandbox stays: it takes what no route leads elsewhere.")
        if not await providers.remove(conn, name=name, now=db.clock()):
            raise Conflict(
                f"'{name}' is still needed: a route leads to it, or it has items in flight. Lead "
                "its routes elsewhere: batchyard route set."
            )


async def check_provider(db: Database, vault: Vault, *, name: str) -> Sequence[str]:
    """Try a stored provider without any effect; return remarks.

    Raises `NotFound`, and `ProviderError` when it cannot be used.
    """
    async with db.pool.connection() as conn:
        row = await _find(conn, name)
    return await check_row(db, vault, row)


async def check_row(db: Database, vault: Vault, row: ProviderRow) -> Sequence[str]:
    """Try a provider without any effect; return remarks, raise `BatchyardError` on a fault."""
    provider = _open(db, vault, row)
    try:
        return await provider.check()
    finally:
        await provider.close()


async def read_promise(
    db: Database, vault: Vault, row: ProviderRow
) -> tuple[Promise | None, str | None]:
    """Return what a provider guarantees, or why it cannot be opened."""
    try:
        provider = _open(db, vault, row)
    except BatchyardError as error:
        return None, error.message
    try:
        return provider.promise, None
    finally:
        await provider.close()


async def set_route(
    db: Database, *, team: Team, kind: Kind, agent_id: UUID | None, provider: str
) -> None:
    """Lead a team's items of a kind, or of one agent, to a provider.

    Raises `NotFound` for the provider or the agent, `InvalidRequest` when they do not fit.
    """
    if agent_id is not None and kind is not Kind.CALL:
        raise InvalidRequest("Only calls have an agent; leave --agent out for shipments.")
    async with db.transaction() as conn:
        row = await _find(conn, provider)
        if kind not in find_kind(row.kind).kinds:
            raise InvalidRequest(f"'{provider}' ({row.kind}) does not do items of kind {kind}.")
        if agent_id is not None and not await agents.exists(
            conn, team_id=team.id, agent_id=agent_id
        ):
            raise NotFound("The team has no such agent.")
        await providers.set_route(
            conn, team_id=team.id, kind=kind, agent_id=agent_id, provider_id=row.id
        )


async def list_routes(db: Database) -> list[RouteRow]:
    """List all routes."""
    async with db.pool.connection() as conn:
        return await providers.list_routes(conn)


def _open(db: Database, vault: Vault, row: ProviderRow) -> Provider:
    return find_kind(row.kind)(
        Surroundings(
            name=row.name,
            clock=db.clock,
            report=lambda _key, _answer: None,
            settings=row.settings,
            secret=None if row.secret is None else vault.open(row.secret),
            allow_private=row.allow_private,
        )
    )


async def _find(conn: Connection, name: str) -> ProviderRow:
    row = await providers.find(conn, name=name)
    if row is None:
        raise NotFound(f"There is no provider named '{name}'.")
    return row


async def _set_rate(conn: Connection, db: Database, key: str, rate: Rate | None) -> None:
    if rate is not None:
        await limits.set_rate(
            conn,
            key=key,
            seconds=rate.seconds,
            count=rate.count,
            burst=max(1, rate.count // (10 * rate.seconds)),
            now=db.clock(),
        )

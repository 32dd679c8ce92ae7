"""Add providers, lead items to them, and take them away."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from uuid import UUID

from batchyard.encryption import Vault
from batchyard.errors import BatchyardError, Conflict, InvalidRequest, NotFound, ProviderError
from batchyard.models import Kind, Rate, Team
from batchyard.operations.opening import open_row
from batchyard.operations.services import refresh
from batchyard.operations.transactions import Transactions
from batchyard.providers import registry
from batchyard.providers.base import Promise, Provider, Service, Surroundings
from batchyard.providers.registry import close_provider, find_kind, open_provider
from batchyard.providers.settings import Setting, list_settings
from batchyard.store import agents, limits, providers, queue, teams
from batchyard.store.db import Connection, Database
from batchyard.store.limits import Ceiling
from batchyard.store.providers import ProviderRow, RouteRow

NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedProvider:
    """A provider with what it promises and how much it may be given."""

    row: ProviderRow
    promise: Promise | None
    """None when it cannot be opened, for the reason in `fault`."""
    fault: str | None
    ceiling: Ceiling


@dataclass(frozen=True, kw_only=True, slots=True)
class KindOfProvider:
    """A kind that is installed, and what it can be told."""

    name: str
    does: Sequence[Kind]
    summary: str
    settings: Sequence[Setting]
    secrets: Sequence[Setting]


def list_kinds() -> list[KindOfProvider]:
    """List the kinds that are installed."""
    return [_describe(name, kind) for name, kind in registry.list_kinds().items()]


def read_kind(name: str) -> KindOfProvider:
    """Describe one kind; raise `ConfigError` naming the known ones."""
    return _describe(name, find_kind(name))


def _describe(name: str, kind: type[Provider]) -> KindOfProvider:
    model, secrets = kind.settings_model, kind.secrets_model
    return KindOfProvider(
        name=name,
        does=sorted(kind.kinds),
        summary=(kind.__doc__ or "").strip().partition("\n")[0],
        settings=[] if model is None else list(list_settings(model)),
        secrets=[] if secrets is None else list(list_settings(secrets)),
    )


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
    seal: Callable[[Connection], Awaitable[None]] | None = None,
) -> Sequence[str]:
    """Store a provider; return remarks, such as that it cannot be reached now.

    `seal` does more in the transaction. Raises `InvalidRequest` for a wrong name, `ConfigError` for
    settings its kind refuses, and `Conflict` when the name is taken.
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
    provider = open_provider(kind, surroundings)
    services: Sequence[Service] | None = None
    try:
        remarks = await provider.check()
        services = await provider.find_services()
    except ProviderError as error:
        remarks = [f"{error.message.rstrip('.')}. It is stored all the same."]
    finally:
        await close_provider(provider)
    locked = None if secret is None else vault.lock(secret)
    async with db.transaction() as conn:
        await check_account(conn, type(provider), settings)
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
        if services is not None:
            kept = [asdict(one) for one in services]
            await providers.keep_services(
                conn, provider_id=provider_id, services=kept, now=db.clock()
            )
        if concurrency is not None or rate is not None:
            key = limits.provider_key(provider_id)
            await limits.set_cap(conn, key=key, concurrency=concurrency)
            await set_rate(conn, db, key, rate)
        if seal is not None:
            await seal(conn)
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


async def list_offered(db: Database, *, team: Team) -> Sequence[str]:
    """List the providers that a team's own people may lead its items to.

    Where there are several teams, those that somebody with access to the machine led it to
    before: a provider is an account, and another team may pay for it.
    """
    async with db.pool.connection() as conn:
        rows = [row for row in await providers.list_all(conn) if row.removed_at is None]
        routed = {
            route.provider_id
            for route in await providers.list_routes(conn)
            if route.team_id == team.id
        }
        is_alone = len(await teams.list_ids(conn)) == 1
    return [row.name for row in rows if is_alone or row.kind == "sandbox" or row.id in routed]


async def remove_provider(db: Transactions, *, name: str) -> None:
    """Take a provider away. Raises `NotFound`, and `Conflict` while something still needs it."""
    async with db.transaction() as conn:
        row = await find(conn, name)
        if row.kind == "sandbox":
            raise Conflict("The sandbox stays: it takes what no route leads elsewhere.")
        if not await providers.remove(conn, name=name, now=db.clock()):
            raise Conflict(
                f"'{name}' is still needed: a route leads to it, or it has items in flight. Lead "
                "its routes elsewhere: batchyard route set."
            )


async def check_provider(db: Database, vault: Vault, *, name: str) -> Sequence[str]:
    """Try a stored provider without any effect, and ask it what it books; return remarks.

    Raises `NotFound`, and `ProviderError` when it cannot be used.
    """
    async with db.pool.connection() as conn:
        row = await find(conn, name)
    provider = open_row(db, vault, row)
    try:
        remarks = await provider.check()
        await refresh(db, provider, provider_id=row.id)
    finally:
        await close_provider(provider)
    return remarks


async def check_row(db: Database, vault: Vault, row: ProviderRow) -> Sequence[str]:
    """Try a provider without any effect; return remarks, raise `BatchyardError` on a fault."""
    provider = open_row(db, vault, row)
    try:
        return await provider.check()
    finally:
        await close_provider(provider)


async def read_promise(
    db: Database, vault: Vault, row: ProviderRow
) -> tuple[Promise | None, str | None]:
    """Return what a provider guarantees, or why it cannot be opened."""
    try:
        provider = open_row(db, vault, row)
    except BatchyardError as error:
        return None, error.message
    try:
        return provider.promise, None
    finally:
        await close_provider(provider)


async def set_route(
    db: Transactions, *, team: Team, kind: Kind, agent_id: UUID | None, provider: str
) -> None:
    """Lead a team's items of a kind, or of one agent, to a provider.

    Raises `NotFound` for the provider or the agent, `InvalidRequest` when they do not fit.
    """
    if agent_id is not None and kind is not Kind.CALL:
        raise InvalidRequest("Only calls have an agent; leave --agent out for shipments.")
    async with db.transaction() as conn:
        row = await find(conn, provider)
        if kind not in find_kind(row.kind).kinds:
            raise InvalidRequest(f"'{provider}' ({row.kind}) does not do items of kind {kind}.")
        if agent_id is not None and not await agents.exists(
            conn, team_id=team.id, agent_id=agent_id
        ):
            raise NotFound("The team has no such agent.")
        await providers.set_route(
            conn, team_id=team.id, kind=kind, agent_id=agent_id, provider_id=row.id
        )


async def pause_provider(db: Transactions, *, name: str, reason: str) -> None:
    """Let nothing more be sent to a provider, by any team. Raises `NotFound`."""
    async with db.transaction() as conn:
        if not await providers.set_paused(conn, name=name, reason=reason, now=db.clock()):
            raise _no_provider(name)


async def resume_provider(db: Transactions, *, name: str) -> str | None:
    """Let a provider that was paused go on; return why it was. Raises `NotFound`."""
    async with db.transaction() as conn:
        row = await find(conn, name)
        now = db.clock()
        await providers.set_paused(conn, name=name, reason=None, now=now)
        for team_id in sorted(await teams.list_ids(conn)):
            await queue.wake(conn, team_id=team_id, now=now)
    return row.paused_reason


async def list_routes(db: Database) -> list[RouteRow]:
    """List all routes."""
    async with db.pool.connection() as conn:
        return await providers.list_routes(conn)


async def list_outward_routes(db: Database, *, team: Team) -> list[RouteRow]:
    """List the routes of a team that lead to anything but a sandbox."""
    async with db.pool.connection() as conn:
        harmless = {row.id for row in await providers.list_all(conn) if row.kind == "sandbox"}
        routes = await providers.list_routes(conn)
    return [one for one in routes if one.team_id == team.id and one.provider_id not in harmless]


async def find(conn: Connection, name: str) -> ProviderRow:
    """Return a stored provider by its name; raise `NotFound`."""
    row = await providers.find(conn, name=name)
    if row is None:
        raise _no_provider(name)
    return row


def _no_provider(name: str) -> NotFound:
    return NotFound(f"There is no provider named '{name}'. See them: batchyard provider list.")


async def check_account(
    conn: Connection,
    kind: type[Provider],
    settings: Mapping[str, object],
    *,
    but: int | None = None,
) -> None:
    """Refuse a second provider, `but` that one, of an account whose calls it could not tell apart.

    Raises `Conflict`.
    """
    name = kind.account_setting
    if name is None:
        return
    for row in await providers.list_all(conn):
        is_same = row.removed_at is None and row.settings.get(name) == settings.get(name)
        if is_same and row.id != but and find_kind(row.kind) is kind:
            raise Conflict(
                f"'{row.name}' has this {name} already. Two providers of one account could not "
                "tell their calls apart; make a subaccount, or remove the other one."
            )


async def set_rate(conn: Connection, db: Database, key: str, rate: Rate | None) -> None:
    """Set how fast items start at a provider whose limit exists, with a burst that fits."""
    if rate is not None:
        await limits.set_rate(
            conn,
            key=key,
            seconds=rate.seconds,
            count=rate.count,
            burst=max(1, rate.count // (10 * rate.seconds)),
            now=db.clock(),
        )

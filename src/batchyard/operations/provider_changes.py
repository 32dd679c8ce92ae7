"""Change a provider that is stored: its settings, its secret, how much it is given."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace

from pydantic import ValidationError

from batchyard.encryption import Vault
from batchyard.errors import BatchyardError, ConfigError, Conflict, InvalidRequest, ProviderError
from batchyard.models import Rate
from batchyard.operations.opening import open_row
from batchyard.operations.providers import check_account, find, set_rate
from batchyard.providers.base import Provider, Service
from batchyard.providers.registry import close_provider, find_kind
from batchyard.store import limits, providers, queue
from batchyard.store.db import Connection, Database
from batchyard.store.limits import Ceiling
from batchyard.store.providers import ProviderRow

SANDBOX = "sandbox"

Secrets = str | Mapping[str, str]
"""A whole secret, or some by name; the others stay."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Changed:
    """A provider as it was and as it is, without its secret."""

    before: Mapping[str, object]
    after: Mapping[str, object]
    remarks: Sequence[str] = ()
    """Such as that it cannot be reached now."""
    paused_reason: str | None = None
    """Why nothing is sent to it; a change alone does not let it go on."""


Seal = Callable[[Connection, Changed], Awaitable[None]]
"""Does more in the transaction of a change."""


async def find_kind_of(db: Database, *, name: str) -> str:
    """Return the kind of a stored provider; raise `NotFound`."""
    async with db.pool.connection() as conn:
        return (await find(conn, name)).kind


async def change_provider(
    db: Database,
    vault: Vault,
    *,
    name: str,
    settings: Mapping[str, object],
    secrets: Secrets | None = None,
    allow_private: bool | None = None,
    concurrency: int | None = None,
    rate: Rate | None = None,
    seal: Seal | None = None,
) -> Changed:
    """Store what is said of a provider anew; a setting of None takes the default of its kind.

    Raises `NotFound`, `InvalidRequest` when nothing is said, `ConfigError` for settings or secrets
    that its kind refuses, and `Conflict` where items under way could be looked for at the wrong
    place.
    """
    if not settings and all(one is None for one in (secrets, allow_private, concurrency, rate)):
        raise InvalidRequest("Say what to change, such as --secret-file FILE.")
    async with db.pool.connection() as conn:
        row = await find(conn, name)
        key = limits.provider_key(row.id)
        ceiling = (await limits.read_ceilings(conn, [key])).get(key, Ceiling())
    if row.kind == SANDBOX and (settings or secrets is not None):
        raise Conflict("The sandbox is set by BATCHYARD_SANDBOX_SPEED and BATCHYARD_SANDBOX_SEED.")
    changed_row = _merge(
        vault, row, settings=settings, secrets=secrets, allow_private=allow_private
    )
    tried = await _try(db, vault, changed_row)
    old_pace = await _read_pace(db, vault, row)
    # Nobody set it: its new pace is stored with the next admission.
    is_pace_gone = rate is None and old_pace != tried.pace and _is_pace(ceiling, old_pace)
    left = replace(ceiling, rates={}) if is_pace_gone else ceiling
    after = _joined(left, concurrency=concurrency, rate=rate)
    changed = Changed(
        before=_shown(row, ceiling),
        after=_shown(changed_row, after) | ({} if secrets is None else {"is_secret_new": True}),
        remarks=tried.remarks,
        paused_reason=row.paused_reason,
    )
    now = db.clock()
    async with db.transaction() as conn:
        await _check_place(conn, row, changed_row)
        await check_account(conn, find_kind(row.kind), changed_row.settings, but=row.id)
        if not await providers.change(conn, known=row, changed=changed_row, now=now):
            raise Conflict(f"'{name}' was changed or removed at the same moment; look at it again.")
        if tried.are_services_told:
            said = tried.services
            kept = None if said is None else [asdict(one) for one in said]
            await providers.keep_services(conn, provider_id=row.id, services=kept, now=now)
        if concurrency is not None or rate is not None:
            await limits.set_cap(conn, key=key, concurrency=after.concurrency)
        if rate is not None:
            await limits.clear_rates(conn, key=key, kept=[rate.seconds])
            await set_rate(conn, db, key, rate)
        elif is_pace_gone:
            await limits.clear_rates(conn, key=key, kept=[])
        for team_id in await providers.list_routed_teams(conn, provider_id=row.id):
            await queue.wake(conn, team_id=team_id, now=now)
        if seal is not None:
            await seal(conn, changed)
    return changed


def _merge(
    vault: Vault,
    row: ProviderRow,
    *,
    settings: Mapping[str, object],
    secrets: Secrets | None,
    allow_private: bool | None,
) -> ProviderRow:
    merged = {**row.settings, **settings}
    secret = row.secret
    if secrets is not None:
        secret = vault.lock(
            secrets if isinstance(secrets, str) else _join_secrets(vault, row, secrets)
        )
    return replace(
        row,
        settings={name: value for name, value in merged.items() if value is not None},
        secret=secret,
        allow_private=row.allow_private if allow_private is None else allow_private,
    )


def _join_secrets(vault: Vault, row: ProviderRow, given: Mapping[str, str]) -> str:
    """Keep the secrets that are not given, as far as those that are stored can be read."""
    kept: object = {}
    if row.secret is not None:
        with suppress(ConfigError, ValueError):
            kept = json.loads(vault.open(row.secret))
    return json.dumps({**kept, **given} if isinstance(kept, dict) else dict(given))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Tried:
    """What a provider says as it is to be."""

    remarks: Sequence[str]
    are_services_told: bool
    """False: it could not be asked, and what was known before stays."""
    services: Sequence[Service] | None
    """None: its settings say them."""
    pace: Rate | None


async def _try(db: Database, vault: Vault, row: ProviderRow) -> _Tried:
    """Open a provider and try it without any effect; raise `ConfigError` where it cannot be."""
    provider = open_row(db, vault, row)
    remarks: Sequence[str] = ()
    fault: str | None = None
    services: Sequence[Service] | None = None
    are_services_told = False
    try:
        remarks, fault = await _check(provider)
        # Where the settings list them nobody has to be reached for that.
        services = await provider.find_services()
        are_services_told = True
    except ProviderError as error:
        fault = fault or error.message
    finally:
        await close_provider(provider)
    if fault is not None:
        remarks = [f"{fault.rstrip('.')}. It is stored all the same."]
    return _Tried(
        remarks=remarks,
        are_services_told=are_services_told,
        services=services,
        pace=provider.rate,
    )


async def _check(provider: Provider) -> tuple[Sequence[str], str | None]:
    """Return the remarks of a provider, and what is wrong with it."""
    try:
        return await provider.check(), None
    except ProviderError as error:
        return (), error.message


async def _read_pace(db: Database, vault: Vault, row: ProviderRow) -> Rate | None:
    """Return how fast items start by a provider's own settings; None where that is unknown."""
    try:
        provider = open_row(db, vault, row)
    except BatchyardError:
        return None
    await close_provider(provider)
    return provider.rate


def _is_pace(ceiling: Ceiling, pace: Rate | None) -> bool:
    return pace is not None and ceiling.rates == {pace.seconds: pace.count}


async def _check_place(conn: Connection, row: ProviderRow, changed: ProviderRow) -> None:
    """Refuse to change by what items are found there while some are, or may be, under way."""
    moved = _list_moved(find_kind(row.kind), row.settings, changed.settings)
    if not moved:
        return
    there = await providers.read_under_way(conn, provider_id=row.id)
    reasons = [
        *(["it may still be given items"] if there.may_be_given else []),
        *([f"{there.in_flight} items are in flight"] if there.in_flight else []),
        *([f"{there.unknown} are unknown"] if there.unknown else []),
        *(["a restored batch will ask there first"] if there.is_asked_first else []),
    ]
    if reasons:
        raise Conflict(
            f"{', '.join(moved)}: by this items are found at '{row.name}'. What is under way "
            "would be asked about at the wrong place, taken for never received, and done twice. "
            f"Now {', '.join(reasons)}. Pause it (batchyard provider pause {row.name}), let what "
            "is in flight end and decide what is unknown; or add another provider, and lead the "
            "routes there."
        )


def _list_moved(
    kind: type[Provider], before: Mapping[str, object], after: Mapping[str, object]
) -> list[str]:
    old, new = _whole(kind, before), _whole(kind, after)
    names = {*old, *new} if kind.locating_settings is None else kind.locating_settings
    return sorted(name for name in names if old.get(name) != new.get(name))


def _whole(kind: type[Provider], settings: Mapping[str, object]) -> Mapping[str, object]:
    """Return settings with their defaults, as far as the kind can read them."""
    if kind.settings_model is None:
        return settings
    try:
        return kind.settings_model.model_validate(dict(settings)).model_dump()
    except ValidationError:
        return settings


def _joined(ceiling: Ceiling, *, concurrency: int | None, rate: Rate | None) -> Ceiling:
    return Ceiling(
        concurrency=ceiling.concurrency if concurrency is None else concurrency,
        rates=ceiling.rates if rate is None else {rate.seconds: rate.count},
    )


def _shown(row: ProviderRow, ceiling: Ceiling) -> dict[str, object]:
    return {
        "settings": dict(row.settings),
        "has_secret": row.secret is not None,
        "allow_private": row.allow_private,
        "concurrency": ceiling.concurrency,
        "rates": [{"count": n, "seconds": seconds} for seconds, n in ceiling.rates.items()],
    }

"""What a team's shipments can be sent by."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from functools import lru_cache

import structlog
from pydantic import TypeAdapter

from batchyard.encryption import Vault
from batchyard.errors import BatchyardError
from batchyard.models import Kind, Team
from batchyard.operations.opening import open_row
from batchyard.providers.base import Provider, Service
from batchyard.providers.registry import close_provider, find_kind
from batchyard.store import providers
from batchyard.store.db import Database
from batchyard.store.providers import ProviderRow

BELIEVED = timedelta(hours=1)
"""So long a provider is not asked again what it books."""

SERVICES = TypeAdapter(tuple[Service, ...])

log = structlog.get_logger("batchyard.services")


async def list_declared(db: Database, *, team: Team) -> Sequence[Service] | None:
    """List what the provider of a team's shipments declares; None is all of the catalogue.

    A provider that cannot be used now, or breaks when it is asked, declares nothing, so nothing is
    taken that cannot be booked. What it said itself goes before what its settings say.
    """
    async with db.pool.connection() as conn:
        row = await providers.find_routed(conn, team_id=team.id, kind=Kind.SHIPMENT)
    if row is None:
        return None
    try:
        if row.services is not None:
            return SERVICES.validate_python(row.services)
        declared = find_kind(row.kind).services(row.settings)
        return None if declared is None else SERVICES.validate_python(tuple(declared))
    except Exception as error:  # noqa: BLE001  # of a package from outside
        _tell_unreadable(provider=row.name, error=_said(error))
        return ()


@lru_cache(maxsize=256)
def _tell_unreadable(*, provider: str, error: str) -> None:
    """Tell the log what is wrong with a provider, once: doors ask all the time."""
    log.warning("services.unreadable", provider=provider, error=error)


async def refresh(db: Database, provider: Provider, *, provider_id: int) -> None:
    """Ask a provider what it books, and keep that. Raises `ProviderError`; then all stays."""
    found = await provider.find_services()
    kept = None if found is None else [asdict(one) for one in found]
    async with db.transaction() as conn:
        await providers.keep_services(conn, provider_id=provider_id, services=kept, now=db.clock())


async def refresh_stale(db: Database, vault: Vault) -> None:
    """Ask the providers again that were not asked for an hour; a fault leaves what is known."""
    async with db.pool.connection() as conn:
        rows = await providers.list_stale(conn, before=db.clock() - BELIEVED)
    for row in rows:
        try:
            await _refresh_row(db, vault, row)
        except Exception as error:  # noqa: BLE001  # of a package from outside
            log.warning("services.unread", provider=row.name, error=_said(error))
            async with db.transaction() as conn:
                await providers.note_unread_services(conn, provider_id=row.id, now=db.clock())


async def _refresh_row(db: Database, vault: Vault, row: ProviderRow) -> None:
    provider = open_row(db, vault, row)
    try:
        await refresh(db, provider, provider_id=row.id)
    finally:
        await close_provider(provider)


def _said(error: Exception) -> str:
    """Return what may be told of an error: what one of a package says may be a secret."""
    return error.message if isinstance(error, BatchyardError) else type(error).__name__

"""What a team's shipments can be sent by."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta

import structlog
from pydantic import TypeAdapter, ValidationError

from batchyard.encryption import Vault
from batchyard.errors import BatchyardError, ConfigError
from batchyard.models import Kind, Team
from batchyard.operations.opening import open_row
from batchyard.providers.base import Provider, Service
from batchyard.providers.registry import close_provider, find_kind
from batchyard.store import providers
from batchyard.store.db import Database
from batchyard.store.providers import ProviderRow

BELIEVED = timedelta(hours=1)
"""So long a provider is not asked again what it books."""

STORED = TypeAdapter(list[Service])

log = structlog.get_logger("batchyard.services")


async def list_declared(db: Database, *, team: Team) -> Sequence[Service] | None:
    """List what the provider of a team's shipments declares; None is all of the catalogue.

    A provider that cannot be used now declares nothing, so nothing is taken that cannot be booked.
    What it said itself goes before what its settings say.
    """
    async with db.pool.connection() as conn:
        row = await providers.find_routed(conn, team_id=team.id, kind=Kind.SHIPMENT)
    if row is None:
        return None
    try:
        if row.services is not None:
            return STORED.validate_python(row.services)
        return find_kind(row.kind).services(row.settings)
    except (ConfigError, ValidationError) as error:
        log.warning("services.unreadable", provider=row.name, error=str(error))
        return ()


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
            # What such an exception says may be a secret.
            said = error.message if isinstance(error, BatchyardError) else type(error).__name__
            log.warning("services.unread", provider=row.name, error=said)
            async with db.transaction() as conn:
                await providers.keep_services(
                    conn, provider_id=row.id, services=None, now=db.clock()
                )


async def _refresh_row(db: Database, vault: Vault, row: ProviderRow) -> None:
    provider = open_row(db, vault, row)
    try:
        await refresh(db, provider, provider_id=row.id)
    finally:
        await close_provider(provider)

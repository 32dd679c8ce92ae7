"""What a team's shipments can be sent by."""

from collections.abc import Sequence

import structlog

from batchyard.errors import ConfigError
from batchyard.models import Kind, Team
from batchyard.providers.base import Service
from batchyard.providers.registry import find_kind
from batchyard.store import providers
from batchyard.store.db import Database

log = structlog.get_logger("batchyard.services")


async def list_declared(db: Database, *, team: Team) -> Sequence[Service] | None:
    """List what the provider of a team's shipments declares; None is all of the catalogue.

    A provider that cannot be used now declares nothing, so nothing is taken that cannot be booked.
    """
    async with db.pool.connection() as conn:
        row = await providers.find_routed(conn, team_id=team.id, kind=Kind.SHIPMENT)
    if row is None:
        return None
    try:
        return find_kind(row.kind).services(row.settings)
    except ConfigError as error:
        log.warning("services.unreadable", provider=row.name, error=error.message)
        return ()

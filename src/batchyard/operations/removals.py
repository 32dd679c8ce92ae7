"""Contents outside the database go after their documents, however often that has to be tried."""

import asyncio
from collections.abc import Sequence

import structlog

from batchyard.errors import ConfigError, StoreError
from batchyard.store import removals
from batchyard.store.db import Database
from batchyard.store.files import FileStore

SLICE = 500
PARALLEL = 16

log = structlog.get_logger("batchyard.documents")


async def remove_contents(db: Database, files: FileStore) -> None:
    """Remove what has no document any more; what cannot be removed waits for the next call.

    Ends early where nothing of a slice could be removed: the place is away.
    """
    begun_at = db.clock()
    while True:
        async with db.pool.connection() as conn:
            locations = await removals.list_due(conn, before=begun_at, limit=SLICE)
        failed = await _remove(files, locations)
        async with db.transaction() as conn:
            await removals.forget(conn, locations=sorted({*locations} - {*failed}))
            await removals.postpone(conn, locations=failed, now=db.clock())
        if len(failed) == len(locations):
            return


async def _remove(files: FileStore, locations: Sequence[str]) -> list[str]:
    """Remove contents; return those that could not be."""
    gate = asyncio.Semaphore(PARALLEL)

    async def remove(location: str) -> str | None:
        try:
            async with gate:
                await files.remove(location)
        except (StoreError, ConfigError) as error:
            log.warning("document.not_removed", location=location, error=error.message)
            return location
        return None

    tried = await asyncio.gather(*map(remove, locations))
    return [location for location in tried if location is not None]

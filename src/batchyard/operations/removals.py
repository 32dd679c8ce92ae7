"""Contents outside the database go after their documents, however often that has to be tried."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog

from batchyard.errors import ConfigError, StoreError
from batchyard.store import removals
from batchyard.store.db import Database
from batchyard.store.files import FileStore

SLICE = 500
PARALLEL = 16
AGAIN_AFTER = timedelta(minutes=5)
"""How long a content that could not be removed is left alone."""

log = structlog.get_logger("batchyard.documents")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Failure:
    """A content that could not be removed, and why."""

    location: str
    message: str


async def remove_contents(db: Database, files: FileStore) -> None:
    """Remove what has no document any more; what cannot be removed waits for minutes.

    Ends early where nothing of a slice could be removed: the place is away. The log is told once of
    all that could not be.
    """
    before = db.clock() - AGAIN_AFTER
    count = 0
    last: _Failure | None = None
    while True:
        async with db.pool.connection() as conn:
            locations = await removals.list_due(conn, before=before, limit=SLICE)
        failures = await _remove(files, locations)
        failed = [failure.location for failure in failures]
        async with db.transaction() as conn:
            await removals.forget(conn, locations=sorted({*locations} - {*failed}))
            await removals.postpone(conn, locations=failed, now=db.clock())
        count += len(failures)
        last = failures[-1] if failures else last
        if len(failures) == len(locations):
            break
    if last is not None:
        log.warning("document.not_removed", count=count, location=last.location, error=last.message)


async def _remove(files: FileStore, locations: Sequence[str]) -> list[_Failure]:
    """Remove contents; return those that could not be."""
    gate = asyncio.Semaphore(PARALLEL)

    async def remove(location: str) -> _Failure | None:
        try:
            async with gate:
                await files.remove(location)
        except (StoreError, ConfigError) as error:
            return _Failure(location=location, message=error.message)
        return None

    tried = await asyncio.gather(*map(remove, locations))
    return [failure for failure in tried if failure is not None]

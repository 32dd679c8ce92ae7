"""Takes a database into use again that was restored from a backup."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from batchyard.store import restores, workers
from batchyard.store.db import Database

BLOCK = 5000


@dataclass(frozen=True, kw_only=True, slots=True)
class Restored:
    """What was done about effects the backup does not know of."""

    backup_at: datetime | None
    batches: int
    paused: int
    unknown: int


async def mark_restored(
    db: Database, *, silent_providers: Collection[int], default_provider: int
) -> Restored:
    """Bring running batches up paused, and mark what may have been sent since the backup.

    `silent_providers` can neither be asked nor be sent a key again: their items become unknown.
    For all others a restored batch asks about a key before it sends it. Run it while no worker
    runs; safe to repeat.
    """
    async with db.transaction() as conn:
        now = db.clock()
        backup_at = await restores.read_backup_time(conn)
        batches, paused = await restores.pause_all(conn, now=now)
        await workers.end_silent(conn, before=now, now=now)
        await workers.take_back(conn, now=now)
    unknown = 0
    while True:
        async with db.transaction() as conn:
            marked = await restores.mark_unknown(
                conn,
                provider_ids=silent_providers,
                default_id=default_provider,
                limit=BLOCK,
                restored_at=now,
            )
        unknown += marked
        if marked == 0:
            return Restored(backup_at=backup_at, batches=batches, paused=paused, unknown=unknown)

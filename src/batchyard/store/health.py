"""What `batchyard doctor` asks the database."""

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from batchyard.errors import StoreError
from batchyard.store.db import Connection


@dataclass(frozen=True, kw_only=True, slots=True)
class Vitals:
    """How the installation stands, in numbers."""

    server_version: str
    alive_workers: int
    lost_workers: int
    """Workers that fell silent and were not settled by anybody."""
    last_beat_at: datetime | None
    active_batches: int
    restored_batches: int
    unknown_items: int
    stored_secrets: int


VITALS = """
SELECT current_setting('server_version') AS server_version,
       (SELECT count(*) FROM workers
         WHERE ended_at IS NULL AND beat_at >= %(since)s)::int AS alive_workers,
       (SELECT count(*) FROM workers
         WHERE ended_at IS NULL AND beat_at < %(since)s)::int AS lost_workers,
       (SELECT max(beat_at) FROM workers) AS last_beat_at,
       (SELECT count(*) FROM batches WHERE state IN ('queued', 'running'))::int AS active_batches,
       (SELECT count(*) FROM batches
         WHERE state = 'paused' AND wait_reason = 'restored'
           AND deleted_at IS NULL)::int AS restored_batches,
       (SELECT count(*) FROM items WHERE phase = 'unknown')::int AS unknown_items,
       (SELECT count(*) FROM providers
         WHERE secret IS NOT NULL AND removed_at IS NULL)::int AS stored_secrets
"""


async def read_vitals(conn: Connection, *, since: datetime) -> Vitals:
    """Read the numbers; workers that have beaten since count as alive."""
    async with conn.cursor(row_factory=class_row(Vitals)) as cursor:
        await cursor.execute(VITALS, {"since": since})
        row = await cursor.fetchone()
    if row is None:
        raise StoreError("PostgreSQL answered a SELECT without FROM with no row.")
    return row

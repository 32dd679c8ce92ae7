"""After a restore from a backup: what may have been sent since must not be sent unasked."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from batchyard.store.db import Connection

# Workers beat every two seconds, so the youngest beat dates the backup.
BACKUP_AT = "SELECT max(beat_at) FROM workers"


async def read_backup_time(conn: Connection) -> datetime | None:
    """Return about when the backup was made; None when no worker ever ran."""
    row = await (await conn.execute(BACKUP_AT)).fetchone()
    return row[0] if row and isinstance(row[0], datetime) else None


# What a person had paused stays so for the person's own reason.
PAUSE = """
UPDATE batches
   SET state = CASE WHEN state IN ('queued', 'running') THEN 'paused'
                    WHEN state = 'scheduled' AND scheduled_at <= %(now)s THEN 'paused'
                    ELSE state END,
       wait_reason = CASE WHEN state IN ('queued', 'running') THEN 'restored'
                          WHEN state = 'scheduled' AND scheduled_at <= %(now)s THEN 'restored'
                          ELSE wait_reason END,
       restored_at = %(now)s, backup_at = least(backup_at, %(backup_at)s),
       updated_at = %(now)s, wait_until = NULL
 WHERE state IN ('open', 'scheduled', 'queued', 'running', 'paused')
RETURNING state = 'paused'
"""


async def pause_all(
    conn: Connection, *, backup_at: datetime | None, now: datetime
) -> tuple[int, int]:
    """Mark every batch that has not ended as restored; return how many, and how many are paused."""
    rows = await (await conn.execute(PAUSE, {"now": now, "backup_at": backup_at or now})).fetchall()
    return len(rows), sum(bool(row[0]) for row in rows)


# What had ended may have been opened again after the backup, and tried under keys that nobody here
# knows of. It keeps its state; from now on it asks about each key before it sends it.
MARK_ENDED = """
UPDATE batches
   SET restored_at = %(now)s, backup_at = least(backup_at, %(backup_at)s)
 WHERE state IN ('stopped', 'completed', 'failed') AND deleted_at IS NULL
"""


async def mark_ended(conn: Connection, *, backup_at: datetime | None, now: datetime) -> None:
    """Mark every batch that has ended, and could be opened again, as restored."""
    await conn.execute(MARK_ENDED, {"now": now, "backup_at": backup_at or now})


# Ready and claimed items may have been sent after the backup was made. Where the provider can be
# asked, a restored batch asks before it sends; here are the others. What a stop had left unsent is
# not sent by anybody. What was under way is with the provider that it was claimed for, wherever the
# routes lead now, and its key would be sent there again. Their results are of attempts before.
MARK_UNKNOWN = """
WITH doubtful AS MATERIALIZED (
    SELECT i.id, r.provider_id
      FROM items i
      JOIN batches b ON b.id = i.batch_id
      LEFT JOIN routes a ON a.team_id = b.team_id AND a.kind = b.kind AND a.agent_id = b.agent_id
      LEFT JOIN routes k ON k.team_id = b.team_id AND k.kind = b.kind AND k.agent_id IS NULL
     CROSS JOIN LATERAL (
           SELECT CASE i.phase
                  WHEN 'calling' THEN i.provider_id
                  ELSE coalesce(a.provider_id, k.provider_id, %(default_id)s) END AS provider_id
           ) AS r
     WHERE i.phase IN ('ready', 'claimed', 'calling')
       AND b.restored_at = %(restored_at)s
       AND (i.phase = 'calling'
            OR b.state IN ('open', 'scheduled', 'queued', 'running', 'paused'))
       AND r.provider_id = ANY (%(provider_ids)s)
     ORDER BY i.id
     LIMIT %(limit)s
       FOR UPDATE OF i
), marked AS (
    UPDATE items i
       SET phase = 'unknown', status = 'unknown', worker_id = NULL, lease = i.lease + 1,
           deadline_at = NULL, provider_id = d.provider_id,
           intent_at = coalesce(i.intent_at, %(restored_at)s), updated_at = %(restored_at)s
      FROM doubtful d
     WHERE i.id = d.id
    RETURNING i.id
)
UPDATE item_data d
   SET result = NULL, error_code = 'restored',
       error_message = 'The database was restored; it may have been sent after the backup.'
  FROM marked m
 WHERE d.item_id = m.id
"""


async def mark_unknown(
    conn: Connection,
    *,
    provider_ids: Collection[int],
    default_id: int,
    limit: int,
    restored_at: datetime,
) -> int:
    """Make unknown what these providers may have been sent; return how many this time."""
    cursor = await conn.execute(
        MARK_UNKNOWN,
        {
            "provider_ids": list(provider_ids),
            "default_id": default_id,
            "limit": limit,
            "restored_at": restored_at,
        },
    )
    return cursor.rowcount


# In id order, as everywhere.
LOCK_RESTORED = """
SELECT id FROM batches
 WHERE team_id = %(team_id)s AND deleted_at IS NULL
   AND state = 'paused' AND wait_reason = 'restored'
 ORDER BY id
   FOR UPDATE
"""


async def lock_restored(conn: Connection, *, team_id: int) -> list[UUID]:
    """Lock all batches of a team that a restore paused; single items are batches too."""
    cursor = await conn.execute(LOCK_RESTORED, {"team_id": team_id})
    return [UUID(str(row[0])) for row in await cursor.fetchall()]

"""Single calls: batches of one, never listed; and one call of any batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import kwargs_row
from psycopg.types.json import Jsonb

from batchyard.models import BatchState, JsonObject
from batchyard.store.db import Connection

INSERT_SINGLE = """
INSERT INTO batches (id, team_id, kind, state, is_single, agent_id, from_numbers, retry_policy,
                     bypass_windows, scheduled_at, total_rows, created_at, updated_at)
VALUES (%(id)s, %(team_id)s, 'call', %(state)s, true, %(agent_id)s, %(from_numbers)s,
        %(retry_policy)s, %(bypass_windows)s, %(scheduled_at)s, 1, %(now)s, %(now)s)
"""


async def insert_single(
    conn: Connection,
    *,
    batch_id: UUID,
    team_id: int,
    agent_id: UUID,
    from_numbers: Sequence[str],
    retry_policy: JsonObject,
    bypass_windows: bool,
    scheduled_at: datetime | None,
    now: datetime,
) -> None:
    """Write a batch for one call: queued, or scheduled where a time is given."""
    await conn.execute(
        INSERT_SINGLE,
        {
            "id": batch_id,
            "team_id": team_id,
            "state": BatchState.QUEUED if scheduled_at is None else BatchState.SCHEDULED,
            "agent_id": agent_id,
            "from_numbers": list(from_numbers),
            "retry_policy": Jsonb(dict(retry_policy)),
            "bypass_windows": bypass_windows,
            "scheduled_at": scheduled_at,
            "now": now,
        },
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedCallBatch:
    """The batch of a call, under its lock."""

    id: UUID
    state: BatchState
    is_single: bool


# The batch first, as everywhere: admission waits here, or has taken the call before.
LOCK_BATCH = """
SELECT b.id, b.state, b.is_single FROM batches b
 WHERE b.id = (SELECT i.batch_id FROM items i WHERE i.id = %(item_id)s)
   AND b.team_id = %(team_id)s AND b.kind = 'call' AND b.deleted_at IS NULL
   AND b.state <> 'importing'
   FOR UPDATE
"""


async def lock_batch(conn: Connection, *, item_id: UUID, team_id: int) -> LockedCallBatch | None:
    """Lock the batch of a call that the team can see."""
    async with conn.cursor(row_factory=kwargs_row(_locked)) as cursor:
        await cursor.execute(LOCK_BATCH, {"item_id": item_id, "team_id": team_id})
        return await cursor.fetchone()


def _locked(*, id: UUID, state: str, is_single: bool) -> LockedCallBatch:  # noqa: A002 - the column
    return LockedCallBatch(id=id, state=BatchState(state), is_single=is_single)

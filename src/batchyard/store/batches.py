"""Rows of `batches`, always looked up within their team."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import kwargs_row

from batchyard import tracing
from batchyard.models import BatchState, Kind
from batchyard.store.db import Connection

INSERT_OPEN = """
INSERT INTO batches (id, team_id, kind, state, reference, identifier, created_at, updated_at)
VALUES (%(id)s, %(team_id)s, %(kind)s, 'open', %(reference)s, %(identifier)s, %(now)s, %(now)s)
"""


async def insert_open(
    connection: Connection,
    *,
    batch_id: UUID,
    team_id: int,
    kind: Kind,
    reference: str | None,
    identifier: str | None,
    now: datetime,
) -> None:
    """Write an empty batch that takes items."""
    await connection.execute(
        INSERT_OPEN,
        {
            "id": batch_id,
            "team_id": team_id,
            "kind": kind,
            "reference": reference,
            "identifier": identifier,
            "now": now,
        },
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedBatch:
    """What a change of a batch has to know, read under its lock."""

    id: UUID
    state: BatchState
    is_single: bool
    last_line: int
    """The last one that a row has; what is added follows it."""


# Locks the batch against every other change of it; comes before any lock on its items.
LOCK = """
SELECT id, state, is_single, greatest(last_line, total_rows) AS last_line
  FROM batches
 WHERE id = %(id)s AND team_id = %(team_id)s AND kind = %(kind)s
   AND deleted_at IS NULL AND state NOT IN ({hidden})
   FOR UPDATE
"""
LOCK_BATCH = LOCK.format(hidden="'importing', 'cancelled'")
LOCK_ANY_BATCH = LOCK.format(hidden="'importing'")


async def lock(
    connection: Connection, *, batch_id: UUID, team_id: int, kind: Kind
) -> LockedBatch | None:
    """Lock a batch that can be changed, also one of a single item, and return it."""
    given = {"id": batch_id, "team_id": team_id, "kind": kind}
    return await _lock(connection, LOCK_BATCH, given)


async def lock_any(
    connection: Connection, *, batch_id: UUID, team_id: int, kind: Kind
) -> LockedBatch | None:
    """Lock a batch as `lock` does, also one that was cancelled, and return it."""
    given = {"id": batch_id, "team_id": team_id, "kind": kind}
    return await _lock(connection, LOCK_ANY_BATCH, given)


async def _lock(
    connection: Connection, statement: str, given: Mapping[str, object]
) -> LockedBatch | None:
    async with connection.cursor(row_factory=kwargs_row(_locked)) as cursor:
        await cursor.execute(statement.encode(), given)
        return await cursor.fetchone()


def _locked(
    *,
    id: UUID,  # noqa: A002 - the column
    state: str,
    is_single: bool,
    last_line: int,
) -> LockedBatch:
    return LockedBatch(id=id, state=BatchState(state), is_single=is_single, last_line=last_line)


COUNT_ITEMS = """
SELECT coalesce(sum(n), 0) > 0
  FROM batch_counts
 WHERE batch_id = %(id)s AND status <> 'canceled'
"""


async def has_items(connection: Connection, *, batch_id: UUID) -> bool:
    """Tell whether anything in the batch is left to do or was done."""
    cursor = await connection.execute(COUNT_ITEMS, {"id": batch_id})
    row = await cursor.fetchone()
    return row is not None and bool(row[0])


READ_STATE = """
SELECT CASE WHEN deleted_at IS NULL THEN state ELSE 'deleted' END FROM batches WHERE id = %(id)s
"""


async def read_state(connection: Connection, *, batch_id: UUID) -> str:
    """Return the state of a batch that is there, deleted ones too."""
    row = await (await connection.execute(READ_STATE, {"id": batch_id})).fetchone()
    return "deleted" if row is None else str(row[0])


READ_FACTS = """
SELECT jsonb_build_object(
           'reference', reference, 'priority', priority, 'has_brake', has_brake,
           'retries', retry_policy, 'bypass_windows', bypass_windows,
           'scheduled_at', scheduled_at)
  FROM batches WHERE id = %(id)s
"""


async def read_facts(connection: Connection, *, batch_id: UUID) -> Mapping[str, object]:
    """Return what can be changed of a batch, as the audit log tells it."""
    row = await (await connection.execute(READ_FACTS, {"id": batch_id})).fetchone()
    return row[0] if row is not None and isinstance(row[0], dict) else {}


SET_STATE = """
UPDATE batches SET state = %(state)s, updated_at = %(now)s WHERE id = %(id)s
"""


async def set_state(
    connection: Connection, *, batch_id: UUID, state: BatchState, now: datetime
) -> None:
    """Write the state of a batch locked before."""
    await connection.execute(SET_STATE, {"id": batch_id, "state": state, "now": now})


NOTE_TRACE = "UPDATE batches SET traceparent = %(traceparent)s WHERE id = %(id)s"


async def note_trace(connection: Connection, *, batch_id: UUID) -> None:
    """Write the span of the request that lets a batch run, where it is traced."""
    traceparent = tracing.current()
    if traceparent is not None:
        await connection.execute(NOTE_TRACE, {"id": batch_id, "traceparent": traceparent})


SET_SCHEDULED = """
UPDATE batches
   SET state = 'scheduled', scheduled_at = %(at)s, updated_at = %(now)s,
       bypass_windows = coalesce(%(bypass_windows)s, bypass_windows)
 WHERE id = %(id)s
"""


async def set_scheduled(
    connection: Connection,
    *,
    batch_id: UUID,
    at: datetime,
    bypass_windows: bool | None,
    now: datetime,
) -> None:
    """Write when a batch locked before starts."""
    await connection.execute(
        SET_SCHEDULED,
        {"id": batch_id, "at": at, "bypass_windows": bypass_windows, "now": now},
    )


SET_UNSCHEDULED = """
UPDATE batches SET state = 'open', scheduled_at = NULL, updated_at = %(now)s WHERE id = %(id)s
"""


async def set_unscheduled(connection: Connection, *, batch_id: UUID, now: datetime) -> None:
    """Let a batch locked before wait until somebody starts it."""
    await connection.execute(SET_UNSCHEDULED, {"id": batch_id, "now": now})


SET_CANCELLED = """
UPDATE batches
   SET state = 'cancelled', finished_at = %(now)s, updated_at = %(now)s
 WHERE id = %(id)s
"""


async def set_cancelled(connection: Connection, *, batch_id: UUID, now: datetime) -> None:
    """End an open batch locked before; what it has left is ended by `control.end_ready`."""
    await connection.execute(SET_CANCELLED, {"id": batch_id, "now": now})


# Each takes a line, behind all that files have taken: blank ones and left out ones are lines too.
ADD_ROWS = """
UPDATE batches
   SET last_line = greatest(last_line, total_rows) + %(added)s,
       total_rows = total_rows + %(added)s, updated_at = %(now)s
 WHERE id = %(id)s
"""


async def add_rows(connection: Connection, *, batch_id: UUID, added: int, now: datetime) -> None:
    """Record that a batch locked before got items."""
    await connection.execute(ADD_ROWS, {"id": batch_id, "added": added, "now": now})


FIND_TEAM = "SELECT team_id FROM batches WHERE id = %(batch_id)s AND deleted_at IS NULL"


async def find_team_id(connection: Connection, *, batch_id: UUID) -> int | None:
    """Return whose batch it is; for the operator, who stands above teams."""
    row = await (await connection.execute(FIND_TEAM, {"batch_id": batch_id})).fetchone()
    return int(str(row[0])) if row else None

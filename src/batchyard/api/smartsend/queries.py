"""The batches this door shows, rendered to JSON by PostgreSQL; always by team."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row
from psycopg.sql import SQL, Composed

from batchyard.errors import NotFound, StoreError
from batchyard.models import BatchState
from batchyard.store.db import Connection

STATES: dict[str, tuple[BatchState, ...]] = {
    "open": (BatchState.OPEN,),
    "queued": (BatchState.SCHEDULED, BatchState.QUEUED),
    "processing": (BatchState.RUNNING, BatchState.PAUSED),
    "completed": (BatchState.COMPLETED,),
    "failed": (BatchState.FAILED,),
}
"""Our states by this door's word; a stopped batch is shown by what became of its shipments."""

STATES_WHEN_STOPPED = ("processing", "completed", "failed")

# Counts of one batch `b`, from batch_counts; items are looked at only where an outcome is
# unknown, by their own index. `lost`: unknown for longer than the grace time.
_COUNTED = SQL("""
    SELECT c.total, c.booked, c.failed + u.lost AS failed, c.in_flight - u.lost AS in_flight
      FROM (SELECT coalesce(sum(n) FILTER (WHERE status <> 'canceled'), 0) AS total,
                   coalesce(sum(n) FILTER (WHERE status = 'booked'), 0) AS booked,
                   coalesce(sum(n) FILTER (WHERE
                       (phase = 'done' AND status NOT IN ('booked', 'canceled'))
                       OR (b.state = 'stopped' AND phase IN ('ready', 'claimed'))), 0) AS failed,
                   coalesce(sum(n) FILTER (WHERE
                       phase IN ('calling', 'live', 'unknown')), 0) AS in_flight,
                   coalesce(sum(n) FILTER (WHERE phase = 'unknown'), 0) AS unknown
              FROM batch_counts
             WHERE batch_id = b.id) AS c
     CROSS JOIN LATERAL (
           SELECT CASE WHEN c.unknown > 0 THEN
                      (SELECT count(*) FROM items i
                        WHERE i.batch_id = b.id AND i.phase = 'unknown'
                          AND i.updated_at <= %(lost_before)s)
                  ELSE 0 END AS lost) AS u
""")

# Only for a stopped batch, whose counts are `n`.
_STOPPED_STATE = SQL("""
    CASE WHEN n.in_flight > 0 THEN 'processing'
         WHEN n.booked > 0 THEN 'completed'
         ELSE 'failed' END
""")

_SHOWN = SQL("""
    SELECT b.id AS uuid,
           CASE WHEN b.state IN ('scheduled', 'queued') THEN 'queued'
                WHEN b.state IN ('running', 'paused') THEN 'processing'
                WHEN b.state = 'stopped' THEN {stopped_state}
                ELSE b.state END AS state,
           b.reference, b.identifier,
           n.total AS total_count, n.booked AS completed_count, n.failed AS failed_count,
           CASE WHEN n.total > 0 THEN div(100 * (n.booked + n.failed), n.total)
                ELSE 0 END AS progress,
           to_char(b.created_at, 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS created_at,
           to_char(b.started_at, 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS started_at,
           CASE WHEN b.state <> 'stopped' OR n.in_flight = 0 THEN
               to_char(b.finished_at, 'YYYY-MM-DD"T"HH24:MI:SS"Z"') END AS finished_at
      FROM batches b
     CROSS JOIN LATERAL ({counted}) AS n
""").format(stopped_state=_STOPPED_STATE, counted=_COUNTED)

# The conditions of the index batches_listed, whose entries alone decide page and total.
_VISIBLE = SQL("""
    b.team_id = %(team_id)s AND b.kind = 'shipment' AND b.deleted_at IS NULL
    AND NOT b.is_single AND b.state NOT IN ('importing', 'cancelled')
""")

_IN_STATE = SQL(" AND b.state = ANY(%(states)s)")

# The states that a stopped batch, too, can be shown in.
_IN_STATE_OR_STOPPED = SQL("""
    AND (b.state = ANY(%(states)s)
         OR (b.state = 'stopped'
             AND %(state)s = (SELECT {stopped_state} FROM ({counted}) AS n)))
""").format(stopped_state=_STOPPED_STATE, counted=_COUNTED)


def _list(condition: SQL | Composed) -> Composed:
    return SQL("""
WITH page AS MATERIALIZED (
    SELECT b.id
      FROM batches b
     WHERE {visible} {condition}
     ORDER BY b.created_at DESC, b.id DESC
     LIMIT %(limit)s OFFSET %(offset)s
)
SELECT (SELECT count(*) FROM batches b WHERE {visible} {condition}) AS total,
       (SELECT count(*) FROM page) AS count,
       (SELECT coalesce(json_agg(row_to_json(s) ORDER BY o.created_at DESC, o.id DESC), '[]')::text
          FROM page
          JOIN batches o USING (id)
         CROSS JOIN LATERAL ({shown} WHERE b.id = o.id) AS s) AS json
""").format(visible=_VISIBLE, condition=condition, shown=_SHOWN)


LIST_BATCHES = _list(SQL(""))
LIST_BATCHES_IN_STATE = _list(_IN_STATE)
LIST_BATCHES_IN_STATE_OR_STOPPED = _list(_IN_STATE_OR_STOPPED)


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """Which part of a list is asked for; both count from 1."""

    number: int
    size: int

    @property
    def offset(self) -> int:
        """How many come before the page; no more than PostgreSQL can count."""
        return min((self.number - 1) * self.size, 2**63 - 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class RenderedBatches:
    """A page of batches as JSON."""

    total: int
    count: int
    json: str


async def list_batches(
    connection: Connection, *, team_id: int, state: str | None, page: Page, lost_before: datetime
) -> RenderedBatches:
    """Render a page of the team's batches, newest first, in one statement.

    An outcome unknown since `lost_before` counts as failed.
    """
    values: dict[str, object] = {
        "team_id": team_id,
        "limit": page.size,
        "offset": page.offset,
        "lost_before": lost_before,
    }
    statement = LIST_BATCHES
    if state is not None:
        can_be_stopped = state in STATES_WHEN_STOPPED
        statement = LIST_BATCHES_IN_STATE_OR_STOPPED if can_be_stopped else LIST_BATCHES_IN_STATE
        values |= {"state": state, "states": list(STATES[state])}
    async with connection.cursor(row_factory=class_row(RenderedBatches)) as cursor:
        await cursor.execute(statement, values)
        rendered = await cursor.fetchone()
    if rendered is None:
        raise StoreError
    return rendered


READ_BATCH = SQL("""
SELECT row_to_json(s)::text
  FROM batches o
 CROSS JOIN LATERAL ({shown} WHERE b.id = o.id AND {visible}) AS s
 WHERE o.id = %(id)s
""").format(shown=_SHOWN, visible=_VISIBLE)


async def read_batch(
    connection: Connection, *, team_id: int, batch_id: UUID, lost_before: datetime
) -> str:
    """Render one batch as JSON; raise `NotFound`."""
    cursor = await connection.execute(
        READ_BATCH, {"team_id": team_id, "id": batch_id, "lost_before": lost_before}
    )
    row = await cursor.fetchone()
    if row is None:
        raise NotFound
    return str(row[0])

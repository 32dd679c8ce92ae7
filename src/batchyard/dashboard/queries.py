"""The SELECTs behind the pages about batches; read-only, always of one team."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row

from batchyard.models import BatchState, Kind
from batchyard.store.audit import NAME_OF_ACTOR
from batchyard.store.db import Connection


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownBatch:
    """A batch as lists and headers show it."""

    id: UUID
    kind: Kind
    state: BatchState
    file_name: str | None
    columns: Sequence[str] | None
    """Of its first file."""
    reference: str | None
    identifier: str | None
    agent: str | None
    is_single: bool
    total_rows: int
    refused_rows: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    scheduled_at: datetime | None
    wait_reason: str | None
    wait_noted_at: datetime | None
    paused_by: str | None
    """The name of whoever paused it, where that is known."""
    counts: Mapping[str, int]
    """Items by phase and status, joined with a slash."""
    ended: int
    """Attempts that ended since the time asked for."""
    starter: str | None
    """Who started it or made it, as far as the audit log knows: a name."""

    def __post_init__(self) -> None:
        """Make words of the house of what the database hands out as text."""
        object.__setattr__(self, "kind", Kind(self.kind))
        object.__setattr__(self, "state", BatchState(self.state))


# The audit log names people by their id. The `+ 0` lets its rows be found by their subject: a plain
# order by id reads the whole log of the team backwards for a batch that nobody touched.
BATCH = f"""
SELECT b.id, b.kind, b.state, b.file_name, b.columns, b.reference, b.identifier,
       a.name AS agent,
       b.is_single, b.total_rows, b.refused_rows, b.created_at, b.started_at, b.finished_at,
       b.scheduled_at, b.wait_reason, b.wait_noted_at,
       {NAME_OF_ACTOR.format(actor="b.paused_by", team_id="b.team_id")} AS paused_by,
       (SELECT coalesce(jsonb_object_agg(c.phase || '/' || c.status, c.n), '{{}}')
          FROM batch_counts c WHERE c.batch_id = b.id AND c.n > 0) AS counts,
       (SELECT coalesce(sum(t.ok + t.failed), 0)::int FROM tallies t
         WHERE t.scope = 'batch:' || b.id AND t.at >= %(since)s) AS ended,
       (SELECT {NAME_OF_ACTOR.format(actor="l.actor", team_id="b.team_id")}
          FROM audit_log l
         WHERE l.team_id = b.team_id AND l.subject = b.id::text
           AND l.action IN ('batch.create', 'batch.dispatch', 'batch.schedule')
         ORDER BY l.id + 0 DESC LIMIT 1) AS starter
  FROM batches b
  LEFT JOIN agents a ON a.id = b.agent_id
 WHERE b.team_id = %(team_id)s AND b.deleted_at IS NULL AND b.state <> 'importing'
"""

# Forwards for the next page, backwards for the one before.
LIST = """
{batch} AND NOT b.is_single
   AND (%(kind)s::text IS NULL OR b.kind = %(kind)s)
   AND (%(states)s::text[] IS NULL OR b.state = ANY (%(states)s))
   AND (%(text)s::text IS NULL
        OR strpos(lower(coalesce(b.file_name, '')), lower(%(text)s)) > 0
        OR strpos(lower(coalesce(b.reference, '')), lower(%(text)s)) > 0
        OR strpos(lower(coalesce(b.identifier, '')), lower(%(text)s)) > 0
        OR b.id::text = lower(%(text)s))
   AND (%(from_at)s::timestamptz IS NULL
        OR (b.created_at, b.id) {compares} (%(from_at)s, %(from_id)s::uuid))
 ORDER BY b.created_at {direction}, b.id {direction}
 LIMIT %(limit)s
"""


async def list_batches(
    conn: Connection,
    *,
    team_id: int,
    kind: Kind | None,
    states: Sequence[BatchState] | None,
    text: str | None,
    start: tuple[str, str] | None,
    backwards: bool,
    since: datetime,
    limit: int,
) -> list[ShownBatch]:
    """List batches, the newest first, behind (or before) `start`: a time of creation and an id."""
    query = LIST.format(
        batch=BATCH,
        compares=">" if backwards else "<",
        direction="ASC" if backwards else "DESC",
    )
    async with conn.cursor(row_factory=class_row(ShownBatch)) as cursor:
        await cursor.execute(
            query.encode(),
            {
                "team_id": team_id,
                "kind": kind,
                "states": None if states is None else list(states),
                "text": text,
                "from_at": None if start is None else start[0],
                "from_id": None if start is None else start[1],
                "since": since,
                "limit": limit,
            },
            # With other filters another plan is right.
            prepare=False,
        )
        rows = await cursor.fetchall()
    return rows[::-1] if backwards else rows


READ = f"{BATCH} AND b.id = %(batch_id)s"


async def read_batch(
    conn: Connection, *, team_id: int, batch_id: UUID, since: datetime
) -> ShownBatch | None:
    """Return a batch of the team."""
    async with conn.cursor(row_factory=class_row(ShownBatch)) as cursor:
        await cursor.execute(
            READ.encode(), {"team_id": team_id, "batch_id": batch_id, "since": since}
        )
        return await cursor.fetchone()


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchSettings:
    """What can be changed of a batch."""

    reference: str | None
    priority: int
    retry_policy: Mapping[str, object]
    has_brake: bool
    bypass_windows: bool
    guardrails: object
    """The calling window of its agent, as that was configured."""


READ_SETTINGS = """
SELECT b.reference, b.priority, b.retry_policy, b.has_brake, b.bypass_windows,
       a.config -> 'calling_guardrails' AS guardrails
  FROM batches b
  LEFT JOIN agents a ON a.id = b.agent_id
 WHERE b.id = %(batch_id)s AND b.team_id = %(team_id)s AND b.deleted_at IS NULL
   AND b.state <> 'importing'
"""


async def read_settings(conn: Connection, *, team_id: int, batch_id: UUID) -> BatchSettings | None:
    """Return the settings of a batch of the team."""
    async with conn.cursor(row_factory=class_row(BatchSettings)) as cursor:
        await cursor.execute(READ_SETTINGS, {"team_id": team_id, "batch_id": batch_id})
        return await cursor.fetchone()


@dataclass(frozen=True, kw_only=True, slots=True)
class Throughput:
    """How many attempts ended from a moment on, for some seconds."""

    at: datetime
    seconds: int
    ok: int
    failed: int


# At most two days of ten seconds each: older tallies are not kept.
READ_THROUGHPUT = """
WITH span AS (
    SELECT min(at) AS first, max(at) AS last FROM tallies WHERE scope = %(scope)s
), width AS (
    SELECT first, make_interval(secs => 10 * ceil(greatest(
               extract(epoch FROM last - first) / 10 / %(points)s, 1))) AS step
      FROM span WHERE first IS NOT NULL
)
SELECT date_bin(w.step, t.at, w.first) AS at, extract(epoch FROM w.step)::int AS seconds,
       sum(t.ok)::int AS ok, sum(t.failed)::int AS failed
  FROM width w, tallies t
 WHERE t.scope = %(scope)s
 GROUP BY 1, 2
 ORDER BY 1
"""


async def read_throughput(conn: Connection, *, batch_id: UUID, points: int) -> list[Throughput]:
    """Read how fast a batch went over time, in at most about so many points of equal length."""
    async with conn.cursor(row_factory=class_row(Throughput)) as cursor:
        await cursor.execute(READ_THROUGHPUT, {"scope": f"batch:{batch_id}", "points": points})
        return await cursor.fetchall()

"""The SELECTs behind the overview: counters and indexes only, whatever the number of items."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from batchyard.store.db import Connection
from batchyard.store.tallies import team_scope


@dataclass(frozen=True, kw_only=True, slots=True)
class Now:
    """How the team stands."""

    running: int
    """Batches that may send."""
    paused: int
    scheduled: int
    in_flight: int
    waiting: int
    """Items of running batches that were not sent yet."""
    unknown: int
    """Items that wait for a person."""
    oldest_due_at: datetime | None
    """Since when the longest waiting item may be sent."""
    workers: int
    """Of the installation."""


# Batches that have ended count only where a person has to decide.
READ_NOW = """
WITH active AS MATERIALIZED (
    SELECT id, state FROM batches
     WHERE team_id = %(team_id)s AND deleted_at IS NULL
       AND state IN ('queued', 'running', 'paused', 'scheduled')
), counted AS (
    SELECT a.state, c.phase, sum(c.n) AS n
      FROM active a JOIN batch_counts c ON c.batch_id = a.id
     WHERE c.n > 0 AND c.phase <> 'done'
     GROUP BY 1, 2
)
SELECT (SELECT count(*) FROM active WHERE state IN ('queued', 'running'))::int AS running,
       (SELECT count(*) FROM active WHERE state = 'paused')::int AS paused,
       (SELECT count(*) FROM active WHERE state = 'scheduled')::int AS scheduled,
       (SELECT coalesce(sum(n), 0) FROM counted
         WHERE phase IN ('claimed', 'calling', 'live'))::int AS in_flight,
       (SELECT coalesce(sum(n), 0) FROM counted
         WHERE phase = 'ready' AND state IN ('queued', 'running'))::int AS waiting,
       (SELECT coalesce(sum(n), 0) FROM batch_counts c JOIN batches b ON b.id = c.batch_id
         WHERE c.phase = 'unknown' AND c.n > 0
           AND b.team_id = %(team_id)s AND b.deleted_at IS NULL)::int AS unknown,
       (SELECT min(i.due_at) FROM active a
         CROSS JOIN LATERAL (SELECT due_at FROM items
                              WHERE batch_id = a.id AND phase = 'ready' AND due_at <= %(now)s
                              ORDER BY due_at LIMIT 1) AS i
         WHERE a.state IN ('queued', 'running')) AS oldest_due_at,
       (SELECT count(*) FROM workers
         WHERE ended_at IS NULL AND beat_at >= %(beaten_since)s)::int AS workers
"""


async def read_now(conn: Connection, *, team_id: int, now: datetime, beaten_since: datetime) -> Now:
    """Return how a team stands; workers count that have beaten since then."""
    async with conn.cursor(row_factory=class_row(Now)) as cursor:
        await cursor.execute(
            READ_NOW, {"team_id": team_id, "now": now, "beaten_since": beaten_since}
        )
        row = await cursor.fetchone()
    assert row is not None  # noqa: S101  # aggregates always answer
    return row


@dataclass(frozen=True, kw_only=True, slots=True)
class Hour:
    """How attempts ended within an hour."""

    at: datetime
    ok: int
    failed: int


READ_HOURS = """
SELECT date_bin('1 hour', at, %(since)s) AS at, sum(ok)::int AS ok, sum(failed)::int AS failed
  FROM tallies
 WHERE scope = %(scope)s AND at >= %(since)s
 GROUP BY 1 ORDER BY 1
"""


async def read_hours(conn: Connection, *, team_id: int, since: datetime) -> Sequence[Hour]:
    """Return how a team's attempts ended, by hours from `since` on."""
    async with conn.cursor(row_factory=class_row(Hour)) as cursor:
        await cursor.execute(READ_HOURS, {"scope": team_scope(team_id), "since": since})
        return await cursor.fetchall()


@dataclass(frozen=True, kw_only=True, slots=True)
class Reason:
    """Why attempts failed, and how many."""

    reason: str
    n: int


LIST_REASONS = """
SELECT reason, sum(n)::int AS n FROM failure_tallies
 WHERE team_id = %(team_id)s AND at >= %(since)s
 GROUP BY reason ORDER BY sum(n) DESC, reason LIMIT %(limit)s
"""


async def list_reasons(
    conn: Connection, *, team_id: int, since: datetime, limit: int
) -> Sequence[Reason]:
    """List why a team's attempts failed since then, what was most first."""
    async with conn.cursor(row_factory=class_row(Reason)) as cursor:
        await cursor.execute(LIST_REASONS, {"team_id": team_id, "since": since, "limit": limit})
        return await cursor.fetchall()


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """How a provider does, for everybody who uses it."""

    id: int
    name: str
    kind: str
    paused_reason: str | None
    paused_at: datetime | None
    slow_until: datetime | None
    ok: int
    failed: int
    seconds: float
    """How long these attempts lasted, together."""


# What the team's items go to: where a route says so, else the sandbox.
LIST_HEALTH = """
SELECT p.id, p.name, p.kind, p.paused_reason, p.paused_at,
       CASE WHEN p.slow_until > %(now)s THEN p.slow_until END AS slow_until,
       coalesce(t.ok, 0)::int AS ok, coalesce(t.failed, 0)::int AS failed,
       coalesce(t.seconds, 0) AS seconds
  FROM providers p
  LEFT JOIN LATERAL (
       SELECT sum(ok) AS ok, sum(failed) AS failed, sum(seconds) AS seconds FROM tallies
        WHERE scope = 'provider:' || p.id AND at >= %(since)s) AS t ON true
 WHERE p.removed_at IS NULL
   AND (p.kind = 'sandbox'
        OR EXISTS (SELECT FROM routes r WHERE r.provider_id = p.id AND r.team_id = %(team_id)s))
 ORDER BY p.name
"""


async def list_health(
    conn: Connection, *, team_id: int, since: datetime, now: datetime
) -> Sequence[Health]:
    """List the providers of a team, and how they did since then."""
    async with conn.cursor(row_factory=class_row(Health)) as cursor:
        await cursor.execute(LIST_HEALTH, {"team_id": team_id, "since": since, "now": now})
        return await cursor.fetchall()

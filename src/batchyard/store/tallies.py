"""Outcomes counted by time, per batch, provider and team: the brake, the charts, the overview."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from batchyard.store.db import Connection

BUCKET_SECONDS = 10
FAILURE_BUCKET_SECONDS = 15 * 60
LONGEST_REASON = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """How attempts went."""

    ok: int = 0
    failed: int = 0
    seconds: float = 0
    """How long they lasted, together."""

    def plus(self, more: "Tally") -> "Tally":
        """Count these too."""
        return Tally(
            ok=self.ok + more.ok,
            failed=self.failed + more.failed,
            seconds=self.seconds + more.seconds,
        )


def batch_scope(batch_id: UUID) -> str:
    """Name the tally of a batch."""
    return f"batch:{batch_id}"


def provider_scope(provider_id: int) -> str:
    """Name the tally of a provider."""
    return f"provider:{provider_id}"


def team_scope(team_id: int) -> str:
    """Name the tally of a team."""
    return f"team:{team_id}"


# In scope order, as every worker adds to the same few rows.
ADD = """
INSERT INTO tallies AS t (scope, at, ok, failed, seconds)
SELECT n.scope, %(at)s, n.ok, n.failed, n.seconds
  FROM unnest(%(scopes)s::text[], %(oks)s::int[], %(faileds)s::int[], %(seconds)s::float8[])
       AS n (scope, ok, failed, seconds)
 ORDER BY n.scope
ON CONFLICT (scope, at) DO UPDATE
   SET ok = t.ok + excluded.ok, failed = t.failed + excluded.failed,
       seconds = t.seconds + excluded.seconds
"""


async def add(conn: Connection, tallies: Mapping[str, Tally], *, now: datetime) -> None:
    """Add outcomes to the ten seconds that `now` is in."""
    await conn.execute(
        ADD,
        {
            "at": _bucket(now, BUCKET_SECONDS),
            "scopes": list(tallies),
            "oks": [tally.ok for tally in tallies.values()],
            "faileds": [tally.failed for tally in tallies.values()],
            "seconds": [tally.seconds for tally in tallies.values()],
        },
    )


# In key order, for the same reason.
ADD_FAILURES = """
INSERT INTO failure_tallies AS t (team_id, at, reason, n)
SELECT n.team_id, %(at)s, n.reason, n.n
  FROM unnest(%(team_ids)s::bigint[], %(reasons)s::text[], %(ns)s::int[])
       AS n (team_id, reason, n)
 ORDER BY n.team_id, n.reason
ON CONFLICT (team_id, at, reason) DO UPDATE SET n = t.n + excluded.n
"""


async def add_failures(
    conn: Connection, failures: Mapping[tuple[int, str], int], *, now: datetime
) -> None:
    """Count why attempts failed: how many by team and reason."""
    await conn.execute(
        ADD_FAILURES,
        {
            "at": _bucket(now, FAILURE_BUCKET_SECONDS),
            "team_ids": [team_id for team_id, _ in failures],
            "reasons": [reason for _, reason in failures],
            "ns": list(failures.values()),
        },
    )


def _bucket(now: datetime, seconds: int) -> datetime:
    return datetime.fromtimestamp(now.timestamp() // seconds * seconds, tz=now.tzinfo)


BRAKE_BATCHES = """
UPDATE batches b
   SET state = 'paused', wait_reason = 'brake', wait_until = NULL, updated_at = %(now)s
  FROM (SELECT b2.id, sum(t.ok + t.failed) AS n, sum(t.failed) AS failed
          FROM tallies t JOIN batches b2 ON t.scope = 'batch:' || b2.id
         WHERE t.at > %(since)s AND t.at >= coalesce(b2.brake_from, '-infinity')
           AND b2.has_brake AND b2.state = 'running'
           AND EXISTS (SELECT FROM batch_counts c
                        WHERE c.batch_id = b2.id AND c.phase = 'ready' AND c.n > 0)
         GROUP BY b2.id) AS f
 WHERE b.id = f.id AND b.state = 'running'
   AND f.n >= %(attempts)s AND f.failed > f.n * %(share)s::float8
RETURNING b.id, b.team_id, f.n::int, f.failed::int
"""

BRAKE_PROVIDERS = """
UPDATE providers p
   SET paused_at = %(now)s,
       paused_reason = format('brake: %%s of %%s attempts failed', f.failed, f.n)
  FROM (SELECT p2.id, sum(t.ok + t.failed) AS n, sum(t.failed) AS failed
          FROM tallies t JOIN providers p2 ON t.scope = 'provider:' || p2.id
         WHERE t.at > %(since)s AND t.at >= coalesce(p2.brake_from, '-infinity')
           AND p2.paused_reason IS NULL AND p2.kind <> 'sandbox'
         GROUP BY p2.id) AS f
 WHERE p.id = f.id AND p.paused_reason IS NULL
   AND f.n >= %(attempts)s AND f.failed > f.n * %(share)s::float8
RETURNING p.id, p.name, f.n::int, f.failed::int
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Braked:
    """A batch that was paused because too much of it failed."""

    batch_id: UUID
    team_id: int
    attempts: int
    failed: int


async def brake_batches(
    conn: Connection, *, since: datetime, attempts: int, share: float, now: datetime
) -> list[Braked]:
    """Pause running batches of whose attempts since then more than `share` failed."""
    cursor = await conn.execute(
        BRAKE_BATCHES, {"since": since, "attempts": attempts, "share": share, "now": now}
    )
    return [
        Braked(
            batch_id=row[0],
            team_id=int(str(row[1])),
            attempts=int(str(row[2])),
            failed=int(str(row[3])),
        )
        for row in await cursor.fetchall()
        if isinstance(row[0], UUID)
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class BrakedProvider:
    """A provider that was paused because too much through it failed."""

    provider_id: int
    name: str
    attempts: int
    failed: int


async def brake_providers(
    conn: Connection, *, since: datetime, attempts: int, share: float, now: datetime
) -> list[BrakedProvider]:
    """Pause providers through which more than `share` of the attempts since then failed."""
    cursor = await conn.execute(
        BRAKE_PROVIDERS, {"since": since, "attempts": attempts, "share": share, "now": now}
    )
    return [
        BrakedProvider(
            provider_id=int(str(row[0])),
            name=str(row[1]),
            attempts=int(str(row[2])),
            failed=int(str(row[3])),
        )
        for row in await cursor.fetchall()
    ]


FORGET = "DELETE FROM tallies WHERE at < %(before)s"
FORGET_FAILURES = "DELETE FROM failure_tallies WHERE at < %(before)s"

KEPT = timedelta(days=2)


async def forget(conn: Connection, *, now: datetime) -> None:
    """Remove what no chart shows any more."""
    for statement in (FORGET, FORGET_FAILURES):
        await conn.execute(statement, {"before": now - KEPT})

"""Batches as the engine sees them: which may be admitted from, started, finished, dispatched."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from psycopg.rows import class_row

from batchyard.lifecycle import SUCCESS_STATUS
from batchyard.models import Kind
from batchyard.store.db import Connection


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A batch whose items may be sent."""

    id: UUID
    kind: str
    agent_id: UUID | None
    provider_id: int | None
    """Where the narrowest route leads, agent before kind; None: there is no route."""
    from_numbers: list[str]
    retry_policy: Mapping[str, object]
    wait_reason: str | None
    wait_until: datetime | None
    wait_noted_at: datetime | None
    guardrails: object
    """The agent's hours, as they were given."""
    bypass_windows: bool
    has_rules: bool
    """Whether the team has set rules for its calls."""
    traceparent: str | None
    """The span of the request that let it run, where that was traced."""
    restored_at: datetime | None
    backup_at: datetime | None
    """Set after a restore: what a key may have done since must be asked before it is sent."""


class Order(StrEnum):
    """In which order the batches of a team are served."""

    BY_PRIORITY = "b.priority DESC, b.served_at NULLS FIRST, b.id"
    LOWEST_FIRST = "b.priority, b.served_at NULLS FIRST, b.id"
    LONGEST_UNSERVED_FIRST = "b.served_at NULLS FIRST, b.id"


ROUTED = """
       coalesce((SELECT r.provider_id FROM routes r WHERE r.team_id = b.team_id
                    AND r.kind = b.kind AND r.agent_id = b.agent_id),
                (SELECT r.provider_id FROM routes r WHERE r.team_id = b.team_id
                    AND r.kind = b.kind AND r.agent_id IS NULL))
""".strip()

RUN = f"""
SELECT b.id, b.kind, b.agent_id, b.from_numbers, b.retry_policy, b.wait_reason, b.wait_until,
       b.wait_noted_at, b.restored_at, b.backup_at, b.traceparent,
       {ROUTED} AS provider_id,
       a.config -> 'calling_guardrails' AS guardrails, b.bypass_windows,
       b.kind = 'call' AND EXISTS (
           SELECT FROM team_rules r WHERE r.team_id = b.team_id) AS has_rules
  FROM batches b LEFT JOIN agents a ON a.id = b.agent_id
"""

# Single calls and bookings go ahead of every batch. Only what has something due is looked at.
ADMISSIBLE = f"""
{RUN}
 WHERE b.team_id = %(team_id)s AND b.state IN ('queued', 'running') AND b.deleted_at IS NULL
   AND (b.is_single OR NOT %(singles_only)s)
   AND EXISTS (SELECT FROM items i
                WHERE i.batch_id = b.id AND i.phase = 'ready' AND i.due_at <= %(now)s)
   {{beyond}}
 ORDER BY b.is_single DESC, {{order}}
 LIMIT %(limit)s
"""

# Also where no route leads, something may be held back: 0 stands for that.
BEYOND = f"""
   AND (b.agent_id IS NULL OR b.agent_id <> ALL (%(agent_ids)s::uuid[]))
   AND coalesce({ROUTED}, 0) <> ALL (%(provider_ids)s::int[])
   AND NOT EXISTS (SELECT FROM unnest(%(batch_ids)s::uuid[]) AS seen (id) WHERE seen.id = b.id)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class PassedOver:
    """What was found held back, so that one looks at the rest."""

    agent_ids: set[UUID] = field(default_factory=set)
    provider_ids: set[int | None] = field(default_factory=set)
    """As in `Run.provider_id`."""
    batch_ids: set[UUID] = field(default_factory=set)


async def list_admissible(
    conn: Connection,
    *,
    team_id: int,
    order: Order,
    singles_only: bool,
    limit: int,
    beyond: PassedOver | None = None,
    now: datetime,
) -> list[Run]:
    """List the team's batches that have due items, in the order they are served.

    With `beyond` only those that what was passed over says nothing of.
    """
    given: dict[str, object] = {
        "team_id": team_id,
        "singles_only": singles_only,
        "limit": limit,
        "now": now,
    }
    if beyond is not None:
        given |= {
            "agent_ids": list(beyond.agent_ids),
            "provider_ids": [provider_id or 0 for provider_id in beyond.provider_ids],
            "batch_ids": list(beyond.batch_ids),
        }
    statement = ADMISSIBLE.format(order=order.value, beyond="" if beyond is None else BEYOND)
    async with conn.cursor(row_factory=class_row(Run)) as cursor:
        await cursor.execute(statement.encode(), given)
        return await cursor.fetchall()


READ_RUN = f"{RUN} WHERE b.id = %(batch_id)s"


async def read(conn: Connection, *, batch_id: UUID) -> Run | None:
    """Read a batch as admission sees it, whatever its state."""
    async with conn.cursor(row_factory=class_row(Run)) as cursor:
        await cursor.execute(READ_RUN, {"batch_id": batch_id})
        return await cursor.fetchone()


TRY_TO_LOCK = """
WITH batch AS MATERIALIZED (
    SELECT id FROM batches WHERE id = %(batch_id)s FOR NO KEY UPDATE SKIP LOCKED
), counts AS MATERIALIZED (
    SELECT phase FROM batch_counts WHERE batch_id = %(batch_id)s FOR UPDATE SKIP LOCKED
)
SELECT (SELECT count(*) FROM batch) = 1
   AND (SELECT count(*) FROM counts)
       = (SELECT count(*) FROM batch_counts WHERE batch_id = %(batch_id)s)
"""


async def try_to_lock(conn: Connection, *, batch_id: UUID) -> bool:
    """Lock a batch and its counts, as a claim does, without waiting; False when others hold them.

    For whoever has claimed of a batch with a higher id: in id order nobody waits in a circle.
    """
    row = await (await conn.execute(TRY_TO_LOCK, {"batch_id": batch_id})).fetchone()
    return row is not None and row[0] is True


MARK_SERVED = """
UPDATE batches
   SET served_at = %(now)s,
       state = 'running',
       started_at = coalesce(started_at, %(now)s),
       updated_at = CASE WHEN state = 'queued' THEN %(now)s ELSE updated_at END,
       wait_reason = NULL, wait_until = NULL
 WHERE id = %(batch_id)s AND state IN ('queued', 'running')
RETURNING id
"""


async def mark_served(conn: Connection, *, batch_id: UUID, now: datetime) -> bool:
    """Put the batch last in its team's order and let it run; False when it may not run any more.

    Locks the batch row: a pause or stop waits for the admission, or the admission sees it.
    """
    cursor = await conn.execute(MARK_SERVED, {"batch_id": batch_id, "now": now})
    return await cursor.fetchone() is not None


# Waits for nobody: an admission holds other batches by now, and may note it the next time.
NOTE_WAITS = """
WITH noted AS MATERIALIZED (
    SELECT b.id, n.reason, n.until
      FROM unnest(%(ids)s::uuid[], %(reasons)s::text[], %(untils)s::timestamptz[])
           AS n (id, reason, until)
      JOIN batches b ON b.id = n.id
     WHERE b.state IN ('queued', 'running')
       FOR NO KEY UPDATE OF b SKIP LOCKED
)
UPDATE batches b SET wait_reason = n.reason, wait_until = n.until, wait_noted_at = %(now)s
  FROM noted n
 WHERE b.id = n.id
"""


async def note_waits(
    conn: Connection, waits: Mapping[UUID, tuple[str, datetime | None]], *, now: datetime
) -> None:
    """Keep why batches that have due items were not admitted from, until when, and since `now`."""
    await conn.execute(
        NOTE_WAITS,
        {
            "ids": list(waits),
            "reasons": [reason for reason, _ in waits.values()],
            "untils": [until for _, until in waits.values()],
            "now": now,
        },
    )


# A shipment batch that failed because nothing was booked, until a late answer came.
CORRECT = """
UPDATE batches b SET state = 'completed', updated_at = %(now)s
 WHERE b.state = 'failed' AND b.kind = 'shipment' AND {chosen}
   AND EXISTS (SELECT FROM batch_counts c
                WHERE c.batch_id = b.id AND c.phase = 'done' AND c.n > 0 AND c.status = %(booked)s)
""".strip()

# A statement of its own transaction, after the commit that ended the items: inside it two workers
# could each miss the other's last item.
FINISH = f"""
WITH corrected AS (
{CORRECT.format(chosen="b.id = ANY (%(batch_ids)s)")}
)
UPDATE batches b
   SET state = CASE WHEN b.kind = 'shipment' AND NOT EXISTS (
                        SELECT FROM batch_counts c
                         WHERE c.batch_id = b.id AND c.phase = 'done' AND c.n > 0
                           AND c.status = %(booked)s)
                    THEN 'failed' ELSE 'completed' END,
       finished_at = %(now)s, updated_at = %(now)s, wait_reason = NULL, wait_until = NULL
 WHERE b.state = 'running'
   AND (%(batch_ids)s::uuid[] IS NULL OR b.id = ANY (%(batch_ids)s))
   AND NOT EXISTS (SELECT FROM batch_counts c
                    WHERE c.batch_id = b.id AND c.phase NOT IN ('done', 'unknown') AND c.n > 0)
   AND NOT EXISTS (SELECT FROM items i
                    WHERE i.batch_id = b.id AND i.phase = 'unknown'
                      AND i.updated_at > %(unknown_before)s)
RETURNING b.id
"""


async def finish(
    conn: Connection,
    *,
    batch_ids: Collection[UUID] | None,
    unknown_before: datetime,
    now: datetime,
) -> list[UUID]:
    """End running batches that have no open item; None looks at all. Each ends once.

    An item that is unknown since before `unknown_before` no longer holds its batch open. Those of
    `batch_ids` that had failed, and of which something is booked now, are completed.
    """
    cursor = await conn.execute(
        FINISH,
        {
            "batch_ids": None if batch_ids is None else sorted(batch_ids),
            "unknown_before": unknown_before,
            "booked": SUCCESS_STATUS[Kind.SHIPMENT],
            "now": now,
        },
    )
    return [row[0] for row in await cursor.fetchall() if isinstance(row[0], UUID)]


CORRECT_RECENT = CORRECT.format(chosen="b.finished_at > %(since)s")


async def correct_failed(conn: Connection, *, since: datetime, now: datetime) -> None:
    """Complete batches that failed since then, and of which something is booked now."""
    await conn.execute(
        CORRECT_RECENT,
        {"since": since, "booked": SUCCESS_STATUS[Kind.SHIPMENT], "now": now},
    )


# Locks a batch after its items, against the order; but only one that has ended, which nobody else
# locks before items except a person's decision, and then the flush is repeated.
REOPEN = """
UPDATE batches SET state = 'running', finished_at = NULL, expired = '{}', updated_at = %(now)s
 WHERE id = ANY (%(batch_ids)s) AND state IN ('completed', 'failed') AND deleted_at IS NULL
"""


async def reopen(conn: Connection, *, batch_ids: Collection[UUID], now: datetime) -> None:
    """Let ended batches run again: a late answer to an unknown item wants another attempt."""
    await conn.execute(REOPEN, {"batch_ids": sorted(batch_ids), "now": now})


# Waits for whoever is about to end one of them. By teams, as the index on what has ended goes.
REOPEN_STRANDED = """
WITH ended AS MATERIALIZED (
    SELECT b.id
      FROM teams t
      JOIN batches b ON b.team_id = t.id AND b.finished_at > %(since)s
     WHERE b.state IN ('completed', 'failed') AND b.deleted_at IS NULL
       AND EXISTS (SELECT FROM batch_counts c
                    WHERE c.batch_id = b.id AND c.phase = 'ready' AND c.n > 0)
       FOR NO KEY UPDATE OF b
)
UPDATE batches b SET state = 'running', finished_at = NULL, expired = '{}', updated_at = %(now)s
  FROM ended e
 WHERE b.id = e.id
"""


async def reopen_stranded(conn: Connection, *, since: datetime, now: datetime) -> int:
    """Let batches run again that ended since then although something is due; return how many.

    A late answer may make an unknown item due while another one ends its batch: neither sees the
    other's work before both are committed.
    """
    cursor = await conn.execute(REOPEN_STRANDED, {"since": since, "now": now})
    return cursor.rowcount


DISPATCH_SCHEDULED = """
UPDATE batches b
   SET state = CASE WHEN EXISTS (SELECT FROM batch_counts c
                                  WHERE c.batch_id = b.id AND c.phase <> 'done' AND c.n > 0)
                    THEN 'queued' ELSE 'running' END,
       updated_at = %(now)s
 WHERE id IN (SELECT id FROM batches
               WHERE state = 'scheduled' AND scheduled_at <= %(now)s
               ORDER BY scheduled_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
RETURNING team_id
"""


async def dispatch_scheduled(conn: Connection, *, limit: int, now: datetime) -> list[int]:
    """Queue up to `limit` batches whose time has come; return the team of each, to be woken.

    One in which nothing is left to do runs at once, and so ends at once.
    """
    cursor = await conn.execute(DISPATCH_SCHEDULED, {"limit": limit, "now": now})
    return [int(str(row[0])) for row in await cursor.fetchall()]


# Those in which nothing is left to do are never looked at otherwise: `control.start_if_all_ended`
# keeps them from coming about. Waits for nobody: who holds one may give it something to do.
START_STRANDED = """
WITH stranded AS MATERIALIZED (
    SELECT b.id FROM batches b
     WHERE b.state = 'queued'
       AND NOT EXISTS (SELECT FROM batch_counts c
                        WHERE c.batch_id = b.id AND c.phase <> 'done' AND c.n > 0)
     ORDER BY b.id
       FOR NO KEY UPDATE OF b SKIP LOCKED
)
UPDATE batches b SET state = 'running', started_at = coalesce(b.started_at, %(now)s),
       updated_at = %(now)s
  FROM stranded s
 WHERE b.id = s.id
"""


async def start_stranded(conn: Connection, *, now: datetime) -> int:
    """Let batches run, and so end, that are queued and have no open item; return how many."""
    return (await conn.execute(START_STRANDED, {"now": now})).rowcount


HALTED = """
SELECT id FROM batches
 WHERE id = ANY (%(batch_ids)s) AND state NOT IN ('queued', 'running')
"""


async def list_halted(conn: Connection, *, batch_ids: Collection[UUID]) -> set[UUID]:
    """Tell which of these batches must not send any more."""
    cursor = await conn.execute(HALTED, {"batch_ids": list(batch_ids)})
    return {row[0] for row in await cursor.fetchall() if isinstance(row[0], UUID)}


NEXT_DUE = """
SELECT min(i.due_at)
  FROM batches b
 CROSS JOIN LATERAL (
       SELECT due_at FROM items
        WHERE batch_id = b.id AND phase = 'ready' AND due_at > %(after)s
        ORDER BY due_at LIMIT 1) AS i
 WHERE b.team_id = %(team_id)s AND b.state IN ('queued', 'running')
"""


async def next_due(conn: Connection, *, team_id: int, after: datetime) -> datetime | None:
    """Return when the team's next ready item falls due; None when nothing will."""
    cursor = await conn.execute(NEXT_DUE, {"team_id": team_id, "after": after})
    row = await cursor.fetchone()
    return row[0] if row and isinstance(row[0], datetime) else None

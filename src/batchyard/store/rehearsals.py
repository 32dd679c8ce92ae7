"""What a rehearsal has to know: where items would go, what holds them, how long they took."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row

from batchyard.models import Kind
from batchyard.store.db import Connection

# The narrowest route, as the engine follows it; without one it is the sandbox.
ROUTED = """
SELECT p.id, p.name, p.kind, p.settings
  FROM providers p
  LEFT JOIN routes r ON r.provider_id = p.id AND r.team_id = %(team_id)s AND r.kind = %(kind)s
                    AND (r.agent_id IS NULL OR r.agent_id = %(agent_id)s)
 WHERE (r.provider_id IS NOT NULL OR p.kind = 'sandbox') AND p.removed_at IS NULL
 ORDER BY r.agent_id IS NULL, r.provider_id IS NULL, p.id
 LIMIT 1
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class RoutedProvider:
    """Who would get the items."""

    id: int
    name: str
    kind: str
    settings: Mapping[str, object]


async def find_provider(
    conn: Connection, *, team_id: int, kind: Kind, agent_id: UUID | None
) -> RoutedProvider | None:
    """Return the provider that would get items."""
    async with conn.cursor(row_factory=class_row(RoutedProvider)) as cursor:
        await cursor.execute(ROUTED, {"team_id": team_id, "kind": kind, "agent_id": agent_id})
        return await cursor.fetchone()


LIMITS = """
SELECT l.key, l.concurrency, r.count, r.seconds, r.burst, r.tokens, r.refilled_at
  FROM limits l LEFT JOIN rates r ON r.key = l.key
 WHERE l.key = ANY (%(keys)s)
 ORDER BY l.key, r.seconds
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptLimit:
    """A limit, or one of its rates."""

    key: str
    concurrency: int | None
    count: int | None
    seconds: int | None
    burst: int | None
    tokens: float | None
    refilled_at: datetime | None


async def read_limits(conn: Connection, *, keys: Sequence[str]) -> list[KeptLimit]:
    """Read what was set for these limits."""
    async with conn.cursor(row_factory=class_row(KeptLimit)) as cursor:
        await cursor.execute(LIMITS, {"keys": list(keys)})
        return await cursor.fetchall()


GUARDRAILS = """
SELECT config -> 'calling_guardrails' FROM agents
 WHERE id = %(agent_id)s AND team_id = %(team_id)s AND deleted_at IS NULL
"""


async def read_guardrails(conn: Connection, *, team_id: int, agent_id: UUID) -> object:
    """Return the hours of an agent, as they were given."""
    row = await (
        await conn.execute(GUARDRAILS, {"agent_id": agent_id, "team_id": team_id})
    ).fetchone()
    return None if row is None else row[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class ObservedAttempt:
    """How an attempt at a provider ended."""

    status: str
    seconds: float
    cost_minor: float
    currency: str | None
    by_voicemail: bool


# The team's latest batches that ended something at this provider; costs belong to the last attempt.
OBSERVED = """
WITH latest AS MATERIALIZED (
    SELECT id FROM batches
     WHERE team_id = %(team_id)s AND kind = %(kind)s AND started_at > %(since)s
     ORDER BY started_at DESC
     LIMIT 20
), seen AS (
    SELECT d.result, a.value AS attempt,
           (a.value ->> 'attempt')::int = jsonb_array_length(d.attempts) AS is_last
      FROM latest b
      JOIN item_data d ON d.batch_id = b.id AND d.provider = %(provider)s
     CROSS JOIN LATERAL jsonb_array_elements(d.attempts) AS a (value)
     WHERE d.ended_at IS NOT NULL
     LIMIT %(limit)s
)
SELECT attempt ->> 'status' AS status,
       extract(epoch FROM (attempt ->> 'ended_at')::timestamptz
                        - (attempt ->> 'sent_at')::timestamptz)::float8 AS seconds,
       CASE WHEN is_last THEN coalesce(
           (result ->> 'cost_minor')::float8, (result ->> 'price_minor')::float8, 0)
           ELSE 0 END AS cost_minor,
       CASE WHEN is_last THEN result ->> 'currency' END AS currency,
       is_last AND coalesce((result ->> 'answered_by_voice_mail')::boolean, false)
           AS by_voicemail
  FROM seen
 WHERE attempt ->> 'status' IS NOT NULL AND attempt ->> 'sent_at' IS NOT NULL
   AND attempt ->> 'ended_at' IS NOT NULL
"""


async def list_observed(
    conn: Connection, *, team_id: int, kind: Kind, provider: str, since: datetime, limit: int
) -> list[ObservedAttempt]:
    """List how attempts of the team's latest batches ended at a provider."""
    async with conn.cursor(row_factory=class_row(ObservedAttempt)) as cursor:
        await cursor.execute(
            OBSERVED,
            {
                "team_id": team_id,
                "kind": kind,
                "provider": provider,
                "since": since,
                "limit": limit,
            },
        )
        return await cursor.fetchall()


@dataclass(frozen=True, kw_only=True, slots=True)
class RehearsedBatch:
    """A batch as it would be started."""

    kind: str
    state: str
    agent_id: UUID | None
    retry_policy: Mapping[str, object]
    bypass_windows: bool
    has_brake: bool
    scheduled_at: datetime | None
    total_rows: int
    refused_rows: int
    items: int


BATCH = """
SELECT b.kind, b.state, b.agent_id, b.retry_policy, b.bypass_windows, b.has_brake, b.scheduled_at,
       b.total_rows, b.refused_rows,
       (SELECT coalesce(sum(c.n), 0)::int FROM batch_counts c
         WHERE c.batch_id = b.id AND c.phase = 'ready') AS items
  FROM batches b
 WHERE b.id = %(batch_id)s AND b.team_id = %(team_id)s AND b.deleted_at IS NULL
   AND b.state <> 'importing'
"""


async def read_batch(conn: Connection, *, team_id: int, batch_id: UUID) -> RehearsedBatch | None:
    """Read a batch of the team, and how many items it has to send."""
    async with conn.cursor(row_factory=class_row(RehearsedBatch)) as cursor:
        await cursor.execute(BATCH, {"batch_id": batch_id, "team_id": team_id})
        return await cursor.fetchone()


# Spread by a hash, so that no pattern of the file shows in the sample; the same each time.
CHOOSE = """
SELECT id FROM items
 WHERE batch_id = %(batch_id)s AND phase = 'ready'
 ORDER BY hashtextextended(id::text, 0)
 LIMIT %(limit)s
"""


async def choose_items(conn: Connection, *, batch_id: UUID, limit: int) -> list[UUID]:
    """Choose a fair sample of what a batch has to send."""
    rows = await conn.execute(CHOOSE, {"batch_id": batch_id, "limit": limit})
    return [row[0] for row in await rows.fetchall() if isinstance(row[0], UUID)]


@dataclass(frozen=True, kw_only=True, slots=True)
class ChosenItem:
    """An item of the sample."""

    number: str | None
    payload: str
    zones: tuple[str, ...]


# In the order in which they were chosen, however they are found: it decides who goes first.
ITEMS = """
SELECT d.number, d.payload::text AS payload, coalesce(z.zones, '{}') AS zones
  FROM unnest(%(item_ids)s::uuid[]) WITH ORDINALITY AS chosen (id, place)
  JOIN item_data d ON d.item_id = chosen.id
  JOIN items i ON i.id = chosen.id
  LEFT JOIN zone_sets z ON z.id = i.zone_set
 ORDER BY chosen.place
"""


async def read_items(conn: Connection, *, item_ids: Sequence[UUID]) -> list[ChosenItem]:
    """Read chosen items in this order; the payload as it is written."""
    rows = await conn.execute(ITEMS, {"item_ids": list(item_ids)})
    return [
        ChosenItem(
            number=None if number is None else str(number),
            payload=str(payload),
            zones=tuple(str(zone) for zone in zones) if isinstance(zones, list) else (),
        )
        for number, payload, zones in await rows.fetchall()
    ]

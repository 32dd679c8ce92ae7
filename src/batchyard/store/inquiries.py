"""Items whose answer is missing: taken, some of each provider at a time, to be asked for."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from uuid import UUID

from psycopg.rows import class_row

from batchyard.lifecycle import ADMITTING_STATES
from batchyard.store.db import Connection
from batchyard.store.histories import own_result
from batchyard.store.taken_out import TAKEN_OUT


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenQuestion:
    """A sent item nobody has an answer for."""

    id: UUID
    batch_id: UUID
    team_id: int
    team: str
    kind: str
    agent_id: UUID | None
    provider_id: int
    provider: str
    attempt: int
    lease: int
    sends: int
    phase: str
    status: str
    held_until: datetime | None
    """How long others leave it alone; of a question that was not taken when it is due."""
    intent_at: datetime
    repeated_at: datetime | None
    """When its key was last sent again; may be that of an earlier intent."""
    updated_at: datetime
    """When the last news came."""
    undecided_since: datetime | None
    """The first of the looks in a row that decided nothing."""
    number: str | None
    from_number: str | None
    reference: str | None
    provider_reference: str | None
    zone_set: int | None
    payload: Mapping[str, object]
    result: Mapping[str, object] | None
    """Of this key; not what the attempt before it left."""
    retry_policy: Mapping[str, object]
    empty_looks: int
    absences: int
    """How often its key was sent before and believed never to have arrived."""
    backup_at: datetime | None
    """Set after a restore: the key may have been used from this time on."""
    restored_at: datetime | None
    """When its batch was brought back from a backup, which may not know all that was sent."""
    sender: Mapping[str, object] | None
    """Where the team sends from; of shipments."""


# Of what was taken out while nobody knew its outcome, and turns out to be live, the retry policy
# is withheld, here and where news is judged.
QUESTION = f"""
SELECT t.id, t.batch_id, t.team_id, m.slug AS team, b.kind, b.agent_id, t.provider_id,
       p.name AS provider, t.try AS attempt, t.lease, t.sends, t.phase,
       t.status, t.deadline_at AS held_until, t.intent_at, t.repeated_at, t.updated_at,
       t.undecided_since, t.zone_set, d.number, d.reference,
       coalesce(d.from_number, b.from_numbers[1 + mod(
           coalesce(d.turn, d.position), nullif(cardinality(b.from_numbers), 0))]) AS from_number,
       d.provider_reference, d.payload, {own_result("t.phase")} AS result,
       b.restored_at, b.backup_at,
       CASE WHEN d.payload IN {TAKEN_OUT} THEN '{{}}' ELSE b.retry_policy END AS retry_policy,
       coalesce(t.empty_looks, 0) AS empty_looks,
       CASE WHEN t.absent_try = t.try THEN t.absences ELSE 0 END AS absences,
       CASE b.kind WHEN 'shipment' THEN (
           SELECT s.sender FROM senders s WHERE s.team_id = t.team_id) END AS sender
"""

NOTHING: Mapping[tuple[int, str], int] = MappingProxyType({})

# The lease rises and the deadline moves on: whoever asks holds the question until then, and a
# crash while asking only delays it. `updated_at` stays, it tells of the last news.
# However many answers are lost at one provider, those of the others and its own live items have
# room beside them. The last limit is for the planner, which else expects thousands of each provider
# and reads the whole table.
TAKE = f"""
WITH rooms AS (
    SELECT p.id AS provider_id, phases.phase,
           greatest(0, %(limit)s - coalesce(o.n, 0)) AS room
      FROM providers p
     CROSS JOIN (VALUES ('calling'), ('live')) AS phases (phase)
      LEFT JOIN unnest(%(out_providers)s::int[], %(out_phases)s::text[], %(out_counts)s::int[])
                AS o (provider_id, phase, n) ON o.provider_id = p.id AND o.phase = phases.phase
), picked AS (
    SELECT due.id
      FROM rooms r
     CROSS JOIN LATERAL (
           SELECT i.id FROM items i
            WHERE i.provider_id = r.provider_id AND i.phase = r.phase
              AND i.phase IN ('calling', 'live') AND i.worker_id IS NULL
              AND i.deadline_at <= %(now)s
              AND i.id <> ALL (%(but)s::uuid[])
              AND (%(of_batch)s::uuid IS NULL OR i.batch_id = %(of_batch)s)
            ORDER BY i.deadline_at
            LIMIT r.room
              FOR UPDATE SKIP LOCKED) AS due
     LIMIT 500
), taken AS (
    UPDATE items i SET lease = i.lease + 1, deadline_at = %(held_until)s
      FROM picked p WHERE i.id = p.id
    RETURNING i.*
)
{QUESTION}
  FROM taken t
  JOIN item_data d ON d.item_id = t.id
  JOIN batches b ON b.id = t.batch_id
  JOIN teams m ON m.id = t.team_id
  JOIN providers p ON p.id = t.provider_id
 ORDER BY t.id
"""


async def take(
    conn: Connection,
    *,
    limit: int,
    hold: timedelta,
    now: datetime,
    out: Mapping[tuple[int, str], int] = NOTHING,
    but: Collection[UUID] = (),
    of_batch: UUID | None = None,
) -> list[OpenQuestion]:
    """Take overdue items to ask about, the longest overdue first; others leave them for `hold`.

    Of each provider and phase at most `limit`, less those that are `out`; none of `but`.
    """
    async with conn.cursor(row_factory=class_row(OpenQuestion)) as cursor:
        await cursor.execute(
            TAKE,
            {
                "limit": limit,
                "out_providers": [provider_id for provider_id, _ in out],
                "out_phases": [phase for _, phase in out],
                "out_counts": list(out.values()),
                "but": list(but),
                "held_until": now + hold,
                "now": now,
                "of_batch": of_batch,
            },
        )
        return await cursor.fetchall()


READ = f"""
{QUESTION}
  FROM items t
  JOIN item_data d ON d.item_id = t.id
  JOIN batches b ON b.id = t.batch_id
  JOIN teams m ON m.id = t.team_id
  JOIN providers p ON p.id = t.provider_id
 WHERE t.id = %(item_id)s AND t.intent_at IS NOT NULL
"""


async def read(conn: Connection, *, item_id: UUID) -> OpenQuestion | None:
    """Read an item that was sent at some time, without taking it."""
    async with conn.cursor(row_factory=class_row(OpenQuestion)) as cursor:
        await cursor.execute(READ, {"item_id": item_id})
        return await cursor.fetchone()


# Another intent of the same key. It is asked here, and not when the question is taken, whether
# anything may be sent: what was paused a moment ago sends nothing. Who does not hold the question
# any more, or comes after the answer, writes nothing and so sends nothing.
INTEND_REPEAT = """
WITH rules AS (
    SELECT b.state, b.deleted_at IS NOT NULL AS is_deleted,
           p.paused_reason IS NOT NULL AS is_provider_paused, p.slow_until
      FROM batches b CROSS JOIN providers p
     WHERE b.id = %(batch_id)s AND p.id = %(provider_id)s
), repeated AS (
    UPDATE items i SET repeated_at = %(now)s, sends = least(i.sends + 1, 32767)
      FROM rules r
     WHERE i.id = %(item_id)s AND i.lease = %(lease)s AND i.phase = 'calling'
       AND r.state = ANY (%(admitting)s) AND NOT r.is_deleted AND NOT r.is_provider_paused
       AND (r.slow_until IS NULL OR r.slow_until <= %(now)s)
       AND %(has_token)s
    RETURNING i.sends
)
SELECT r.*, (SELECT sends FROM repeated) AS sends FROM rules r
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class RepeatIntent:
    """Whether a key is sent again, and what may forbid it."""

    state: str
    """Of the batch."""
    is_deleted: bool
    is_provider_paused: bool
    slow_until: datetime | None
    """Until then the provider is sent nothing."""
    sends: int | None
    """How often the item is sent with this, where it is to be sent."""


async def intend_repeat(
    conn: Connection, question: OpenQuestion, *, has_token: bool, now: datetime
) -> RepeatIntent | None:
    """Write that the key of a taken question is about to be sent again, if that may be.

    `has_token` says whether its rates, which are locked, allow it. None when its batch is gone.
    """
    async with conn.cursor(row_factory=class_row(RepeatIntent)) as cursor:
        await cursor.execute(
            INTEND_REPEAT,
            {
                "item_id": question.id,
                "lease": question.lease,
                "batch_id": question.batch_id,
                "provider_id": question.provider_id,
                "admitting": list(ADMITTING_STATES),
                "has_token": has_token,
                "now": now,
            },
        )
        return await cursor.fetchone()


# Locks its row alone. Fenced by the lease, as the news that follows is; a crash between the two
# counts one absence twice, which only leaves the item to a person sooner.
NOTE_ABSENCE = """
UPDATE items
   SET absences = CASE WHEN absent_try = try THEN least(absences + 1, 32767) ELSE 1 END,
       absent_try = try
 WHERE id = %(item_id)s AND lease = %(lease)s AND phase = 'calling'
"""


async def note_absence(conn: Connection, question: OpenQuestion) -> None:
    """Count that the key of a taken question is believed never to have arrived."""
    await conn.execute(NOTE_ABSENCE, {"item_id": question.id, "lease": question.lease})


# What was taken out while nobody knew its outcome is not sent again, whatever a late answer says,
# nor what follows one that made it live. Of other items the payload is not read.
KEYS = f"""
SELECT i.id, i.intent_at, b.kind,
       CASE WHEN i.phase IN ('unknown', 'live')
             AND (SELECT d.payload FROM item_data d WHERE d.item_id = i.id) IN {TAKEN_OUT}
            THEN '{{}}' ELSE b.retry_policy END AS retry_policy
  FROM items i JOIN batches b ON b.id = i.batch_id
 WHERE i.id = ANY (%(ids)s)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyContext:
    """What is needed to judge news about an item's current key."""

    id: UUID
    intent_at: datetime | None
    kind: str
    retry_policy: Mapping[str, object]


async def read_contexts(conn: Connection, ids: list[UUID]) -> dict[UUID, KeyContext]:
    """Read the context of items that a provider has reported on."""
    async with conn.cursor(row_factory=class_row(KeyContext)) as cursor:
        await cursor.execute(KEYS, {"ids": ids})
        return {row.id: row for row in await cursor.fetchall()}

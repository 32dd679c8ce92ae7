"""How items move: claimed, intended, settled. All set-based; the counts follow by trigger."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple, NotRequired, TypedDict
from uuid import UUID

import orjson
from psycopg.rows import args_row

from batchyard.lifecycle import ADMITTING_STATES, CANCELED_STATUS, LIVE_ORDER, SENT_PHASES
from batchyard.models import Phase
from batchyard.store.attempts import Contact
from batchyard.store.db import Connection
from batchyard.store.histories import UNANSWERED, own_result
from batchyard.store.number_claims import NumberClaim


# A tuple: made for each item, and a frozen dataclass costs ten times as much.
class ClaimedItem(NamedTuple):
    """A row as a worker took it, with what its provider needs; in the order of `CLAIM`."""

    id: UUID
    attempt: int
    lease: int
    sends: int
    """How often an intent was written for it, this one included where the claim carries it."""
    status: str
    """The waiting status it had, for handing it back."""
    number: str | None
    from_number: str | None
    reference: str | None
    provider_reference: str | None
    payload: Mapping[str, object]
    intent_at: datetime | None
    zone_set: int | None = None
    ordered_at: datetime | None = None
    """When a person decided that it was not done and is to be sent again."""

    @property
    def delivery(self) -> int:
        """How often it was sent once it goes out now."""
        return self.sends if self.intent_at is not None else self.sends + 1


# Rows another admission holds are skipped, never waited for. `due_at, id` serves the oldest first.
# With `with_intent` the intent is part of the claim: right for providers that honour a repeated
# key, because for them an intent that was never sent costs nothing. Sends are counted as far as
# their column goes; what was sent so often is not told apart any more.
CLAIM = """
WITH picked AS (
    {picked}
       FOR UPDATE OF i SKIP LOCKED
), claimed AS (
    UPDATE items i
       SET phase = CASE WHEN %(with_intent)s::boolean THEN 'calling' ELSE 'claimed' END,
           status = CASE WHEN %(with_intent)s::boolean THEN 'sending' ELSE i.status END,
           intent_at = CASE WHEN %(with_intent)s THEN %(now)s::timestamptz ELSE i.intent_at END,
           deadline_at = %(deadline_at)s::timestamptz,
           sends = CASE WHEN %(with_intent)s THEN least(i.sends + 1, 32767) ELSE i.sends END,
           worker_id = %(worker_id)s, provider_id = %(provider_id)s,
           lease = i.lease + 1, updated_at = %(now)s
      FROM picked p
     WHERE i.id = p.id
    RETURNING i.id, i.try, i.lease, i.sends, p.status, i.intent_at, i.zone_set
)
SELECT c.id, c.try AS attempt, c.lease, c.sends, c.status, d.number,
       coalesce(d.from_number, (%(from_numbers)s::text[])[1 + mod(
           coalesce(d.turn, d.position),
           nullif(cardinality(%(from_numbers)s::text[]), 0))]) AS from_number,
       d.reference, d.provider_reference, d.payload,
       CASE WHEN %(with_intent)s THEN c.intent_at END AS intent_at, c.zone_set,
       CASE WHEN d.attempts -> -1 ? 'resolved_by'
            THEN (d.attempts -> -1 ->> 'ended_at')::timestamptz END AS ordered_at
  FROM claimed c JOIN item_data d ON d.item_id = c.id
 ORDER BY c.id
"""

PICK_DUE = """
    SELECT i.id, i.status FROM items i
     WHERE i.batch_id = %(batch_id)s AND i.phase = 'ready' AND i.due_at <= %(now)s
     ORDER BY i.due_at, i.id
     LIMIT %(limit)s
"""

# However many items wait behind closed windows, only a slab is looked through.
PICK_OPEN = """
    SELECT i.id, i.status
      FROM (SELECT id, due_at, zone_set FROM items
             WHERE batch_id = %(batch_id)s AND phase = 'ready' AND due_at <= %(now)s
             ORDER BY due_at, id
             LIMIT %(slab)s) AS first
      JOIN items i ON i.id = first.id
     WHERE coalesce(first.zone_set, 0) = ANY (%(open_sets)s::int[])
       AND i.phase = 'ready' AND i.due_at <= %(now)s
     ORDER BY first.due_at, first.id
     LIMIT %(limit)s
"""

CLAIM_DUE = CLAIM.format(picked=PICK_DUE.strip())
CLAIM_OPEN = CLAIM.format(picked=PICK_OPEN.strip())


async def claim(
    conn: Connection,
    *,
    batch_id: UUID,
    worker_id: int,
    provider_id: int,
    from_numbers: Sequence[str],
    limit: int,
    intent_deadline: timedelta | None,
    open_sets: Collection[int] | None = None,
    slab: int | None = None,
    now: datetime,
) -> list[ClaimedItem]:
    """Take up to `limit` due items of a batch for a worker.

    `from_numbers` rotate over the items by their position. With `intent_deadline` the intent is
    written in the same statement. With `open_sets` only items of these sets of zones are taken
    (0 is unknown), of the first `slab` that are due.
    """
    async with conn.cursor(binary=True, row_factory=args_row(ClaimedItem)) as cursor:
        await cursor.execute(
            CLAIM_DUE if open_sets is None else CLAIM_OPEN,
            {
                "batch_id": batch_id,
                "worker_id": worker_id,
                "provider_id": provider_id,
                "from_numbers": list(from_numbers),
                "limit": limit,
                "with_intent": intent_deadline is not None,
                "deadline_at": None if intent_deadline is None else now + intent_deadline,
                "open_sets": None if open_sets is None else sorted(open_sets),
                "slab": slab,
                "now": now,
            },
        )
        return await cursor.fetchall()


# Fenced by lease and worker: a claim that was taken away intends nothing. Repeating the statement
# after a commit whose answer was lost changes nothing and returns the same rows, as long as the
# batch runs: of one that was paused, stopped or deleted before nothing is intended. Its row is read
# and not locked, for whoever stops it later finds the item sent.
INTEND = """
WITH locked AS MATERIALIZED (
    SELECT w.*
      FROM json_to_recordset(%(rows)s::json) AS w (id uuid, lease bigint, deadline_seconds float8)
      JOIN items i ON i.id = w.id
      JOIN batches b ON b.id = i.batch_id AND b.state = ANY (%(admitting)s)
     ORDER BY i.id
       FOR UPDATE OF i
)
UPDATE items i
   SET phase = 'calling', status = 'sending', intent_at = %(now)s, updated_at = %(now)s,
       sends = CASE WHEN i.phase = 'claimed' THEN least(i.sends + 1, 32767) ELSE i.sends END,
       deadline_at = %(now)s + make_interval(secs => l.deadline_seconds)
  FROM locked l
 WHERE i.id = l.id
   AND i.lease = l.lease AND i.worker_id = %(worker_id)s AND i.phase IN ('claimed', 'calling')
RETURNING i.id
"""


# As `ClaimedItem`: made for each item.
class Intent(NamedTuple):
    """What a worker is about to send."""

    id: UUID
    lease: int
    deadline: timedelta
    """How long after the intent a missing answer may be asked for."""
    contact: Contact | None = None
    """Whom it reaches, where somebody may not want that."""
    claim: NumberClaim | None = None
    """The numbers it is between, where two undecided calls could not be told apart."""


async def intend(
    conn: Connection, intents: Sequence[Intent], *, worker_id: int, now: datetime
) -> set[UUID]:
    """Write intents; return the ids whose claim still held, and whose batch still runs."""
    rows = [
        {"id": i.id, "lease": i.lease, "deadline_seconds": i.deadline.total_seconds()}
        for i in intents
    ]
    cursor = await conn.cursor(binary=True).execute(
        INTEND,
        {
            "rows": orjson.dumps(rows).decode(),
            "worker_id": worker_id,
            "admitting": list(ADMITTING_STATES),
            "now": now,
        },
    )
    return {row[0] for row in await cursor.fetchall() if isinstance(row[0], UUID)}


# A dictionary, and what is not said is left out: it is made, written as JSON and read by PostgreSQL
# for each item, in half the time of a frozen dataclass with all its fields.
class Settlement(TypedDict):
    """One row of news for the books; written only where it still fits the item."""

    id: UUID
    attempt: int
    phase: Phase
    status: str
    next_attempt: int
    lease: NotRequired[int]
    """Given: only the holder of this claim may write. Else: whoever knows the key's answer."""
    due_at: NotRequired[datetime]
    deadline_at: NotRequired[datetime]
    from_phases: NotRequired[Sequence[Phase]]
    """Where the item must be; `SENT_PHASES` unless said."""
    worker_id: NotRequired[int]
    """Given: it stays this worker's claim, and only that is written to."""
    held_until: NotRequired[datetime]
    """Of an answer that was asked for: the deadline meanwhile. Another one was set by news."""
    live_rank: NotRequired[int]
    is_undecided: NotRequired[bool]
    """Nothing was learned: `updated_at` goes on to tell of the last news."""
    undecided_since: NotRequired[datetime]
    """The first of the looks in a row that decided nothing; forgotten with any other news."""
    empty_looks: NotRequired[int]
    """How often the undecided key was looked for and not found."""
    entry: NotRequired[Mapping[str, object]]
    """What the history of attempts remembers of this."""
    provider: NotRequired[str]
    reference: NotRequired[str]
    result: NotRequired[Mapping[str, object]]
    error_code: NotRequired[str]
    error_message: NotRequired[str]


class Settled(NamedTuple):
    """Rows that took their news and are alike; in the order of `SETTLE`."""

    batch_id: UUID
    team_id: int
    provider_id: int | None
    phase: str
    due_at: datetime
    """The earliest."""
    ids: Sequence[UUID]


# Locks the rows in id order first, so that two flushes never wait for each other in a circle; the
# UPDATE then checks each row as it stands. The counting trigger fires at the end of the statement.
# A live row moves only upwards, so a late or doubled callback changes nothing; only who asked the
# provider under a lease may write the rank it has, to look again later. A result is taken at any
# rank, with when to look the row up for it, but no row steps back. Who asked neither puts off nor
# gives up what news made due meanwhile. A reference belongs to one key, and what comes back unsent
# was not done under any: with an item that is ready none stays. The history keeps it, told with the
# end or long before. Why an item was refused, or its answer lost, is its error until it is accepted
# or ends; that is written only where it is another one, so that a provider that is away for hours
# costs one row for each item. Of whom an erasure has noted nothing becomes ready: it ends with the
# answer it got, or canceled. With the first news of a key, which is live by it or unknown, the
# result of the attempt before goes: the history has that.
SETTLE = """
WITH locked AS MATERIALIZED (
    SELECT n.*, n.phase = 'ready' AND EXISTS (
               SELECT FROM pending_erasures p WHERE p.item_id = n.id) AS is_erased,
           n.phase IN ('live', 'unknown') AND i.phase IN {unanswered} AS is_first_news
      FROM json_to_recordset(%(rows)s::json) AS n (
           id uuid, attempt smallint, lease bigint, phase text, status text,
           next_attempt smallint, due_at timestamptz, deadline_at timestamptz,
           held_until timestamptz,
           from_phases text[], worker_id bigint, live_rank int, is_undecided boolean,
           undecided_since timestamptz, empty_looks smallint, entry jsonb, provider text,
           reference text, result jsonb, error_code text, error_message text)
      JOIN items i ON i.id = n.id
     ORDER BY i.id
       FOR UPDATE OF i
), settled AS (
    UPDATE items i
       SET phase = CASE WHEN n.is_erased THEN 'done' ELSE n.phase END,
           try = CASE WHEN n.is_erased THEN i.try ELSE n.next_attempt END,
           status = CASE
               WHEN n.is_erased THEN coalesce(n.entry ->> 'status', %(canceled)s)
               WHEN n.phase = 'live' AND i.phase = 'live' AND n.live_rank
                    < array_position(%(live_order)s::text[], i.status) THEN i.status
               ELSE n.status END,
           due_at = coalesce(n.due_at, i.due_at),
           deadline_at = CASE
               WHEN n.worker_id IS NOT NULL THEN i.deadline_at
               WHEN n.phase = 'live' AND i.phase = 'live' AND n.lease IS NULL
                    AND n.result IS NULL THEN i.deadline_at
               WHEN n.deadline_at IS NOT NULL AND (
                        n.held_until IS NOT NULL AND n.held_until IS DISTINCT FROM i.deadline_at
                        OR n.phase = 'live' AND i.phase = 'live' AND n.live_rank
                           < array_position(%(live_order)s::text[], i.status))
                    THEN least(i.deadline_at, n.deadline_at)
               ELSE n.deadline_at END,
           worker_id = n.worker_id, empty_looks = n.empty_looks,
           undecided_since = n.undecided_since,
           updated_at = CASE WHEN n.is_undecided THEN i.updated_at ELSE %(now)s END
      FROM locked n
     WHERE i.id = n.id
       AND i.try = n.attempt
       AND i.phase = ANY (coalesce(n.from_phases, %(sent)s::text[]))
       AND (n.lease IS NULL OR i.lease = n.lease)
       AND (n.worker_id IS NULL OR i.worker_id = n.worker_id)
       AND (n.phase <> 'unknown' OR n.held_until IS NULL OR n.held_until = i.deadline_at)
       AND (n.live_rank IS NULL OR i.phase <> 'live' OR n.result IS NOT NULL
            OR array_position(%(live_order)s::text[], i.status)
               < n.live_rank + (n.lease IS NOT NULL)::int)
    RETURNING i.id, i.batch_id, i.team_id, i.provider_id, i.phase, i.due_at, n.is_first_news,
              n.entry, n.provider, n.reference, n.result, n.error_code, n.error_message
), released AS (
    DELETE FROM number_claims c USING settled s
     WHERE c.item_id = s.id AND s.phase NOT IN ('calling', 'unknown')
), noted AS (
    UPDATE item_data d
       SET attempts = CASE
               WHEN s.entry IS NULL THEN d.attempts
               WHEN d.provider_reference IS NOT NULL AND s.entry ->> 'reference' IS NULL
                    THEN d.attempts || jsonb_set(
                        s.entry, '{reference}', to_jsonb(d.provider_reference))
               ELSE d.attempts || s.entry END,
           provider = coalesce(s.provider, d.provider),
           provider_reference = CASE WHEN s.phase <> 'ready'
                THEN coalesce(s.reference, d.provider_reference) END,
           result = CASE WHEN s.is_first_news THEN s.result ELSE coalesce(s.result, d.result) END,
           error_code = CASE WHEN s.phase = 'ready' AND s.entry IS NULL AND s.error_code IS NULL
                THEN d.error_code ELSE s.error_code END,
           error_message = CASE WHEN s.phase = 'ready' AND s.entry IS NULL AND s.error_code IS NULL
                THEN d.error_message ELSE s.error_message END,
           ended_at = CASE WHEN s.phase = 'done' THEN %(now)s::timestamptz END
      FROM settled s
     WHERE d.item_id = s.id
       AND (s.entry IS NOT NULL OR s.reference IS NOT NULL OR s.result IS NOT NULL
            OR s.phase IN ('done', 'unknown')
            OR s.phase = 'ready' AND d.provider_reference IS NOT NULL
            OR s.phase = 'live' AND d.error_code IS NOT NULL
            OR s.is_first_news AND d.result IS NOT NULL
            OR s.error_code IS NOT NULL AND (s.error_code, s.error_message)
               IS DISTINCT FROM (d.error_code, d.error_message))
)
SELECT batch_id, team_id, provider_id, phase, min(due_at) AS due_at, array_agg(id) AS ids
  FROM settled
 GROUP BY batch_id, team_id, provider_id, phase
""".replace("{unanswered}", UNANSWERED)


async def settle(
    conn: Connection, settlements: Sequence[Settlement], *, now: datetime
) -> list[Settled]:
    """Write answers and hand-backs, at most one an item; return the rows they fitted, by kind."""
    rows = orjson.dumps(settlements, default=_plain)
    async with conn.cursor(binary=True, row_factory=args_row(Settled)) as cursor:
        await cursor.execute(
            SETTLE,
            {
                "rows": rows.decode(),
                "sent": list(SENT_PHASES),
                "live_order": list(LIVE_ORDER),
                "canceled": CANCELED_STATUS,
                "now": now,
            },
        )
        return await cursor.fetchall()


# In id order, as every writer of items.
LOCK = "SELECT id FROM items WHERE id = ANY (%(ids)s) ORDER BY id FOR UPDATE"

READ_RESULTS = f"""
SELECT d.item_id, {own_result("i.phase")}
  FROM item_data d JOIN items i ON i.id = d.item_id
 WHERE d.item_id = ANY (%(ids)s)
"""


async def lock(conn: Connection, ids: Collection[UUID]) -> None:
    """Let nobody else write to these items until the transaction ends."""
    await conn.execute(LOCK, {"ids": sorted(ids)})


async def read_results(
    conn: Connection, ids: Collection[UUID]
) -> dict[UUID, Mapping[str, object] | None]:
    """Read what is kept of the results of items; not what attempts before their keys left."""
    async with conn.cursor(row_factory=args_row(_of_result)) as cursor:
        await cursor.execute(READ_RESULTS, {"ids": list(ids)})
        return dict(await cursor.fetchall())


def _of_result(
    item_id: UUID, result: Mapping[str, object] | None
) -> tuple[UUID, Mapping[str, object] | None]:
    return item_id, result


def _plain(value: object) -> object:
    """Let orjson write mappings that are not dicts."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(type(value).__name__)

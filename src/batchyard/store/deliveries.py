"""Webhook deliveries on their way: claimed, told, put off, given up."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from psycopg.rows import class_row

from batchyard.store import endpoints, events
from batchyard.store.db import Connection


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """Something to be told to somebody, claimed by this worker."""

    id: UUID
    endpoint_id: int
    team_id: int
    url: str
    format: str
    type: str
    subject: UUID
    number: int
    attempts: int
    """How often it was tried, this time included."""
    created_at: datetime
    expires_at: datetime


# One step of the index for each endpoint that waits, however much waits for it. The rows of the
# endpoints are locked, so that two workers do not each fill the room of one; not FOR UPDATE, since
# whoever tells something holds its endpoint FOR KEY SHARE, by the foreign key, until its commit.
LOCK_ENDPOINTS = """
WITH RECURSIVE waiting (id) AS (
    (SELECT endpoint_id FROM webhook_deliveries
      WHERE ended_at IS NULL ORDER BY endpoint_id LIMIT 1)
    UNION ALL
    SELECT (SELECT d.endpoint_id FROM webhook_deliveries d
             WHERE d.ended_at IS NULL AND d.endpoint_id > w.id
             ORDER BY d.endpoint_id LIMIT 1)
      FROM waiting w WHERE w.id IS NOT NULL
)
SELECT e.id, e.failures,
       (SELECT count(*) FROM webhook_deliveries d
         WHERE d.endpoint_id = e.id AND d.ended_at IS NULL AND d.state = 'sending'
           AND d.due_at > %(now)s)
  FROM webhook_endpoints e
 WHERE e.id IN (SELECT id FROM waiting)
   AND e.removed_at IS NULL AND e.disabled_at IS NULL AND e.resume_at <= %(now)s
   AND EXISTS (SELECT FROM webhook_deliveries d
                WHERE d.endpoint_id = e.id AND d.ended_at IS NULL AND d.due_at <= %(now)s)
 ORDER BY e.tried_at, e.id
 LIMIT %(limit)s
   FOR NO KEY UPDATE OF e SKIP LOCKED
"""

# In order for each item: while an earlier one is on its way, or was tried a few times only, the
# later ones wait. Tries count from the claim, so the last of the few is told by its hold. Where not
# all endpoints could be served, only those have had their turn that got something: the others come
# first the next time. Where all could be, an endpoint with nothing to take makes room too.
CLAIM = """
WITH picked AS (
    SELECT p.id, e.id AS endpoint_id
      FROM unnest(%(endpoint_ids)s::bigint[], %(rooms)s::int[]) AS e (id, room)
     CROSS JOIN LATERAL (
           SELECT d.id FROM webhook_deliveries d
            WHERE d.endpoint_id = e.id AND d.ended_at IS NULL AND d.due_at <= %(now)s
              AND NOT EXISTS (
                  SELECT FROM webhook_deliveries s
                   WHERE s.endpoint_id = d.endpoint_id AND s.subject = d.subject
                     AND s.number < d.number AND s.ended_at IS NULL
                     AND (s.attempts < %(ordered_attempts)s
                          OR s.state = 'sending' AND s.due_at > %(now)s))
            ORDER BY d.due_at, d.number
            LIMIT e.room
              FOR UPDATE OF d SKIP LOCKED) AS p
     LIMIT %(limit)s
), tried AS (
    UPDATE webhook_endpoints SET tried_at = %(now)s
     WHERE id = ANY (%(endpoint_ids)s)
       AND (id IN (SELECT endpoint_id FROM picked)
            OR (SELECT count(*) FROM picked) < %(limit)s)
)
UPDATE webhook_deliveries d
   SET state = 'sending', attempts = d.attempts + 1, due_at = %(held_until)s
  FROM picked p, webhook_endpoints e
 WHERE d.id = p.id AND e.id = d.endpoint_id
RETURNING d.id, d.endpoint_id, d.team_id, e.url, e.format, d.type, d.subject, d.number,
          d.attempts, d.created_at, d.expires_at
"""

ENDPOINTS_AT_ONCE = 50
DISABLED_AFTER = timedelta(days=3)
"""An endpoint of a team to which nothing got through for so long is disabled, with a notice."""
DISABLED = "webhook.disabled"
DOUBTFUL_AFTER = 5
"""Failures in a row after which an endpoint gets one request at a time, and pauses."""
TELLING_ATTEMPTS = 4
"""Only so many tries of one delivery tell that an endpoint is still away: days may have been quiet
since the last one failed."""


async def claim(
    conn: Connection,
    *,
    limit: int,
    per_endpoint: int,
    ordered_attempts: int,
    hold: timedelta,
    now: datetime,
) -> list[Delivery]:
    """Take up to `limit` due deliveries, at most `per_endpoint` on their way to each endpoint."""
    cursor = await conn.execute(LOCK_ENDPOINTS, {"limit": ENDPOINTS_AT_ONCE, "now": now})
    rooms: dict[int, int] = {}
    for endpoint_id, failures, sending in await cursor.fetchall():
        room = 1 if int(str(failures)) >= DOUBTFUL_AFTER else per_endpoint
        rooms[int(str(endpoint_id))] = max(0, room - int(str(sending)))
    rooms = {endpoint_id: room for endpoint_id, room in rooms.items() if room}
    if not rooms:
        return []
    async with conn.cursor(row_factory=class_row(Delivery)) as claimer:
        await claimer.execute(
            CLAIM,
            {
                "endpoint_ids": list(rooms),
                "rooms": list(rooms.values()),
                "ordered_attempts": ordered_attempts,
                "limit": limit,
                "held_until": now + hold,
                "now": now,
            },
        )
        return await claimer.fetchall()


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of one try."""

    status: int | None
    error: str | None
    duration_ms: int


# Fenced: whoever was taken for dead, and overtaken, writes nothing.
END = """
UPDATE webhook_deliveries SET state = %(state)s, ended_at = %(now)s
 WHERE id = %(id)s AND state = 'sending' AND attempts = %(attempts)s
"""

PUT_OFF = """
UPDATE webhook_deliveries SET state = 'pending', due_at = %(due_at)s
 WHERE id = %(id)s AND state = 'sending' AND attempts = %(attempts)s
"""

# What comes after it waits with it, and goes at once when it has got through.
MOVE_FOLLOWERS = """
UPDATE webhook_deliveries SET due_at = %(due_at)s
 WHERE endpoint_id = %(endpoint_id)s AND subject = %(subject)s AND number > %(number)s
   AND ended_at IS NULL AND attempts = 0
"""

NOTE = """
INSERT INTO webhook_attempts (delivery_id, at, duration_ms, status, error)
VALUES (%(id)s, %(now)s, %(duration_ms)s, %(status)s, %(error)s)
"""

NOTE_SUCCESS = """
UPDATE webhook_endpoints SET failures = 0, failing_since = NULL, resume_at = '-infinity'
 WHERE id = %(endpoint_id)s AND failures > 0
"""

NOTE_FAILURE = """
UPDATE webhook_endpoints
   SET failures = failures + 1,
       failing_since = coalesce(failing_since, %(now)s),
       resume_at = CASE WHEN failures + 1 >= %(doubtful_after)s
           THEN %(now)s::timestamptz + least(interval '15 minutes',
                interval '2 seconds' * 2 ^ least(failures + 1 - %(doubtful_after)s, 10))
           ELSE resume_at END
 WHERE id = %(endpoint_id)s
"""


async def end(
    conn: Connection, delivery: Delivery, *, state: str, outcome: Outcome, now: datetime
) -> None:
    """Write that a delivery got through, is given up, or is dropped."""
    ended = await conn.execute(
        END, {"id": delivery.id, "state": state, "attempts": delivery.attempts, "now": now}
    )
    if ended.rowcount != 1:
        return
    await _note(conn, delivery, outcome=outcome, now=now)
    await _move_followers(conn, delivery, due_at=now)
    if state == "delivered":
        await conn.execute(NOTE_SUCCESS, {"endpoint_id": delivery.endpoint_id})
    elif state == "failed":
        await _note_failure(conn, delivery, is_telling=True, now=now)


async def put_off(
    conn: Connection,
    delivery: Delivery,
    *,
    due_at: datetime,
    followers_due_at: datetime,
    outcome: Outcome,
    now: datetime,
) -> None:
    """Write that a try failed, and when the next one is due, and what comes after it."""
    put_off_ = await conn.execute(
        PUT_OFF, {"id": delivery.id, "attempts": delivery.attempts, "due_at": due_at}
    )
    if put_off_.rowcount != 1:
        return
    await _note(conn, delivery, outcome=outcome, now=now)
    await _move_followers(conn, delivery, due_at=followers_due_at)
    is_telling = delivery.attempts >= TELLING_ATTEMPTS
    await _note_failure(conn, delivery, is_telling=is_telling, now=now)


EXPIRE = """
UPDATE webhook_deliveries SET state = 'failed', ended_at = %(now)s
 WHERE id IN (SELECT id FROM webhook_deliveries
               WHERE ended_at IS NULL AND expires_at < %(before)s AND due_at <= %(now)s
               LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
"""

# The next number of an item, or of a batch, is the highest in the log and one: so the log stays as
# long as more may be told of it. An outcome may stay unknown for ever: of what was told of it only
# the number stays. Nor does a batch hold what was told of its items: while a large one goes on, all
# of that would be looked at each time.
NOTHING_FOLLOWS = """
       NOT EXISTS (SELECT FROM batches b WHERE d.item_id IS NULL AND b.id = d.batch_id
                      AND b.state NOT IN ('completed', 'failed', 'stopped', 'cancelled'))
   AND NOT EXISTS (SELECT FROM items i WHERE i.id = d.item_id AND i.phase <> 'done'
                      AND (i.phase <> 'unknown' OR d.data = '{}'))
""".strip()

IS_UNKNOWN = "EXISTS (SELECT FROM items i WHERE i.id = d.item_id AND i.phase = 'unknown')"

# For rows that are chosen, and locked, as `old`.
LET_GO = """
emptied AS (
    UPDATE webhook_deliveries d SET data = '{}' FROM old o WHERE d.id = o.id AND o.is_unknown
), deleted AS (
    DELETE FROM webhook_deliveries d USING old o WHERE d.id = o.id AND NOT o.is_unknown
)
SELECT id FROM old
""".strip()

FORGET = f"""
WITH old AS MATERIALIZED (
    SELECT d.id, {IS_UNKNOWN} AS is_unknown
      FROM webhook_deliveries d
     WHERE d.ended_at < %(before)s
       AND {NOTHING_FOLLOWS}
     ORDER BY d.ended_at
     LIMIT %(limit)s
       FOR UPDATE OF d SKIP LOCKED
), {LET_GO}
"""


async def expire(conn: Connection, *, before: datetime, limit: int, now: datetime) -> int:
    """Give up what waits for an endpoint that did not come back; return how many."""
    cursor = await conn.execute(EXPIRE, {"before": before, "limit": limit, "now": now})
    return cursor.rowcount


async def forget(conn: Connection, *, before: datetime, limit: int) -> int:
    """Forget what was told before a time, where nothing follows; return how many."""
    return (await conn.execute(FORGET, {"before": before, "limit": limit})).rowcount


async def _note(conn: Connection, delivery: Delivery, *, outcome: Outcome, now: datetime) -> None:
    await conn.execute(
        NOTE,
        {
            "id": delivery.id,
            "now": now,
            "duration_ms": outcome.duration_ms,
            "status": outcome.status,
            "error": outcome.error,
        },
    )


async def _move_followers(conn: Connection, delivery: Delivery, *, due_at: datetime) -> None:
    await conn.execute(
        MOVE_FOLLOWERS,
        {
            "endpoint_id": delivery.endpoint_id,
            "subject": delivery.subject,
            "number": delivery.number,
            "due_at": due_at,
        },
    )


async def _note_failure(
    conn: Connection, delivery: Delivery, *, is_telling: bool, now: datetime
) -> None:
    await conn.execute(
        NOTE_FAILURE,
        {
            "endpoint_id": delivery.endpoint_id,
            "doubtful_after": DOUBTFUL_AFTER,
            "now": now,
        },
    )
    if not is_telling:
        return
    given_up = await endpoints.disable_failing(
        conn, endpoint_id=delivery.endpoint_id, before=now - DISABLED_AFTER, now=now
    )
    if given_up is not None:
        team_id, endpoint_id = given_up
        data = {"endpoint_id": str(endpoint_id), "failing_for_days": DISABLED_AFTER.days}
        await events.write(conn, team_id=team_id, type_=DISABLED, data=data, now=now)

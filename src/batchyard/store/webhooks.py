"""Webhooks as people handle them: who listens, the secret of a team, the log of deliveries."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from psycopg.rows import class_row

from batchyard.store.db import Connection

PUT_OF_AGENT = """
INSERT INTO webhook_endpoints (team_id, url, format, agent_id, created_at)
VALUES (%(team_id)s, %(url)s, %(format)s, %(agent_id)s, %(now)s)
ON CONFLICT (agent_id) DO UPDATE
   SET url = excluded.url, format = excluded.format, removed_at = NULL,
       failures = 0, resume_at = '-infinity'
"""


async def put_of_agent(
    conn: Connection, *, team_id: int, agent_id: UUID, url: str, format_: str, now: datetime
) -> None:
    """Let an address listen to all items of an agent; what waits goes there too."""
    await conn.execute(
        PUT_OF_AGENT,
        {
            "team_id": team_id,
            "agent_id": agent_id,
            "url": url,
            "format": format_,
            "now": now,
        },
    )


REMOVE_OF_AGENT = """
WITH removed AS (
    UPDATE webhook_endpoints SET removed_at = %(now)s
     WHERE agent_id = %(agent_id)s AND removed_at IS NULL
    RETURNING id
)
UPDATE webhook_deliveries d SET state = 'dropped', ended_at = %(now)s
  FROM removed r
 WHERE d.endpoint_id = r.id AND d.ended_at IS NULL
"""


async def remove_of_agent(conn: Connection, *, agent_id: UUID, now: datetime) -> None:
    """Let nobody listen to an agent any more; what waits is dropped."""
    await conn.execute(REMOVE_OF_AGENT, {"agent_id": agent_id, "now": now})


ADD_OF_BATCH = """
INSERT INTO webhook_endpoints (team_id, url, format, batch_id, created_at)
VALUES (%(team_id)s, %(url)s, %(format)s, %(batch_id)s, %(now)s)
"""


async def add_of_batch(
    conn: Connection, *, team_id: int, batch_id: UUID, url: str, format_: str, now: datetime
) -> None:
    """Let an address listen to the start and the end of a batch."""
    await conn.execute(
        ADD_OF_BATCH,
        {
            "team_id": team_id,
            "batch_id": batch_id,
            "url": url,
            "format": format_,
            "now": now,
        },
    )


SECRETS = """
SELECT secret FROM webhook_secrets
 WHERE team_id = %(team_id)s AND (retired_at IS NULL OR retired_at > %(now)s)
 ORDER BY id DESC
"""

# The team's row is locked, so that two workers do not each make a first secret.
LOCK_TEAM = "SELECT FROM teams WHERE id = %(team_id)s FOR NO KEY UPDATE"

INSERT_FRESH = """
INSERT INTO webhook_secrets (team_id, secret, created_at)
VALUES (%(team_id)s, %(secret)s, %(now)s)
"""


async def list_secrets(conn: Connection, *, team_id: int, now: datetime) -> list[bytes]:
    """Return the secrets a team's webhooks are signed with, the newest first."""
    cursor = await conn.execute(SECRETS, {"team_id": team_id, "now": now})
    return [row[0] for row in await cursor.fetchall() if isinstance(row[0], bytes)]


async def ensure_secrets(
    conn: Connection, *, team_id: int, fresh: bytes, now: datetime
) -> list[bytes]:
    """Return the team's secrets; `fresh` becomes the first where there is none."""
    await conn.execute(LOCK_TEAM, {"team_id": team_id})
    if known := await list_secrets(conn, team_id=team_id, now=now):
        return known
    await conn.execute(INSERT_FRESH, {"team_id": team_id, "secret": fresh, "now": now})
    return [fresh]


@dataclass(frozen=True, kw_only=True, slots=True)
class LogEntry:
    """One delivery as the log shows it."""

    id: UUID
    type: str
    endpoint_id: UUID
    url: str
    batch_id: UUID
    item_id: UUID | None
    number: int
    state: str
    attempts: int
    created_at: datetime
    due_at: datetime
    ended_at: datetime | None
    last_status: int | None
    last_error: str | None


LIST_LOG = """
SELECT d.id, d.type, e.uuid AS endpoint_id, e.url, d.batch_id, d.item_id, d.number, d.state,
       d.attempts, d.created_at, d.due_at, d.ended_at,
       a.status AS last_status, a.error AS last_error
  FROM webhook_deliveries d
  JOIN webhook_endpoints e ON e.id = d.endpoint_id
  LEFT JOIN LATERAL (
       SELECT status, error FROM webhook_attempts
        WHERE delivery_id = d.id ORDER BY id DESC LIMIT 1) AS a ON true
 WHERE d.team_id = %(team_id)s
   AND (%(state)s::text IS NULL OR d.state = %(state)s)
   AND (%(batch_id)s::uuid IS NULL OR d.batch_id = %(batch_id)s)
   AND (%(endpoint_id)s::uuid IS NULL OR e.uuid = %(endpoint_id)s)
   AND (%(after_at)s::timestamptz IS NULL
        OR (d.created_at, d.number, d.id) < (%(after_at)s, %(after_number)s, %(after_id)s))
 ORDER BY d.created_at DESC, d.number DESC, d.id DESC
 LIMIT %(limit)s
"""


async def list_log(
    conn: Connection,
    *,
    team_id: int,
    state: str | None,
    batch_id: UUID | None,
    endpoint_id: UUID | None = None,
    after: tuple[datetime, int, UUID] | None = None,
    limit: int,
) -> list[LogEntry]:
    """List a team's deliveries, the newest first; those behind `after` in that order."""
    after_at, after_number, after_id = after or (None, None, None)
    async with conn.cursor(row_factory=class_row(LogEntry)) as cursor:
        await cursor.execute(
            LIST_LOG,
            {
                "team_id": team_id,
                "state": state,
                "batch_id": batch_id,
                "endpoint_id": endpoint_id,
                "after_at": after_at,
                "after_number": after_number,
                "after_id": after_id,
                "limit": limit,
            },
            # Planned for what is asked: a plan for anything has no use for an index by state.
            prepare=False,
        )
        return await cursor.fetchall()


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One try to deliver."""

    at: datetime
    duration_ms: int
    status: int | None
    error: str | None


LIST_ATTEMPTS = """
SELECT a.at, a.duration_ms, a.status, a.error
  FROM webhook_attempts a JOIN webhook_deliveries d ON d.id = a.delivery_id
 WHERE d.id = %(id)s AND d.team_id = %(team_id)s
 ORDER BY a.id
"""


async def list_attempts(conn: Connection, *, team_id: int, delivery_id: UUID) -> list[Attempt]:
    """List every try of one delivery."""
    async with conn.cursor(row_factory=class_row(Attempt)) as cursor:
        await cursor.execute(LIST_ATTEMPTS, {"team_id": team_id, "id": delivery_id})
        return await cursor.fetchall()


READ_STATE = """
SELECT state FROM webhook_deliveries WHERE id = %(id)s AND team_id = %(team_id)s
"""


async def read_state(conn: Connection, *, team_id: int, delivery_id: UUID) -> str | None:
    """Return the state of a delivery."""
    row = await (await conn.execute(READ_STATE, {"id": delivery_id, "team_id": team_id})).fetchone()
    return None if row is None else str(row[0])


# What a delivery said may be kept no longer; a test, whose subject is its endpoint, says nothing.
REDELIVER = """
UPDATE webhook_deliveries d
   SET state = 'pending', attempts = 0, due_at = %(now)s, ended_at = NULL,
       expires_at = %(now)s::timestamptz + %(window)s
  FROM webhook_endpoints e
 WHERE e.id = d.endpoint_id AND e.removed_at IS NULL
   AND d.team_id = %(team_id)s AND d.state IN ('delivered', 'failed', 'pending')
   AND (%(ids)s::uuid[] IS NULL OR d.id = ANY (%(ids)s))
   AND (%(ids)s::uuid[] IS NOT NULL OR d.state = 'failed')
   AND (d.data <> '{}' OR d.subject = e.uuid)
"""


async def redeliver(
    conn: Connection,
    *,
    team_id: int,
    delivery_ids: Sequence[UUID] | None,
    window: timedelta,
    now: datetime,
) -> int:
    """Send these once more, or all that were given up, each under its old id; return how many."""
    cursor = await conn.execute(
        REDELIVER,
        {
            "team_id": team_id,
            "ids": None if delivery_ids is None else list(delivery_ids),
            "window": window,
            "now": now,
        },
    )
    return cursor.rowcount

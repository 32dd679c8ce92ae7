"""Webhook endpoints of a whole team: what they want, whether they work, their secrets."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from psycopg.rows import class_row

from batchyard.store.db import Connection


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """An address that listens to a team."""

    id: UUID
    url: str
    description: str | None
    events: list[str] | None
    """Types it wants; None is all."""
    failures: int
    failing_since: datetime | None
    disabled_at: datetime | None
    created_at: datetime


SHOWN = "uuid AS id, url, description, events, failures, failing_since, disabled_at, created_at"

INSERT = f"""
INSERT INTO webhook_endpoints (team_id, url, format, is_of_team, description, events, created_at)
VALUES (%(team_id)s, %(url)s, %(format)s, true, %(description)s, %(events)s, %(now)s)
RETURNING {SHOWN}
"""


async def insert(
    conn: Connection,
    *,
    team_id: int,
    url: str,
    format_: str,
    description: str | None,
    events: Sequence[str] | None,
    now: datetime,
) -> Endpoint | None:
    """Let an address listen to a team."""
    async with conn.cursor(row_factory=class_row(Endpoint)) as cursor:
        await cursor.execute(
            INSERT,
            {
                "team_id": team_id,
                "url": url,
                "format": format_,
                "description": description,
                "events": None if events is None else list(events),
                "now": now,
            },
        )
        return await cursor.fetchone()


COUNT = """
SELECT count(*) FROM webhook_endpoints
 WHERE team_id = %(team_id)s AND is_of_team AND removed_at IS NULL
"""


async def count(conn: Connection, *, team_id: int) -> int:
    """Return how many addresses listen to a team."""
    row = await (await conn.execute(COUNT, {"team_id": team_id})).fetchone()
    return int(str(row[0])) if row else 0


LIST = f"""
SELECT {SHOWN} FROM webhook_endpoints
 WHERE team_id = %(team_id)s AND is_of_team AND removed_at IS NULL
   AND (%(id)s::uuid IS NULL OR uuid = %(id)s)
 ORDER BY webhook_endpoints.id
"""


async def list_all(
    conn: Connection, *, team_id: int, endpoint_id: UUID | None = None
) -> list[Endpoint]:
    """List the addresses that listen to a team, or the one with this id."""
    async with conn.cursor(row_factory=class_row(Endpoint)) as cursor:
        await cursor.execute(LIST, {"team_id": team_id, "id": endpoint_id})
        return await cursor.fetchall()


# Not FOR UPDATE, which would wait for whoever tells it something, by the foreign key.
LOCK = f"""
SELECT {SHOWN} FROM webhook_endpoints
 WHERE team_id = %(team_id)s AND uuid = %(id)s AND is_of_team AND removed_at IS NULL
   FOR NO KEY UPDATE
"""


async def lock(conn: Connection, *, team_id: int, endpoint_id: UUID) -> Endpoint | None:
    """Lock an address that listens to a team until the end of the transaction, and return it."""
    async with conn.cursor(row_factory=class_row(Endpoint)) as cursor:
        await cursor.execute(LOCK, {"team_id": team_id, "id": endpoint_id})
        return await cursor.fetchone()


# Enabled again, it starts anew: what failed before is not held against it.
WRITE = f"""
UPDATE webhook_endpoints
   SET url = %(url)s, description = %(description)s, events = %(events)s,
       disabled_at = CASE WHEN %(is_disabled)s THEN coalesce(disabled_at, %(now)s) END,
       failures = CASE WHEN url <> %(url)s OR (disabled_at IS NOT NULL AND NOT %(is_disabled)s)
                       THEN 0 ELSE failures END,
       failing_since = CASE WHEN url <> %(url)s
                              OR (disabled_at IS NOT NULL AND NOT %(is_disabled)s)
                            THEN NULL ELSE failing_since END,
       resume_at = CASE WHEN url <> %(url)s OR (disabled_at IS NOT NULL AND NOT %(is_disabled)s)
                        THEN '-infinity' ELSE resume_at END
 WHERE uuid = %(id)s AND team_id = %(team_id)s AND is_of_team AND removed_at IS NULL
RETURNING {SHOWN}
"""


async def write(
    conn: Connection,
    *,
    team_id: int,
    endpoint_id: UUID,
    url: str,
    description: str | None,
    events: Sequence[str] | None,
    is_disabled: bool,
    now: datetime,
) -> Endpoint | None:
    """Change an endpoint; what waits goes to its new address."""
    async with conn.cursor(row_factory=class_row(Endpoint)) as cursor:
        await cursor.execute(
            WRITE,
            {
                "team_id": team_id,
                "id": endpoint_id,
                "url": url,
                "description": description,
                "events": None if events is None else list(events),
                "is_disabled": is_disabled,
                "now": now,
            },
        )
        return await cursor.fetchone()


REMOVE = """
WITH removed AS (
    UPDATE webhook_endpoints SET removed_at = %(now)s
     WHERE uuid = %(id)s AND team_id = %(team_id)s AND is_of_team AND removed_at IS NULL
    RETURNING id
), dropped AS (
    UPDATE webhook_deliveries d SET state = 'dropped', ended_at = %(now)s
      FROM removed r
     WHERE d.endpoint_id = r.id AND d.ended_at IS NULL
)
SELECT count(*) FROM removed
"""


async def remove(conn: Connection, *, team_id: int, endpoint_id: UUID, now: datetime) -> bool:
    """Let an address listen no more; what waits is dropped. False where there is none."""
    row = await (
        await conn.execute(REMOVE, {"team_id": team_id, "id": endpoint_id, "now": now})
    ).fetchone()
    return bool(row and row[0])


# Its subject is the endpoint itself: a test is about nothing else, and waits for nothing.
ADD_TEST = """
INSERT INTO webhook_deliveries
       (endpoint_id, team_id, batch_id, number, type, data, due_at, expires_at, created_at)
SELECT e.id, e.team_id, e.uuid,
       1 + coalesce((SELECT max(t.number) FROM webhook_deliveries t
                      WHERE t.endpoint_id = e.id AND t.subject = e.uuid), 0),
       %(type)s, '{}', %(now)s, %(now)s::timestamptz + %(window)s, %(now)s
  FROM webhook_endpoints e
 WHERE e.uuid = %(id)s AND e.team_id = %(team_id)s AND e.is_of_team AND e.removed_at IS NULL
   AND e.disabled_at IS NULL
RETURNING id
"""


async def add_test(
    conn: Connection,
    *,
    team_id: int,
    endpoint_id: UUID,
    type_: str,
    window: timedelta,
    now: datetime,
) -> UUID | None:
    """Tell an endpoint something that did not happen; return the id of the delivery."""
    cursor = await conn.execute(
        ADD_TEST,
        {"team_id": team_id, "id": endpoint_id, "type": type_, "window": window, "now": now},
    )
    row = await cursor.fetchone()
    return UUID(str(row[0])) if row else None


# Both sign until the old ones retire, so receivers can change over in their own time.
ROTATE = """
WITH retiring AS (
    UPDATE webhook_secrets SET retired_at = %(retired_at)s
     WHERE team_id = %(team_id)s AND retired_at IS NULL
)
INSERT INTO webhook_secrets (team_id, secret, created_at)
VALUES (%(team_id)s, %(secret)s, %(now)s)
"""


async def rotate_secret(
    conn: Connection, *, team_id: int, fresh: bytes, retired_at: datetime, now: datetime
) -> None:
    """Sign with a new secret too, and with the old ones until `retired_at`."""
    await conn.execute(
        ROTATE, {"team_id": team_id, "secret": fresh, "retired_at": retired_at, "now": now}
    )


DISABLE = """
UPDATE webhook_endpoints SET disabled_at = %(now)s
 WHERE id = %(id)s AND is_of_team AND disabled_at IS NULL AND failing_since < %(before)s
RETURNING team_id, uuid
"""


async def disable_failing(
    conn: Connection, *, endpoint_id: int, before: datetime, now: datetime
) -> tuple[int, UUID] | None:
    """Give an endpoint up that has failed since then; return its team and id if it was given up."""
    cursor = await conn.execute(DISABLE, {"id": endpoint_id, "before": before, "now": now})
    row = await cursor.fetchone()
    return (int(str(row[0])), UUID(str(row[1]))) if row else None

"""The audit log: who changed what. Rows are only ever added."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from batchyard.store.db import Connection

WRITE = """
INSERT INTO audit_log (team_id, actor, action, subject, source, before, after, at)
VALUES (%(team_id)s, %(actor)s, %(action)s, %(subject)s, %(source)s, %(before)s, %(after)s, %(now)s)
"""


async def write(
    conn: Connection,
    *,
    team_id: int,
    actor: str,
    action: str,
    subject: str | None = None,
    source: str | None = None,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
    now: datetime,
) -> None:
    """Note a change, in the transaction that makes it."""
    await conn.execute(
        WRITE,
        {
            "team_id": team_id,
            "actor": actor,
            "action": action,
            "subject": subject,
            "source": source,
            "before": None if before is None else Jsonb(dict(before)),
            "after": None if after is None else Jsonb(dict(after)),
            "now": now,
        },
    )


# The log names people by their id and tokens with theirs; people read names. To be filled in with
# the actor and its team; null where there is no such name.
NAME_OF_ACTOR = """
nullif(CASE WHEN {actor} LIKE 'user %%'
            THEN (SELECT u.name FROM users u
                   WHERE u.team_id = {team_id} AND 'user ' || u.id = {actor})
            ELSE regexp_replace({actor}, '^token (.*) \\(\\d+\\)$', '\\1') END, '')
""".strip()


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One change."""

    id: int
    actor: str
    action: str
    subject: str | None
    source: str | None
    before: Mapping[str, object] | None
    after: Mapping[str, object] | None
    at: datetime


LIST = """
SELECT id, actor, action, subject, source, before, after, at
  FROM audit_log
 WHERE team_id = %(team_id)s AND (%(before_id)s::bigint IS NULL OR id < %(before_id)s)
 ORDER BY id DESC LIMIT %(limit)s
"""


async def list_entries(
    conn: Connection, *, team_id: int, before_id: int | None, limit: int
) -> list[Entry]:
    """List the changes of a team, the newest first."""
    async with conn.cursor(row_factory=class_row(Entry)) as cursor:
        await cursor.execute(LIST, {"team_id": team_id, "before_id": before_id, "limit": limit})
        return await cursor.fetchall()


# A provider is an account that belongs to no team. The team `default` is that of whoever runs the
# installation.
LIST_CONCERNED = """
SELECT t.id FROM teams t
 WHERE t.slug = 'default'
    OR EXISTS (SELECT FROM routes r JOIN providers p ON p.id = r.provider_id
                WHERE r.team_id = t.id AND p.name = %(provider)s AND p.removed_at IS NULL)
 ORDER BY t.id
"""


async def list_concerned(conn: Connection, *, provider: str) -> list[int]:
    """List the teams whose logs tell of a provider: those led to it, and the first of all."""
    cursor = await conn.execute(LIST_CONCERNED, {"provider": provider})
    return [int(str(row[0])) for row in await cursor.fetchall()]

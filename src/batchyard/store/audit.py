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

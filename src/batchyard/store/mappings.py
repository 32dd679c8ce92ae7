"""What the columns of a team's files mean, under names."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from batchyard.models import Kind
from batchyard.store.db import Connection
from batchyard.store.ids import new_id


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedMapping:
    """A mapping under its name."""

    id: UUID
    kind: str
    name: str
    mapping: Mapping[str, str | None]
    created_at: datetime
    updated_at: datetime


SAVE = """
INSERT INTO mappings AS m
       (id, team_id, kind, name, mapping, header_hash, created_at, updated_at)
VALUES (%(id)s, %(team_id)s, %(kind)s, %(name)s, %(mapping)s, %(header_hash)s, %(now)s, %(now)s)
ON CONFLICT (team_id, kind, name) DO UPDATE
   SET mapping = excluded.mapping, updated_at = excluded.updated_at,
       header_hash = coalesce(excluded.header_hash, m.header_hash)
"""


async def save(
    conn: Connection,
    *,
    team_id: int,
    kind: Kind,
    name: str,
    mapping: Mapping[str, str | None],
    header_hash: bytes | None,
    now: datetime,
) -> None:
    """Write a mapping; replaces the one of the same name."""
    await conn.execute(
        SAVE,
        {
            "id": new_id(),
            "team_id": team_id,
            "kind": kind,
            "name": name,
            "mapping": Jsonb(dict(mapping)),
            "header_hash": header_hash,
            "now": now,
        },
    )


LIST = """
SELECT id, kind, name, mapping, created_at, updated_at FROM mappings
 WHERE team_id = %(team_id)s AND (%(kind)s::text IS NULL OR kind = %(kind)s)
   AND (%(name)s::text IS NULL OR name = %(name)s)
 ORDER BY kind, name
"""


async def list_all(
    conn: Connection, *, team_id: int, kind: Kind | None = None, name: str | None = None
) -> list[SavedMapping]:
    """List a team's mappings, of one kind or name if that is given."""
    async with conn.cursor(row_factory=class_row(SavedMapping)) as cursor:
        await cursor.execute(LIST, {"team_id": team_id, "kind": kind, "name": name})
        return await cursor.fetchall()


DELETE = "DELETE FROM mappings WHERE team_id = %(team_id)s AND kind = %(kind)s AND name = %(name)s"


async def delete(conn: Connection, *, team_id: int, kind: Kind, name: str) -> bool:
    """Delete a mapping; return whether there was one."""
    cursor = await conn.execute(DELETE, {"team_id": team_id, "kind": kind, "name": name})
    return cursor.rowcount == 1


FIND_BY_HEADER = """
SELECT name FROM mappings
 WHERE team_id = %(team_id)s AND kind = %(kind)s AND header_hash = %(header_hash)s
 ORDER BY updated_at DESC
 LIMIT 1
"""


async def find_by_header(
    conn: Connection, *, team_id: int, kind: Kind, header_hash: bytes
) -> str | None:
    """Return the name of the mapping last saved for a header."""
    cursor = await conn.execute(
        FIND_BY_HEADER, {"team_id": team_id, "kind": kind, "header_hash": header_hash}
    )
    row = await cursor.fetchone()
    return None if row is None else str(row[0])

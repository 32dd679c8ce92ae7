"""Rows of `tokens`; only hashes are kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row

from batchyard.models import Principal, Team
from batchyard.store.db import Connection

INSERT = """
INSERT INTO tokens (team_id, name, hash, bolna_version, scopes, expires_at, created_at)
VALUES (%(team_id)s, %(name)s, %(hash)s, %(bolna_version)s, %(scopes)s, %(expires_at)s, %(now)s)
ON CONFLICT (hash) DO NOTHING
"""


async def insert(
    connection: Connection,
    *,
    team_id: int,
    name: str,
    token_hash: bytes,
    bolna_version: str | None,
    scopes: Sequence[str],
    expires_at: datetime | None = None,
    now: datetime,
) -> bool:
    """Write a token; return False when this hash is there already."""
    cursor = await connection.execute(
        INSERT,
        {
            "team_id": team_id,
            "name": name,
            "hash": token_hash,
            "bolna_version": bolna_version,
            "scopes": list(scopes),
            "expires_at": expires_at,
            "now": now,
        },
    )
    return cursor.rowcount == 1


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenOwner:
    """Whose a token is, also when it is revoked."""

    team_id: int
    revoked_at: datetime | None


SELECT_OWNER = """
SELECT team_id, revoked_at FROM tokens WHERE hash = %(hash)s
"""


async def find_owner(connection: Connection, *, token_hash: bytes) -> TokenOwner | None:
    """Return whose token this is."""
    async with connection.cursor(row_factory=class_row(TokenOwner)) as cursor:
        await cursor.execute(SELECT_OWNER, {"hash": token_hash})
        return await cursor.fetchone()


# Asked for every request: no row factory, no second table of names.
SELECT_PRINCIPAL = """
SELECT t.id, t.uuid, t.slug, t.name, t.locale, t.timezone, t.created_at, t.weight,
       k.id, k.bolna_version, k.name, k.scopes,
       k.last_used_at IS NULL OR k.last_used_at < %(now)s::timestamptz - interval '1 minute'
  FROM tokens k
  JOIN teams t ON t.id = k.team_id
 WHERE k.hash = %(hash)s AND k.revoked_at IS NULL
   AND (k.expires_at IS NULL OR k.expires_at > %(now)s)
"""

HOLDS = """
(%(token_hash)s::bytea IS NULL OR EXISTS (
    SELECT FROM tokens k
     WHERE k.hash = %(token_hash)s AND k.team_id = %(team_id)s AND k.revoked_at IS NULL
       AND (k.expires_at IS NULL OR k.expires_at > %(now)s)
       AND k.last_used_at >= %(now)s::timestamptz - interval '1 minute'))
"""
"""A condition for statements that read for who is remembered: it holds while the whole question
would have the same answer, and nothing to note."""

# At most once a minute, so that a busy token writes little.
NOTE_USE = "UPDATE tokens SET last_used_at = %(now)s WHERE id = %(id)s"


async def find_principal(
    connection: Connection, *, token_hash: bytes, now: datetime
) -> Principal | None:
    """Return who speaks by this token, or None when it is unknown, revoked or expired."""
    cursor = await connection.execute(SELECT_PRINCIPAL, {"hash": token_hash, "now": now})
    row: Any = await cursor.fetchone()
    if row is None:
        return None
    if row[12]:
        await connection.execute(NOTE_USE, {"id": row[8], "now": now})
    team = Team(
        id=row[0],
        uuid=row[1],
        slug=row[2],
        name=row[3],
        locale=row[4],
        timezone=row[5],
        created_at=row[6],
        weight=row[7],
    )
    return Principal(
        team=team,
        token_id=row[8],
        bolna_version=row[9],
        name=row[10],
        scopes=frozenset(row[11]),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenRow:
    """A token as people see it: never its text."""

    id: int
    name: str
    scopes: Sequence[str]
    bolna_version: str | None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


LIST = """
SELECT id, name, scopes, bolna_version, created_at, expires_at, last_used_at, revoked_at
  FROM tokens WHERE team_id = %(team_id)s ORDER BY id DESC
"""


async def list_of_team(connection: Connection, *, team_id: int) -> list[TokenRow]:
    """List the tokens of a team, the newest first."""
    async with connection.cursor(row_factory=class_row(TokenRow)) as cursor:
        await cursor.execute(LIST, {"team_id": team_id})
        return await cursor.fetchall()


REVOKE = """
UPDATE tokens SET revoked_at = %(now)s
 WHERE id = %(token_id)s AND team_id = %(team_id)s AND revoked_at IS NULL
"""


async def revoke(connection: Connection, *, team_id: int, token_id: int, now: datetime) -> bool:
    """Revoke a token; False when the team has no such token in use."""
    cursor = await connection.execute(
        REVOKE, {"token_id": token_id, "team_id": team_id, "now": now}
    )
    return cursor.rowcount == 1

"""Rows of `tokens`; only hashes are kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row, dict_row

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


# Notes the use in the same round trip, at most once a minute, so that a busy token writes little.
SELECT_PRINCIPAL = """
WITH used AS (
    UPDATE tokens SET last_used_at = %(now)s
     WHERE hash = %(hash)s AND revoked_at IS NULL
       AND (last_used_at IS NULL OR last_used_at < %(now)s::timestamptz - interval '1 minute')
)
SELECT tokens.id AS token_id, tokens.bolna_version, tokens.name AS token_name, tokens.scopes,
       teams.id, teams.uuid, teams.slug, teams.name, teams.locale, teams.timezone,
       teams.created_at, teams.weight
  FROM tokens
  JOIN teams ON teams.id = tokens.team_id
 WHERE tokens.hash = %(hash)s AND tokens.revoked_at IS NULL
   AND (tokens.expires_at IS NULL OR tokens.expires_at > %(now)s)
"""

OWN_COLUMNS = ("token_id", "bolna_version", "token_name", "scopes")


async def find_principal(
    connection: Connection, *, token_hash: bytes, now: datetime
) -> Principal | None:
    """Return who speaks by this token, or None when it is unknown, revoked or expired."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(SELECT_PRINCIPAL, {"hash": token_hash, "now": now})
        row = await cursor.fetchone()
    return None if row is None else _principal(row)


def _principal(row: Mapping[str, object]) -> Principal:
    team = {key: value for key, value in row.items() if key not in OWN_COLUMNS}
    return Principal(
        team=Team(**team),  # type: ignore[arg-type]  # the columns of SELECT_PRINCIPAL
        token_id=row["token_id"],  # type: ignore[arg-type]  # bigint
        bolna_version=row["bolna_version"],  # type: ignore[arg-type]  # text or null
        name=str(row["token_name"]),
        scopes=frozenset(row["scopes"]),  # type: ignore[call-overload]  # text[]
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

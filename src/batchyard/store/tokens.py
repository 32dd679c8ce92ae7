"""Rows of `tokens`; only hashes are kept."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row, dict_row

from batchyard.models import Principal, Team
from batchyard.store.db import Connection

INSERT = """
INSERT INTO tokens (team_id, name, hash, bolna_version, created_at)
VALUES (%(team_id)s, %(name)s, %(hash)s, %(bolna_version)s, %(now)s)
ON CONFLICT (hash) DO NOTHING
"""


async def insert(
    connection: Connection,
    *,
    team_id: int,
    name: str,
    token_hash: bytes,
    bolna_version: str | None,
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


SELECT_PRINCIPAL = """
SELECT tokens.id AS token_id, tokens.bolna_version,
       teams.id, teams.uuid, teams.slug, teams.name, teams.locale, teams.timezone,
       teams.created_at
  FROM tokens
  JOIN teams ON teams.id = tokens.team_id
 WHERE tokens.hash = %(hash)s AND tokens.revoked_at IS NULL
"""


async def find_principal(connection: Connection, *, token_hash: bytes) -> Principal | None:
    """Return who speaks by this token, or None when it is unknown or revoked."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(SELECT_PRINCIPAL, {"hash": token_hash})
        row = await cursor.fetchone()
    return None if row is None else _principal(row)


def _principal(row: Mapping[str, object]) -> Principal:
    team = {key: value for key, value in row.items() if key not in ("token_id", "bolna_version")}
    return Principal(
        team=Team(**team),  # type: ignore[arg-type]  # the columns of SELECT_PRINCIPAL
        token_id=row["token_id"],  # type: ignore[arg-type]  # bigint
        bolna_version=row["bolna_version"],  # type: ignore[arg-type]  # text or null
    )

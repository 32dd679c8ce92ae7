"""Rows of `users`: people who sign in."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row

from batchyard.store.db import Connection


@dataclass(frozen=True, kw_only=True, slots=True)
class User:
    """A person of a team."""

    id: UUID
    team_id: int
    name: str
    email: str
    password_hash: str | None
    """argon2id; None: signs in through a trusted proxy only."""
    scopes: Sequence[str]
    created_at: datetime


INSERT = """
INSERT INTO users (id, team_id, name, email, password_hash, scopes, created_at)
VALUES (%(id)s, %(team_id)s, %(name)s, %(email)s, %(password_hash)s, %(scopes)s, %(now)s)
ON CONFLICT (lower(email)) WHERE removed_at IS NULL DO NOTHING
"""


async def insert(
    conn: Connection,
    *,
    id_: UUID,
    team_id: int,
    name: str,
    email: str,
    password_hash: str | None,
    scopes: Sequence[str],
    now: datetime,
) -> bool:
    """Write a user; False when the e-mail is in use."""
    cursor = await conn.execute(
        INSERT,
        {
            "id": id_,
            "team_id": team_id,
            "name": name,
            "email": email,
            "password_hash": password_hash,
            "scopes": list(scopes),
            "now": now,
        },
    )
    return cursor.rowcount == 1


COLUMNS = "id, team_id, name, email, password_hash, scopes, created_at"

FIND = f"""
SELECT {COLUMNS} FROM users WHERE lower(email) = lower(%(email)s) AND removed_at IS NULL
"""


async def find(conn: Connection, *, email: str) -> User | None:
    """Return whose e-mail this is."""
    async with conn.cursor(row_factory=class_row(User)) as cursor:
        await cursor.execute(FIND, {"email": email})
        return await cursor.fetchone()


LIST = f"""
SELECT {COLUMNS} FROM users
 WHERE removed_at IS NULL AND team_id = %(team_id)s ORDER BY lower(email)
"""


async def list_of_team(conn: Connection, *, team_id: int) -> list[User]:
    """List the people of a team."""
    async with conn.cursor(row_factory=class_row(User)) as cursor:
        await cursor.execute(LIST, {"team_id": team_id})
        return await cursor.fetchall()


UPDATE_HASH = """
UPDATE users SET password_hash = %(password_hash)s
 WHERE id = %(id)s AND team_id = %(team_id)s AND removed_at IS NULL
"""


async def change_password(
    conn: Connection, *, team_id: int, user_id: UUID, password_hash: str | None
) -> bool:
    """Set or take away a password; False when the team has no such user."""
    values = {"id": user_id, "team_id": team_id, "password_hash": password_hash}
    return (await conn.execute(UPDATE_HASH, values)).rowcount == 1


REMOVE = """
UPDATE users
   SET removed_at = %(now)s, password_hash = NULL, name = '', email = id::text
 WHERE id = %(id)s AND team_id = %(team_id)s AND removed_at IS NULL
"""


async def remove(conn: Connection, *, team_id: int, user_id: UUID, now: datetime) -> bool:
    """Remove a user and what is known of the person; False when there is none."""
    values = {"id": user_id, "team_id": team_id, "now": now}
    return (await conn.execute(REMOVE, values)).rowcount == 1

"""Rows of `sessions`: who is signed in to the dashboard; and of those who try to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from psycopg.rows import class_row, dict_row

from batchyard.models import Team
from batchyard.store.db import Connection


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """Somebody who is signed in: a user, or whoever has a token."""

    id: int
    team: Team
    user_id: UUID | None
    token_id: int | None
    name: str
    """Of the user or the token."""
    email: str | None
    scopes: frozenset[str]
    """What the user or the token may do now."""
    is_by_proxy: bool


INSERT = """
INSERT INTO sessions (hash, team_id, user_id, token_id, is_by_proxy, created_at, expires_at)
VALUES (%(hash)s, %(team_id)s, %(user_id)s, %(token_id)s, %(is_by_proxy)s, %(now)s,
        %(expires_at)s)
"""


async def insert(
    conn: Connection,
    *,
    secret_hash: bytes,
    team_id: int,
    user_id: UUID | None,
    token_id: int | None,
    is_by_proxy: bool,
    expires_at: datetime,
    now: datetime,
) -> None:
    """Write a session of either a user or a token."""
    await conn.execute(
        INSERT,
        {
            "hash": secret_hash,
            "team_id": team_id,
            "user_id": user_id,
            "token_id": token_id,
            "is_by_proxy": is_by_proxy,
            "expires_at": expires_at,
            "now": now,
        },
    )


# A session is worth what stands behind it is worth now.
VALID = """
  FROM sessions s
  JOIN teams ON teams.id = s.team_id
  LEFT JOIN users u ON u.id = s.user_id AND u.removed_at IS NULL
  LEFT JOIN tokens t ON t.id = s.token_id AND t.revoked_at IS NULL
                    AND (t.expires_at IS NULL OR t.expires_at > %(now)s)
 WHERE s.expires_at > %(now)s AND num_nonnulls(u.id, t.id) = 1
"""

# Moves the end on in the same round trip, at most once a minute.
FIND = f"""
WITH found AS (
    SELECT s.id AS session_id, s.user_id, s.token_id, s.is_by_proxy, s.created_at AS began_at,
           s.expires_at, coalesce(u.name, t.name) AS who, u.email,
           coalesce(u.scopes, t.scopes) AS scopes,
           teams.id, teams.uuid, teams.slug, teams.name, teams.locale, teams.timezone,
           teams.created_at, teams.weight
    {VALID} AND s.hash = %(hash)s
), used AS (
    UPDATE sessions s
       SET expires_at = least(%(now)s::timestamptz + %(idle)s, f.began_at + %(longest)s)
      FROM found f
     WHERE s.id = f.session_id
       AND f.expires_at < least(%(now)s::timestamptz + %(idle)s - interval '1 minute',
                                f.began_at + %(longest)s)
)
SELECT * FROM found
"""

OWN_COLUMNS = frozenset(
    ("session_id", "user_id", "token_id", "is_by_proxy", "began_at", "expires_at", "who", "email")
) | {"scopes"}


async def find(
    conn: Connection, *, secret_hash: bytes, idle: timedelta, longest: timedelta, now: datetime
) -> Session | None:
    """Return the session of this secret; its use moves its end on, `longest` from its begin."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            FIND, {"hash": secret_hash, "idle": idle, "longest": longest, "now": now}
        )
        row = await cursor.fetchone()
    return None if row is None else _session(row)


def _session(row: Mapping[str, object]) -> Session:
    team = {key: value for key, value in row.items() if key not in OWN_COLUMNS}
    return Session(
        id=row["session_id"],  # type: ignore[arg-type]  # bigint
        team=Team(**team),  # type: ignore[arg-type]  # the columns of FIND
        user_id=row["user_id"],  # type: ignore[arg-type]  # uuid or null
        token_id=row["token_id"],  # type: ignore[arg-type]  # bigint or null
        name=str(row["who"]),
        email=row["email"],  # type: ignore[arg-type]  # text or null
        scopes=frozenset(row["scopes"]),  # type: ignore[call-overload]  # text[]
        is_by_proxy=bool(row["is_by_proxy"]),
    )


IS_VALID = f"SELECT 1 {VALID} AND s.id = %(id)s"


async def is_valid(conn: Connection, *, session_id: int, now: datetime) -> bool:
    """Tell whether a session still holds; does not move its end on."""
    cursor = await conn.execute(IS_VALID, {"id": session_id, "now": now})
    return await cursor.fetchone() is not None


DELETE = "DELETE FROM sessions WHERE id = %(id)s"


async def delete(conn: Connection, *, session_id: int) -> None:
    """End a session."""
    await conn.execute(DELETE, {"id": session_id})


DELETE_OF_USER = "DELETE FROM sessions WHERE user_id = %(user_id)s AND team_id = %(team_id)s"


async def delete_of_user(conn: Connection, *, user_id: UUID, team_id: int) -> None:
    """End all sessions of a user of the team."""
    await conn.execute(DELETE_OF_USER, {"user_id": user_id, "team_id": team_id})


FORGET = """
WITH gone AS (DELETE FROM sessions WHERE expires_at <= %(now)s)
DELETE FROM sign_in_attempts WHERE began_at <= %(began_before)s
"""


async def forget(conn: Connection, *, began_before: datetime, now: datetime) -> None:
    """Delete sessions that have ended, and attempts of which nobody asks any more."""
    await conn.execute(FORGET, {"began_before": began_before, "now": now})


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempts:
    """How often somebody tried, and since when."""

    key: bytes
    n: int
    began_at: datetime


# In key order, so that two attempts never wait for each other in a circle.
COUNT = """
INSERT INTO sign_in_attempts AS a (key, n, began_at)
SELECT key, 1, %(now)s FROM unnest(%(keys)s::bytea[]) AS k (key) ORDER BY key
ON CONFLICT (key) DO UPDATE
   SET n = CASE WHEN a.began_at <= %(began_before)s THEN 1 ELSE a.n + 1 END,
       began_at = CASE WHEN a.began_at <= %(began_before)s THEN excluded.began_at
                       ELSE a.began_at END
RETURNING key, n, began_at
"""


async def count_attempt(
    conn: Connection, *, keys: Sequence[bytes], began_before: datetime, now: datetime
) -> list[Attempts]:
    """Count one more attempt under each key; counts that began earlier begin anew."""
    async with conn.cursor(row_factory=class_row(Attempts)) as cursor:
        await cursor.execute(COUNT, {"keys": list(keys), "began_before": began_before, "now": now})
        return await cursor.fetchall()


TAKE_BACK = "UPDATE sign_in_attempts SET n = greatest(n - 1, 0) WHERE key = ANY (%(keys)s)"


async def take_back_attempt(conn: Connection, *, keys: Sequence[bytes]) -> None:
    """Do not count an attempt that succeeded."""
    await conn.execute(TAKE_BACK, {"keys": list(keys)})

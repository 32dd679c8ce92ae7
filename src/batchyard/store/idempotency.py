"""Answers that were given to requests with a key: found again, so that nothing is done twice."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from batchyard.store.db import Connection
from batchyard.store.terms import since

# Held until the transaction ends: whoever else uses the key meanwhile learns that it is in use.
LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended(%(key)s, %(team_id)s))"


async def lock(conn: Connection, *, team_id: int, key: str) -> bool:
    """Take a key for this transaction without waiting; False while somebody else has it."""
    row = await (await conn.execute(LOCK, {"team_id": team_id, "key": key})).fetchone()
    return bool(row and row[0])


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """What is known of a key: its answer, or who works on it."""

    fingerprint: bytes | None
    status: int | None
    content_type: str | None
    language: str | None
    headers: Mapping[str, str] | None
    body: bytes | None
    held_until: datetime | None


# What is older is forgotten, whether or not it was taken out yet, unless somebody works on it.
SINCE = since("idempotency")

FIND = f"""
SELECT fingerprint, status, content_type, language, headers, body, held_until FROM idempotency
 WHERE team_id = %(team_id)s AND key = %(key)s
   AND (created_at > {SINCE} OR held_until > %(now)s)
"""


async def find(
    conn: Connection, *, team_id: int, key: str, default_days: int, now: datetime
) -> Record | None:
    """Return what is remembered of a key, also where its work was broken off.

    `default_days` are those of a team that has set none.
    """
    values = {"team_id": team_id, "key": key, "default_days": default_days, "now": now}
    async with conn.cursor(row_factory=class_row(Record)) as cursor:
        await cursor.execute(FIND.encode(), values)
        return await cursor.fetchone()


INSERT_ANSWER = """
INSERT INTO idempotency (team_id, key, fingerprint, status, content_type, language, headers, body,
                         created_at)
VALUES (%(team_id)s, %(key)s, %(fingerprint)s, %(status)s, %(content_type)s, %(language)s,
        %(headers)s, %(body)s, %(now)s)
ON CONFLICT (team_id, key) DO UPDATE
   SET fingerprint = excluded.fingerprint, status = excluded.status,
       content_type = excluded.content_type, language = excluded.language,
       headers = excluded.headers, body = excluded.body,
       holder = NULL, held_until = NULL, created_at = excluded.created_at
"""


async def insert_answer(
    conn: Connection,
    *,
    team_id: int,
    key: str,
    fingerprint: bytes,
    status: int,
    content_type: str | None,
    language: str | None,
    headers: Mapping[str, str],
    body: bytes,
    now: datetime,
) -> None:
    """Write the answer of a key that is locked, over one that is forgotten."""
    await conn.execute(
        INSERT_ANSWER,
        {
            "team_id": team_id,
            "key": key,
            "fingerprint": fingerprint,
            "status": status,
            "content_type": content_type,
            "language": language,
            "headers": Jsonb(dict(headers)) if headers else None,
            "body": body,
            "now": now,
        },
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """Since when a key is worked on, and how much of that is done."""

    began_at: datetime
    done: int


# The same request goes on where an earlier try of it was broken off.
RESERVE = f"""
INSERT INTO idempotency AS known (team_id, key, fingerprint, holder, held_until, created_at)
VALUES (%(team_id)s, %(key)s, %(fingerprint)s, %(holder)s, %(held_until)s, %(now)s)
ON CONFLICT (team_id, key) DO UPDATE
   SET fingerprint = excluded.fingerprint, status = NULL, content_type = NULL, language = NULL,
       headers = NULL, body = NULL, holder = excluded.holder, held_until = excluded.held_until,
       created_at = CASE WHEN known.status IS NULL AND known.fingerprint = excluded.fingerprint
                         THEN known.created_at ELSE excluded.created_at END,
       done = CASE WHEN known.status IS NULL AND known.fingerprint = excluded.fingerprint
                   THEN known.done ELSE 0 END
 WHERE NOT %(is_for_one)s OR known.created_at <= {SINCE} OR known.status IS NOT NULL
    OR coalesce(known.fingerprint = excluded.fingerprint, true)
RETURNING created_at AS began_at, done
"""


async def reserve(
    conn: Connection,
    *,
    team_id: int,
    key: str,
    fingerprint: bytes | None,
    holder: UUID,
    held_until: datetime,
    is_for_one: bool,
    default_days: int,
    now: datetime,
) -> Held | None:
    """Note who works on a key that is locked now, for longer than a transaction.

    With the fingerprint of a request that was broken off, return what it had come to. Where the key
    `is_for_one` request return None if another was broken off, and is remembered; `default_days` as
    in `find`.
    """
    async with conn.cursor(row_factory=class_row(Held)) as cursor:
        await cursor.execute(
            RESERVE.encode(),
            {
                "team_id": team_id,
                "key": key,
                "fingerprint": fingerprint,
                "holder": holder,
                "held_until": held_until,
                "is_for_one": is_for_one,
                "default_days": default_days,
                "now": now,
            },
        )
        return await cursor.fetchone()


ADVANCE = """
UPDATE idempotency SET done = %(done)s
 WHERE team_id = %(team_id)s AND key = %(key)s AND holder = %(holder)s
"""


async def advance(conn: Connection, *, team_id: int, key: str, holder: UUID, done: int) -> bool:
    """Write how much is done under a key; False when it was taken away."""
    cursor = await conn.execute(
        ADVANCE, {"team_id": team_id, "key": key, "holder": holder, "done": done}
    )
    return cursor.rowcount == 1


EXTEND = """
UPDATE idempotency SET held_until = %(held_until)s
 WHERE team_id = %(team_id)s AND key = %(key)s AND holder = %(holder)s
"""


async def extend(
    conn: Connection, *, team_id: int, key: str, holder: UUID, held_until: datetime
) -> bool:
    """Hold a key longer; False when it was taken away."""
    cursor = await conn.execute(
        EXTEND, {"team_id": team_id, "key": key, "holder": holder, "held_until": held_until}
    )
    return cursor.rowcount == 1


COMPLETE = """
UPDATE idempotency
   SET fingerprint = %(fingerprint)s, status = %(status)s, content_type = %(content_type)s,
       language = %(language)s, headers = %(headers)s, body = %(body)s,
       holder = NULL, held_until = NULL, created_at = %(now)s
 WHERE team_id = %(team_id)s AND key = %(key)s AND holder = %(holder)s
"""


async def complete(
    conn: Connection,
    *,
    team_id: int,
    key: str,
    holder: UUID,
    fingerprint: bytes,
    status: int,
    content_type: str | None,
    language: str | None,
    headers: Mapping[str, str],
    body: bytes,
    now: datetime,
) -> bool:
    """Write the answer of a key held by `holder`; False when it was taken away.

    It is remembered from `now` on, however long ago the first try of the request began.
    """
    cursor = await conn.execute(
        COMPLETE,
        {
            "team_id": team_id,
            "key": key,
            "holder": holder,
            "fingerprint": fingerprint,
            "status": status,
            "content_type": content_type,
            "language": language,
            "headers": Jsonb(dict(headers)) if headers else None,
            "body": body,
            "now": now,
        },
    )
    return cursor.rowcount == 1


RELEASE = """
DELETE FROM idempotency
 WHERE team_id = %(team_id)s AND key = %(key)s AND holder = %(holder)s AND done = 0
"""


async def release(conn: Connection, *, team_id: int, key: str, holder: UUID) -> bool:
    """Forget a key whose work came to nothing; False where some of it is done."""
    cursor = await conn.execute(RELEASE, {"team_id": team_id, "key": key, "holder": holder})
    return cursor.rowcount == 1

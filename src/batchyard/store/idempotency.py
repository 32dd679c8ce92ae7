"""Answers that were given to requests with a key: found again, so that nothing is done twice."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row

from batchyard.store.db import Connection

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
    body: bytes | None
    held_until: datetime | None


FIND = """
SELECT fingerprint, status, content_type, language, body, held_until FROM idempotency
 WHERE team_id = %(team_id)s AND key = %(key)s AND created_at > %(since)s
"""


async def find(conn: Connection, *, team_id: int, key: str, since: datetime) -> Record | None:
    """Return what is known of a key used after `since`, also where its work was broken off."""
    async with conn.cursor(row_factory=class_row(Record)) as cursor:
        await cursor.execute(FIND, {"team_id": team_id, "key": key, "since": since})
        return await cursor.fetchone()


INSERT_ANSWER = """
INSERT INTO idempotency (team_id, key, fingerprint, status, content_type, language, body,
                         created_at)
VALUES (%(team_id)s, %(key)s, %(fingerprint)s, %(status)s, %(content_type)s, %(language)s,
        %(body)s, %(now)s)
ON CONFLICT (team_id, key) DO UPDATE
   SET fingerprint = excluded.fingerprint, status = excluded.status,
       content_type = excluded.content_type, language = excluded.language, body = excluded.body,
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
RESERVE = """
INSERT INTO idempotency AS known (team_id, key, fingerprint, holder, held_until, created_at)
VALUES (%(team_id)s, %(key)s, %(fingerprint)s, %(holder)s, %(held_until)s, %(now)s)
ON CONFLICT (team_id, key) DO UPDATE
   SET fingerprint = excluded.fingerprint, status = NULL, content_type = NULL, language = NULL,
       body = NULL, holder = excluded.holder, held_until = excluded.held_until,
       created_at = CASE WHEN known.status IS NULL AND known.fingerprint = excluded.fingerprint
                         THEN known.created_at ELSE excluded.created_at END,
       done = CASE WHEN known.status IS NULL AND known.fingerprint = excluded.fingerprint
                   THEN known.done ELSE 0 END
 WHERE %(since)s::timestamptz IS NULL OR known.created_at <= %(since)s OR known.status IS NOT NULL
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
    since: datetime | None,
    now: datetime,
) -> Held | None:
    """Note who works on a key that is locked now, for longer than a transaction.

    With the fingerprint of a request that was broken off, return what it had come to. With `since`
    return None where another request was broken off, and began after that.
    """
    async with conn.cursor(row_factory=class_row(Held)) as cursor:
        await cursor.execute(
            RESERVE,
            {
                "team_id": team_id,
                "key": key,
                "fingerprint": fingerprint,
                "holder": holder,
                "held_until": held_until,
                "since": since,
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
       language = %(language)s, body = %(body)s, holder = NULL, held_until = NULL
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
    body: bytes,
) -> bool:
    """Write the answer of a key held by `holder`; False when it was taken away."""
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
            "body": body,
        },
    )
    return cursor.rowcount == 1


RELEASE = """
DELETE FROM idempotency
 WHERE team_id = %(team_id)s AND key = %(key)s AND holder = %(holder)s
"""


async def release(conn: Connection, *, team_id: int, key: str, holder: UUID) -> None:
    """Forget a key whose work came to nothing."""
    await conn.execute(RELEASE, {"team_id": team_id, "key": key, "holder": holder})


FORGET = """
DELETE FROM idempotency
 WHERE (team_id, key) IN (SELECT team_id, key FROM idempotency
                           WHERE created_at <= %(before)s
                           ORDER BY created_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
"""


async def forget(conn: Connection, *, before: datetime, limit: int) -> int:
    """Delete keys used before a time; return how many."""
    return (await conn.execute(FORGET, {"before": before, "limit": limit})).rowcount

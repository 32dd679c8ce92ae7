"""Undecided calls by their numbers, for providers that could not tell two of them apart."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from batchyard.store.db import Connection


@dataclass(frozen=True, kw_only=True, slots=True)
class NumberClaim:
    """An undecided call that somebody is about to place."""

    item_id: UUID
    attempt: int
    lease: int
    provider_id: int
    number: str
    from_number: str
    """Empty when the provider is named none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NumberHeld:
    """Another call between these numbers is undecided."""

    since: datetime


# In key order, so that two flushes never wait for each other in a circle. A flush that is repeated
# after a commit whose answer was lost meets its own rows, which carry its lease.
CLAIM = """
WITH wanted AS MATERIALIZED (
    SELECT * FROM unnest(%(item_ids)s::uuid[], %(attempts)s::int[], %(leases)s::bigint[],
                         %(provider_ids)s::int[], %(numbers)s::text[], %(from_numbers)s::text[])
                  AS w (item_id, try, lease, provider_id, number, from_number)
), taken AS (
    INSERT INTO number_claims (provider_id, number, from_number, item_id, try, lease, claimed_at)
    SELECT provider_id, number, from_number, item_id, try, lease, %(now)s::timestamptz
      FROM wanted ORDER BY provider_id, number, from_number, item_id
    ON CONFLICT (provider_id, number, from_number) DO NOTHING
    RETURNING item_id
)
SELECT item_id FROM taken
UNION ALL
SELECT c.item_id FROM number_claims c JOIN wanted w USING (provider_id, number, from_number)
 WHERE c.item_id = w.item_id AND c.lease = w.lease
"""

# A statement of its own, so that it sees what the one before waited for.
HOLDERS = """
SELECT w.item_id, c.claimed_at
  FROM unnest(%(item_ids)s::uuid[], %(provider_ids)s::int[], %(numbers)s::text[],
              %(from_numbers)s::text[]) AS w (item_id, provider_id, number, from_number)
  JOIN number_claims c USING (provider_id, number, from_number)
"""


async def claim(
    conn: Connection, claims: Sequence[NumberClaim], *, now: datetime
) -> dict[UUID, NumberHeld]:
    """Claim the numbers of calls that are about to be placed; return those that must wait."""
    given = {
        "item_ids": [c.item_id for c in claims],
        "attempts": [c.attempt for c in claims],
        "leases": [c.lease for c in claims],
        "provider_ids": [c.provider_id for c in claims],
        "numbers": [c.number for c in claims],
        "from_numbers": [c.from_number for c in claims],
        "now": now,
    }
    won = {row[0] for row in await (await conn.execute(CLAIM, given)).fetchall()}
    lost = [c.item_id for c in claims if c.item_id not in won]
    if not lost:
        return {}
    rows = await (await conn.execute(HOLDERS, given)).fetchall()
    since = {row[0]: row[1] for row in rows if isinstance(row[1], datetime)}
    return {item_id: NumberHeld(since=since.get(item_id, now)) for item_id in lost}


RELEASE = "DELETE FROM number_claims WHERE item_id = ANY (%(item_ids)s)"


async def release(conn: Connection, item_ids: Collection[UUID]) -> None:
    """Give back what these items claimed."""
    await conn.execute(RELEASE, {"item_ids": list(item_ids)})


# Claim and intent are written together, so one snapshot shows both or neither.
RELEASE_STALE = """
DELETE FROM number_claims c
 WHERE NOT EXISTS (SELECT FROM items i
                    WHERE i.id = c.item_id AND i.try = c.try AND i.phase IN ('calling', 'unknown'))
RETURNING item_id
"""


async def release_stale(conn: Connection) -> int:
    """Give back claims of items that are decided or gone; return how many there were."""
    return (await conn.execute(RELEASE_STALE)).rowcount


# References of other keys: of other items called at this number, and of the item's attempts before.
READ_TAKEN = """
SELECT provider_reference FROM item_data
 WHERE number = %(number)s AND item_id <> %(item_id)s AND provider_reference IS NOT NULL
UNION
SELECT a ->> 'reference' FROM item_data, jsonb_array_elements(attempts) AS a
 WHERE number = %(number)s AND a ->> 'reference' IS NOT NULL
"""


async def read_taken(conn: Connection, *, number: str, item_id: UUID) -> frozenset[str]:
    """Return the references of calls to a number that belong to other keys."""
    cursor = await conn.execute(READ_TAKEN, {"number": number, "item_id": item_id})
    return frozenset(str(row[0]) for row in await cursor.fetchall())

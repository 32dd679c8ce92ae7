"""Limits as rows: locked first, counted after, so that two admissions never count together."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from psycopg import AsyncCursor
from psycopg.rows import class_row

from batchyard.limits import Allowance, Bucket, Claim, share_out
from batchyard.models import Rate
from batchyard.store.db import Connection

Cursor = AsyncCursor[tuple[object, ...]]


def team_key(team_id: int) -> str:
    """Name the limit of a team."""
    return f"team:{team_id}"


def provider_key(provider_id: int) -> str:
    """Name the limit of a provider."""
    return f"provider:{provider_id}"


def agent_key(agent_id: UUID) -> str:
    """Name the limit of an agent."""
    return f"agent:{agent_id}"


def batch_key(batch_id: UUID) -> str:
    """Name the limit of a batch."""
    return f"batch:{batch_id}"


def keys_of(*, team_id: int, provider_id: int, batch_id: UUID, agent_id: UUID | None) -> list[str]:
    """Name every limit that an item is under."""
    keys = [team_key(team_id), provider_key(provider_id), batch_key(batch_id)]
    return keys if agent_id is None else [*keys, agent_key(agent_id)]


# In key order, so that admissions of different workers never wait for each other in a circle.
LOCK = """
SELECT key, concurrency FROM limits WHERE key = ANY (%(keys)s) ORDER BY key FOR UPDATE
"""

ADD = """
INSERT INTO limits (key) SELECT unnest(%(keys)s::text[]) ON CONFLICT (key) DO NOTHING
"""


async def lock(
    conn: Connection,
    keys: Collection[str],
    *,
    defaults: Mapping[str, int],
    needed: Collection[str] = (),
) -> dict[str, int | None]:
    """Lock limits until the end of the transaction; return the cap of each.

    `defaults` are the caps of keys that always have one; their rows, and those `needed`, are made
    when missing. What is counted in later statements sees what the lock waited for.
    """
    found = await (await conn.execute(LOCK, {"keys": sorted(keys)})).fetchall()
    if missing := sorted((defaults.keys() | set(needed)) - {str(key) for key, _ in found}):
        await conn.execute(ADD, {"keys": missing})
        found = await (await conn.execute(LOCK, {"keys": sorted(keys)})).fetchall()
    return {
        str(key): defaults.get(str(key)) if cap is None else int(str(cap)) for key, cap in found
    }


# Counted from rows, by partial indexes: no counter that could leak. Agents and batches are counted
# among the team's items in flight, which its own cap keeps few. With each provider come the other
# teams that wait for its cap.
COUNT_IN_FLIGHT = """
SELECT 'team:' || %(team_id)s::bigint, count(*), NULL::bigint[] FROM items
 WHERE team_id = %(team_id)s AND phase IN ('claimed', 'calling', 'live')
UNION ALL
SELECT 'provider:' || p.id, (
       SELECT count(*) FROM items
        WHERE provider_id = p.id AND phase IN ('claimed', 'calling', 'live')), (
       SELECT array_agg(w.team_id) FROM wakes w
        WHERE w.held_by <> '{}' AND p.id = ANY (w.held_by) AND w.team_id <> %(team_id)s)
  FROM unnest(%(provider_ids)s::int[]) AS p (id)
UNION ALL
SELECT 'batch:' || b.id, (
       SELECT count(*) FROM items
        WHERE team_id = %(team_id)s AND batch_id = b.id
          AND phase IN ('claimed', 'calling', 'live')), NULL
  FROM unnest(%(batch_ids)s::uuid[]) AS b (id)
UNION ALL
SELECT 'agent:' || a.id, (
       SELECT count(*) FROM items i JOIN batches b ON b.id = i.batch_id
        WHERE i.team_id = %(team_id)s AND b.agent_id = a.id
          AND i.phase IN ('claimed', 'calling', 'live')), NULL
  FROM unnest(%(agent_ids)s::uuid[]) AS a (id)
"""

READ_CLAIMS = """
SELECT t.id AS team_id, t.weight, (
       SELECT count(*)::int FROM items i
        WHERE i.team_id = t.id AND i.provider_id = %(provider_id)s
          AND i.phase IN ('claimed', 'calling', 'live')) AS in_flight
  FROM teams t
 WHERE t.id = ANY (%(team_ids)s)
"""

READ_RATES = """
SELECT key, seconds, count, burst, tokens, refilled_at FROM rates
 WHERE key = ANY (%(keys)s) ORDER BY key, seconds
"""


async def read_allowances(
    conn: Connection, caps: Mapping[str, int | None], *, team_id: int, now: datetime
) -> dict[str, Allowance]:
    """Read what each locked limit still allows the team.

    A provider's cap that other teams wait for too is shared with them.
    """
    capped = [key for key, cap in caps.items() if cap is not None]
    counted = await conn.execute(
        COUNT_IN_FLIGHT,
        {
            "team_id": team_id,
            "provider_ids": [int(name) for name in _names(capped, "provider")],
            "agent_ids": [UUID(name) for name in _names(capped, "agent")],
            "batch_ids": [UUID(name) for name in _names(capped, "batch")],
        },
    )
    rates = await conn.execute(READ_RATES, {"keys": list(caps)})
    rows = await counted.fetchall()
    in_flight = {str(key): int(str(n)) for key, n, _ in rows}
    waiting = {str(key): others for key, _, others in rows if isinstance(others, list)}
    buckets = await _fetch_buckets(rates, now=now)
    allowances = {
        key: Allowance(
            key=key,
            cap=cap,
            in_flight=in_flight.get(key, 0),
            buckets=tuple(buckets.get(key, ())),
        )
        for key, cap in caps.items()
    }
    for key, others in waiting.items():
        if not allowances[key].is_full:
            claims = await _read_claims(conn, key, [team_id, *others])
            allowances[key] = share_out(allowances[key], claims, team_id=team_id, now=now)
    return allowances


async def _fetch_buckets(rates: Cursor, *, now: datetime) -> dict[str, list[Bucket]]:
    """Take the rates of locked limits from the answer of `READ_RATES`, refilled until now."""
    buckets: dict[str, list[Bucket]] = {}
    for key, seconds, count, burst, tokens, refilled_at in await rates.fetchall():
        bucket = Bucket(
            seconds=int(str(seconds)),
            count=int(str(count)),
            burst=int(str(burst)),
            tokens=float(str(tokens)),
            refilled_at=refilled_at if isinstance(refilled_at, datetime) else now,
        )
        buckets.setdefault(str(key), []).append(bucket.refill(now))
    return buckets


async def _read_claims(conn: Connection, key: str, team_ids: Sequence[int]) -> list[Claim]:
    (provider_id,) = _names([key], "provider")
    async with conn.cursor(row_factory=class_row(Claim)) as cursor:
        await cursor.execute(
            READ_CLAIMS, {"provider_id": int(provider_id), "team_ids": list(team_ids)}
        )
        return await cursor.fetchall()


# Only limits that have a rate, or get one: who starts a single item that is in flight already holds
# up nobody else's admission. In key order, as in LOCK.
LOCK_RATED = """
SELECT l.key FROM limits l
 WHERE l.key = ANY (%(keys)s::text[])
   AND (l.key = ANY (%(defaulted)s::text[]) OR EXISTS (SELECT FROM rates r WHERE r.key = l.key))
 ORDER BY l.key
   FOR UPDATE OF l
"""


async def lock_rates(
    conn: Connection, keys: Collection[str], *, defaults: Mapping[str, Rate], now: datetime
) -> list[Allowance]:
    """Lock those limits that have a rate until the end of the transaction; return what is left.

    `defaults` are the rates of scopes that have one unless another was set.
    """
    given = {"keys": sorted(keys), "defaulted": sorted(defaults)}
    rows = await (await conn.execute(LOCK_RATED, given)).fetchall()
    locked = [str(row[0]) for row in rows]
    if missing := {key: rate for key, rate in defaults.items() if key in locked}:
        await add_default_rates(conn, missing, now=now)
    rates = await conn.execute(READ_RATES, {"keys": locked})
    buckets = await _fetch_buckets(rates, now=now)
    return [
        Allowance(key=key, cap=None, in_flight=0, buckets=tuple(found))
        for key, found in buckets.items()
    ]


TAKE_TOKENS = """
UPDATE rates r SET tokens = t.tokens, refilled_at = t.refilled_at
  FROM unnest(%(keys)s::text[], %(seconds)s::int[], %(tokens)s::float8[],
              %(refilled_ats)s::timestamptz[]) AS t (key, seconds, tokens, refilled_at)
 WHERE r.key = t.key AND r.seconds = t.seconds
"""


async def write_tokens(conn: Connection, allowances: Sequence[Allowance]) -> None:
    """Keep what is left in the buckets of locked limits."""
    rows = [(a.key, bucket) for a in allowances for bucket in a.buckets]
    if not rows:
        return
    await conn.execute(
        TAKE_TOKENS,
        {
            "keys": [key for key, _ in rows],
            "seconds": [bucket.seconds for _, bucket in rows],
            "tokens": [bucket.tokens for _, bucket in rows],
            "refilled_ats": [bucket.refilled_at for _, bucket in rows],
        },
    )


SET_CAP = """
INSERT INTO limits (key, concurrency) VALUES (%(key)s, %(concurrency)s)
ON CONFLICT (key) DO UPDATE SET concurrency = excluded.concurrency
"""


async def set_cap(conn: Connection, *, key: str, concurrency: int | None) -> None:
    """Set how many items may be in flight; None takes the default of the scope."""
    await conn.execute(SET_CAP, {"key": key, "concurrency": concurrency})


CLEAR_RATES = "DELETE FROM rates WHERE key = %(key)s AND NOT (seconds = ANY (%(kept)s))"


async def clear_rates(conn: Connection, *, key: str, kept: Sequence[int]) -> None:
    """Take away the rates of a limit but those over so many seconds."""
    await conn.execute(CLEAR_RATES, {"key": key, "kept": list(kept)})


LIST_KEYS = "SELECT key FROM limits ORDER BY key"


async def list_keys(conn: Connection) -> list[str]:
    """List what has a limit."""
    return [str(row[0]) for row in await (await conn.execute(LIST_KEYS)).fetchall()]


# A new rate starts with one token, so that setting it again and again gives nothing away.
SET_RATE = """
INSERT INTO rates AS r (key, seconds, count, burst, tokens, refilled_at)
VALUES (%(key)s, %(seconds)s, %(count)s, %(burst)s, 1, %(now)s)
ON CONFLICT (key, seconds) DO UPDATE
   SET count = excluded.count, burst = excluded.burst,
       tokens = least(r.tokens, excluded.burst)
"""


async def set_rate(
    conn: Connection, *, key: str, seconds: int, count: int, burst: int, now: datetime
) -> None:
    """Set a rate of a limit whose row exists."""
    await conn.execute(
        SET_RATE, {"key": key, "seconds": seconds, "count": count, "burst": burst, "now": now}
    )


# As a rate that somebody set, a new one starts with one token.
ADD_DEFAULT_RATE = """
INSERT INTO rates (key, seconds, count, burst, tokens, refilled_at)
SELECT d.key, d.seconds, d.count, 1, 1, %(now)s
  FROM unnest(%(keys)s::text[], %(seconds)s::int[], %(counts)s::int[]) AS d (key, seconds, count)
 WHERE NOT EXISTS (SELECT FROM rates r WHERE r.key = d.key)
"""


async def add_default_rates(conn: Connection, rates: Mapping[str, Rate], *, now: datetime) -> None:
    """Give locked limits that have no rate at all the rate of their scope."""
    await conn.execute(
        ADD_DEFAULT_RATE,
        {
            "keys": list(rates),
            "seconds": [rate.seconds for rate in rates.values()],
            "counts": [rate.count for rate in rates.values()],
            "now": now,
        },
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Ceiling:
    """What was set for a limit, for people to read."""

    concurrency: int | None = None
    rates: Mapping[int, int] = field(default_factory=dict)
    """Items by the seconds they are counted in."""
    burst: int | None = None
    """The largest of its rates: so many may start at one moment."""


READ_CEILINGS = """
SELECT l.key, l.concurrency, r.seconds, r.count, r.burst
  FROM limits l LEFT JOIN rates r ON r.key = l.key
 WHERE l.key = ANY (%(keys)s)
 ORDER BY l.key, r.seconds
"""


async def read_ceilings(conn: Connection, keys: Collection[str]) -> dict[str, Ceiling]:
    """Read what was set for these limits, without locking them."""
    ceilings: dict[str, Ceiling] = {}
    rows = await (await conn.execute(READ_CEILINGS, {"keys": list(keys)})).fetchall()
    for key, concurrency, seconds, count, burst in rows:
        known = ceilings.get(str(key), Ceiling())
        rate = {} if seconds is None else {int(str(seconds)): int(str(count))}
        ceilings[str(key)] = Ceiling(
            concurrency=None if concurrency is None else int(str(concurrency)),
            rates={**known.rates, **rate},
            burst=None if burst is None else max(int(str(burst)), known.burst or 1),
        )
    return ceilings


def _names(keys: Sequence[str], scope: str) -> list[str]:
    prefix = f"{scope}:"
    return [key.removeprefix(prefix) for key in keys if key.startswith(prefix)]

"""Rows of providers, and the routes that lead items to them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from batchyard.models import Kind
from batchyard.store.db import Connection


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderRow:
    """A provider as the operator added it."""

    id: int
    name: str
    kind: str
    settings: Mapping[str, object]
    secret: bytes | None
    allow_private: bool
    removed_at: datetime | None
    services: list[dict[str, object]] | None
    """What it said that it books; None where it was not asked."""
    paused_reason: str | None = None
    """Why nothing is sent to it; None while it works."""


COLUMNS = "id, name, kind, settings, secret, allow_private, removed_at, services, paused_reason"

LIST_ALL = f"SELECT {COLUMNS} FROM providers ORDER BY id"


async def list_all(conn: Connection) -> list[ProviderRow]:
    """List every provider, removed ones too: items they were given may still be open."""
    async with conn.cursor(row_factory=class_row(ProviderRow)) as cursor:
        await cursor.execute(LIST_ALL)
        return await cursor.fetchall()


FIND = f"SELECT {COLUMNS} FROM providers WHERE name = %(name)s AND removed_at IS NULL"


async def find(conn: Connection, *, name: str) -> ProviderRow | None:
    """Return the provider of this name."""
    async with conn.cursor(row_factory=class_row(ProviderRow)) as cursor:
        await cursor.execute(FIND, {"name": name})
        return await cursor.fetchone()


INSERT = """
INSERT INTO providers (name, kind, settings, secret, allow_private, created_at)
VALUES (%(name)s, %(kind)s, %(settings)s, %(secret)s, %(allow_private)s, %(now)s)
ON CONFLICT (name) WHERE removed_at IS NULL DO NOTHING
RETURNING id
"""


async def insert(
    conn: Connection,
    *,
    name: str,
    kind: str,
    settings: Mapping[str, object],
    secret: bytes | None,
    allow_private: bool,
    now: datetime,
) -> int | None:
    """Write a provider; return its id, or None when the name is taken."""
    cursor = await conn.execute(
        INSERT,
        {
            "name": name,
            "kind": kind,
            "settings": Jsonb(dict(settings)),
            "secret": secret,
            "allow_private": allow_private,
            "now": now,
        },
    )
    row = await cursor.fetchone()
    return int(str(row[0])) if row else None


# What somebody else changed in the meantime is not overwritten.
CHANGE = """
UPDATE providers
   SET settings = %(settings)s, secret = %(secret)s, allow_private = %(allow_private)s,
       changed_at = %(now)s
 WHERE id = %(id)s AND removed_at IS NULL
   AND settings = %(known_settings)s AND allow_private = %(known_allow_private)s
   AND secret IS NOT DISTINCT FROM %(known_secret)s
"""


async def change(
    conn: Connection, *, known: ProviderRow, changed: ProviderRow, now: datetime
) -> bool:
    """Store settings, secret and reach of a provider; False when it is no longer as `known`."""
    cursor = await conn.execute(
        CHANGE,
        {
            "id": known.id,
            "settings": Jsonb(dict(changed.settings)),
            "secret": changed.secret,
            "allow_private": changed.allow_private,
            "known_settings": Jsonb(dict(known.settings)),
            "known_secret": known.secret,
            "known_allow_private": known.allow_private,
            "now": now,
        },
    )
    return cursor.rowcount == 1


@dataclass(frozen=True, kw_only=True, slots=True)
class UnderWay:
    """What a provider has, or may get."""

    in_flight: int
    unknown: int
    is_asked_first: bool
    """Whether a batch that was restored asks there before it sends."""
    may_be_given: bool
    """Whether a route leads to it and it is not paused."""


UNDER_WAY = """
SELECT (SELECT count(*) FROM items i
         WHERE i.provider_id = p.id AND i.phase IN ('claimed', 'calling', 'live')) AS in_flight,
       (SELECT count(*) FROM items i
         WHERE i.provider_id = p.id AND i.phase = 'unknown') AS unknown,
       EXISTS (SELECT FROM batches b
                 JOIN routes r ON r.team_id = b.team_id AND r.kind = b.kind
                              AND coalesce(r.agent_id = b.agent_id, true)
                WHERE r.provider_id = p.id AND b.restored_at IS NOT NULL
                  AND b.state IN ('open', 'scheduled', 'queued', 'running', 'paused')
              ) AS is_asked_first,
       p.paused_reason IS NULL
           AND EXISTS (SELECT FROM routes r WHERE r.provider_id = p.id) AS may_be_given
  FROM providers p WHERE p.id = %(provider_id)s
"""


async def read_under_way(conn: Connection, *, provider_id: int) -> UnderWay:
    """Read what a provider has, or may get."""
    async with conn.cursor(row_factory=class_row(UnderWay)) as cursor:
        await cursor.execute(UNDER_WAY, {"provider_id": provider_id})
        found = await cursor.fetchone()
    return found or UnderWay(in_flight=0, unknown=0, is_asked_first=False, may_be_given=False)


REMOVE = """
UPDATE providers p SET removed_at = %(now)s
 WHERE p.name = %(name)s AND p.removed_at IS NULL
   AND NOT EXISTS (SELECT FROM routes r WHERE r.provider_id = p.id)
   AND NOT EXISTS (SELECT FROM items i
                    WHERE i.provider_id = p.id AND i.phase IN ('claimed', 'calling', 'live'))
RETURNING id
"""


async def remove(conn: Connection, *, name: str, now: datetime) -> bool:
    """Remove a provider that no route leads to and that has nothing in flight."""
    return (await conn.execute(REMOVE, {"name": name, "now": now})).rowcount == 1


KEEP_SERVICES = """
UPDATE providers SET services = %(services)s, services_at = %(now)s WHERE id = %(provider_id)s
"""


async def keep_services(
    conn: Connection,
    *,
    provider_id: int,
    services: Sequence[Mapping[str, object]] | None,
    now: datetime,
) -> None:
    """Keep what a provider says that it books; None: only its settings say that."""
    kept = None if services is None else Jsonb([dict(one) for one in services])
    await conn.execute(KEEP_SERVICES, {"provider_id": provider_id, "services": kept, "now": now})


NOTE_UNREAD_SERVICES = """
UPDATE providers SET services_at = %(now)s WHERE id = %(provider_id)s
"""


async def note_unread_services(conn: Connection, *, provider_id: int, now: datetime) -> None:
    """Note that a provider was asked in vain what it books; what is known stays."""
    await conn.execute(NOTE_UNREAD_SERVICES, {"provider_id": provider_id, "now": now})


LIST_STALE = f"""
SELECT {COLUMNS} FROM providers
 WHERE removed_at IS NULL AND kind <> 'sandbox'
   AND coalesce(services_at, '-infinity') <= %(before)s
 ORDER BY services_at NULLS FIRST LIMIT 10
"""


async def list_stale(conn: Connection, *, before: datetime) -> list[ProviderRow]:
    """List providers that were not asked since what they book."""
    async with conn.cursor(row_factory=class_row(ProviderRow)) as cursor:
        await cursor.execute(LIST_STALE, {"before": before})
        return await cursor.fetchall()


SLOW_DOWN = """
UPDATE providers SET slow_until = greatest(slow_until, %(until)s) WHERE id = %(provider_id)s
"""


async def slow_down(conn: Connection, *, provider_id: int, until: datetime) -> None:
    """Hold every admission to this provider until then."""
    await conn.execute(SLOW_DOWN, {"provider_id": provider_id, "until": until})


@dataclass(frozen=True, kw_only=True, slots=True)
class Closed:
    """A provider that must be left alone."""

    reason: str
    until: datetime | None
    """None: until a person resumes it."""


CLOSED = """
SELECT id, paused_reason, slow_until FROM providers
 WHERE id = ANY (%(ids)s) AND (paused_reason IS NOT NULL OR slow_until > %(now)s)
"""


async def list_closed(
    conn: Connection, ids: Collection[int], *, now: datetime
) -> dict[int, Closed]:
    """Return which of these providers must be left alone, why, and until when."""
    rows = await (await conn.execute(CLOSED, {"ids": list(ids), "now": now})).fetchall()
    return {
        int(str(key)): Closed(
            reason="retry_after" if paused is None else "provider_paused",
            until=until if paused is None and isinstance(until, datetime) else None,
        )
        for key, paused, until in rows
    }


FOLLOWED_WITHIN = timedelta(seconds=5)
"""So long after a change a process may still send as before."""

# What was sent before a person resumed the provider, or mended it, says nothing about now.
STOP = """
UPDATE providers SET paused_reason = %(reason)s, paused_at = %(now)s
 WHERE id = %(provider_id)s AND paused_reason IS NULL
   AND coalesce(brake_from, '-infinity') <= %(sent_at)s
   AND coalesce(changed_at + %(followed_within)s, '-infinity') <= %(sent_at)s
"""


async def stop(
    conn: Connection, *, provider_id: int, reason: str, sent_at: datetime, now: datetime
) -> bool:
    """Pause a provider that refused what was sent then.

    False when it is paused, or was resumed or changed since.
    """
    cursor = await conn.execute(
        STOP,
        {
            "provider_id": provider_id,
            "reason": reason,
            "sent_at": sent_at,
            "followed_within": FOLLOWED_WITHIN,
            "now": now,
        },
    )
    return cursor.rowcount == 1


PAUSE = """
UPDATE providers
   SET paused_reason = %(reason)s,
       paused_at = CASE WHEN %(reason)s::text IS NULL THEN NULL ELSE %(now)s::timestamptz END,
       brake_from = %(now)s
 WHERE name = %(name)s AND removed_at IS NULL
"""


async def set_paused(conn: Connection, *, name: str, reason: str | None, now: datetime) -> bool:
    """Pause a provider for a reason, or resume it with None; False when there is none."""
    cursor = await conn.execute(PAUSE, {"name": name, "reason": reason, "now": now})
    return cursor.rowcount == 1


@dataclass(frozen=True, kw_only=True, slots=True)
class RouteRow:
    """Where a team's items go."""

    team_id: int
    team: str
    kind: str
    agent_id: UUID | None
    provider_id: int
    provider: str


LIST_ROUTES = """
SELECT r.team_id, t.slug AS team, r.kind, r.agent_id, r.provider_id, p.name AS provider
  FROM routes r JOIN teams t ON t.id = r.team_id JOIN providers p ON p.id = r.provider_id
 ORDER BY t.slug, r.kind, r.agent_id NULLS FIRST
"""


async def list_routes(conn: Connection) -> list[RouteRow]:
    """List all routes."""
    async with conn.cursor(row_factory=class_row(RouteRow)) as cursor:
        await cursor.execute(LIST_ROUTES)
        return await cursor.fetchall()


SET_ROUTE = """
INSERT INTO routes (team_id, kind, agent_id, provider_id)
VALUES (%(team_id)s, %(kind)s, %(agent_id)s, %(provider_id)s)
ON CONFLICT (team_id, kind, agent_id) DO UPDATE SET provider_id = excluded.provider_id
"""


async def set_route(
    conn: Connection, *, team_id: int, kind: Kind, agent_id: UUID | None, provider_id: int
) -> None:
    """Lead a team's items of a kind (or of one agent) to a provider; replaces the route before."""
    await conn.execute(
        SET_ROUTE,
        {"team_id": team_id, "kind": kind, "agent_id": agent_id, "provider_id": provider_id},
    )


LIST_ROUTED_TEAMS = """
SELECT DISTINCT team_id FROM routes WHERE provider_id = %(provider_id)s ORDER BY team_id
"""


async def list_routed_teams(conn: Connection, *, provider_id: int) -> list[int]:
    """List the teams of which a route leads to this provider."""
    rows = await (await conn.execute(LIST_ROUTED_TEAMS, {"provider_id": provider_id})).fetchall()
    return [int(str(row[0])) for row in rows]


# The narrowest route of a kind without an agent; without one it is the sandbox, as in the engine.
FIND_ROUTED = f"""
SELECT {", ".join(f"p.{name}" for name in COLUMNS.split(", "))}
  FROM providers p
  LEFT JOIN routes r ON r.provider_id = p.id AND r.team_id = %(team_id)s AND r.kind = %(kind)s
                    AND r.agent_id IS NULL
 WHERE r.provider_id IS NOT NULL OR p.kind = 'sandbox'
 ORDER BY r.provider_id IS NULL, p.id
 LIMIT 1
"""


async def find_routed(conn: Connection, *, team_id: int, kind: Kind) -> ProviderRow | None:
    """Return the provider that gets a team's items of a kind."""
    async with conn.cursor(row_factory=class_row(ProviderRow)) as cursor:
        await cursor.execute(FIND_ROUTED, {"team_id": team_id, "kind": kind})
        return await cursor.fetchone()

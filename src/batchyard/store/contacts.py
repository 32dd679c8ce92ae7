"""Whom a team does not call: its do-not-contact list, its rules, the attempts they count."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import orjson
from psycopg.rows import class_row

from batchyard.contact_rules import TeamRules
from batchyard.store.attempts import Contact
from batchyard.store.db import Connection


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A number that a team does not contact."""

    number: str
    reason: str | None
    until: datetime | None
    """None: for ever."""
    source: str
    created_at: datetime


# What a recipient asked for has no end, whatever is said about the number after it.
ADD_ENTRY = """
INSERT INTO do_not_contact AS e (team_id, number, reason, until, source, created_at)
VALUES (%(team_id)s, %(number)s, %(reason)s, %(until)s, 'person', %(now)s)
ON CONFLICT (team_id, number) DO UPDATE
   SET reason = excluded.reason,
       until = CASE WHEN e.source <> 'opt_out' THEN excluded.until END,
       source = CASE WHEN e.source = 'opt_out' THEN e.source ELSE excluded.source END
RETURNING number, reason, until, source, created_at
"""


async def add_entry(
    conn: Connection,
    *,
    team_id: int,
    number: str,
    reason: str | None,
    until: datetime | None,
    now: datetime,
) -> Entry | None:
    """Put a number on the list; what was said before is replaced, but an opt-out stays one."""
    async with conn.cursor(row_factory=class_row(Entry)) as cursor:
        await cursor.execute(
            ADD_ENTRY,
            {"team_id": team_id, "number": number, "reason": reason, "until": until, "now": now},
        )
        return await cursor.fetchone()


READ_ENTRY = """
SELECT number, reason, until, source, created_at
  FROM do_not_contact WHERE team_id = %(team_id)s AND number = %(number)s
"""


async def read_entry(conn: Connection, *, team_id: int, number: str) -> Entry | None:
    """Return what the list says of a number."""
    async with conn.cursor(row_factory=class_row(Entry)) as cursor:
        await cursor.execute(READ_ENTRY, {"team_id": team_id, "number": number})
        return await cursor.fetchone()


REMOVE_ENTRY = "DELETE FROM do_not_contact WHERE team_id = %(team_id)s AND number = %(number)s"


async def remove_entry(conn: Connection, *, team_id: int, number: str) -> bool:
    """Take a number off the list; False when it was not on it."""
    cursor = await conn.execute(REMOVE_ENTRY, {"team_id": team_id, "number": number})
    return cursor.rowcount == 1


LIST_ENTRIES = """
SELECT number, reason, until, source, created_at
  FROM do_not_contact
 WHERE team_id = %(team_id)s AND number > %(after)s
 ORDER BY number
 LIMIT %(limit)s
"""


async def list_entries(conn: Connection, *, team_id: int, after: str, limit: int) -> list[Entry]:
    """List the numbers behind `after`, those whose time is over included."""
    async with conn.cursor(row_factory=class_row(Entry)) as cursor:
        await cursor.execute(LIST_ENTRIES, {"team_id": team_id, "after": after, "limit": limit})
        return await cursor.fetchall()


HAS_ENTRIES = "SELECT EXISTS (SELECT FROM do_not_contact WHERE team_id = %(team_id)s)"


async def has_entries(conn: Connection, *, team_id: int) -> bool:
    """Tell whether anything is on the list."""
    row = await (await conn.execute(HAS_ENTRIES, {"team_id": team_id})).fetchone()
    return bool(row and row[0])


FIND_LISTED = """
SELECT number FROM do_not_contact
 WHERE team_id = %(team_id)s AND number = ANY (%(numbers)s) AND (until IS NULL OR until > %(now)s)
"""


async def find_listed(
    conn: Connection, *, team_id: int, numbers: Sequence[str], now: datetime
) -> set[str]:
    """Return which of these numbers must not be contacted."""
    cursor = await conn.execute(
        FIND_LISTED, {"team_id": team_id, "numbers": list(numbers), "now": now}
    )
    return {str(row[0]) for row in await cursor.fetchall()}


FIND_LISTED_ITEMS = """
SELECT w.item_id
  FROM json_to_recordset(%(rows)s::json) AS w (item_id uuid, team_id bigint, number text)
  JOIN do_not_contact n ON n.team_id = w.team_id AND n.number = w.number
 WHERE n.until IS NULL OR n.until > %(now)s
"""


async def find_listed_items(
    conn: Connection, chosen: Sequence[Contact], *, now: datetime
) -> set[UUID]:
    """Return which of these items have numbers that their teams do not contact."""
    rows = orjson.dumps(chosen).decode()
    cursor = await conn.execute(FIND_LISTED_ITEMS, {"rows": rows, "now": now})
    return {row[0] for row in await cursor.fetchall() if isinstance(row[0], UUID)}


# The strongest wish wins: what a recipient asked for has no end.
ADD_OPT_OUTS = """
INSERT INTO do_not_contact AS e (team_id, number, reason, source, created_at)
SELECT DISTINCT i.team_id, d.number, 'asked for in a call', 'opt_out', %(now)s::timestamptz
  FROM items i JOIN item_data d ON d.item_id = i.id
 WHERE i.id = ANY (%(item_ids)s) AND d.number IS NOT NULL
 ORDER BY 1, 2
ON CONFLICT (team_id, number) DO UPDATE
   SET until = NULL, reason = excluded.reason, source = excluded.source
 WHERE e.source <> 'opt_out'
"""


async def add_opt_outs(conn: Connection, *, item_ids: Sequence[UUID], now: datetime) -> None:
    """Put the numbers of these items on their teams' lists, for ever."""
    await conn.execute(ADD_OPT_OUTS, {"item_ids": list(item_ids), "now": now})


READ_RULES = """
SELECT fallback_zone, days, holidays, attempts_per_day, attempts_per_week, countries,
       refuses_premium
  FROM team_rules WHERE team_id = %(team_id)s
"""


async def read_rules(conn: Connection, *, team_id: int) -> TeamRules:
    """Return a team's rules; without a row, none is on."""
    row = await (await conn.execute(READ_RULES, {"team_id": team_id})).fetchone()
    if row is None:
        return TeamRules()
    zone, days, holidays, per_day, per_week, countries, refuses_premium = row
    return TeamRules(
        fallback_zone=None if zone is None else str(zone),
        days=frozenset(days) if isinstance(days, list) else frozenset(),
        holidays=frozenset(holidays) if isinstance(holidays, list) else frozenset(),
        attempts_per_day=per_day if isinstance(per_day, int) else None,
        attempts_per_week=per_week if isinstance(per_week, int) else None,
        countries=frozenset(countries) if isinstance(countries, list) else None,
        refuses_premium=bool(refuses_premium),
    )


# Whoever reads, changes and writes the rules, or the days things are kept, locks the team's row
# before.
LOCK_TEAM = "SELECT FROM teams WHERE id = %(team_id)s FOR NO KEY UPDATE"

WRITE_RULES = """
INSERT INTO team_rules (team_id, fallback_zone, days, holidays, attempts_per_day,
                        attempts_per_week, countries, refuses_premium, updated_at)
VALUES (%(team_id)s, %(fallback_zone)s, %(days)s, %(holidays)s, %(attempts_per_day)s,
        %(attempts_per_week)s, %(countries)s, %(refuses_premium)s, %(now)s)
ON CONFLICT (team_id) DO UPDATE
   SET fallback_zone = excluded.fallback_zone, days = excluded.days,
       holidays = excluded.holidays, attempts_per_day = excluded.attempts_per_day,
       attempts_per_week = excluded.attempts_per_week, countries = excluded.countries,
       refuses_premium = excluded.refuses_premium, updated_at = excluded.updated_at
"""


async def lock_rules(conn: Connection, *, team_id: int) -> TeamRules:
    """Return a team's rules, and keep others from changing them meanwhile."""
    await conn.execute(LOCK_TEAM, {"team_id": team_id})
    return await read_rules(conn, team_id=team_id)


async def write_rules(conn: Connection, *, team_id: int, rules: TeamRules, now: datetime) -> None:
    """Write a team's rules whole."""
    await conn.execute(
        WRITE_RULES,
        {
            "team_id": team_id,
            "fallback_zone": rules.fallback_zone,
            "days": sorted(rules.days),
            "holidays": sorted(rules.holidays),
            "attempts_per_day": rules.attempts_per_day,
            "attempts_per_week": rules.attempts_per_week,
            "countries": None if rules.countries is None else sorted(rules.countries),
            "refuses_premium": rules.refuses_premium,
            "now": now,
        },
    )

"""What is stored about one person: found, shown, and taken out while every count stays right."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from batchyard.store import control
from batchyard.store.db import Connection
from batchyard.store.person_sources import SOURCES, Source
from batchyard.store.stretches import Stretch
from batchyard.store.taken_out import ERASED


@dataclass(frozen=True, kw_only=True, slots=True)
class Person:
    """Whom to look for within a team."""

    team_id: int
    pattern: str
    """A regular expression that fits any writing of the number or e-mail."""
    certain: str
    """One that fits only writings with the country's code: digits that mean nothing else."""
    number: str | None
    """In international format."""


# The upload of rows that join another batch names that batch.
LIST_JOINING = """
SELECT u.id FROM uploads u JOIN batches b ON b.id = u.id
 WHERE u.team_id = %(team_id)s AND u.id > %(after)s AND u.batch_id <> u.id
 ORDER BY u.id
 LIMIT %(limit)s
"""

LIST_BATCHES = """
SELECT b.id FROM batches b
 WHERE b.team_id = %(team_id)s AND b.id > %(after)s
   AND NOT EXISTS (SELECT FROM uploads u WHERE u.id = b.id AND u.batch_id <> b.id)
 ORDER BY b.id
 LIMIT %(limit)s
"""


async def list_batches(
    conn: Connection, *, team_id: int, joining: bool, after: UUID, limit: int
) -> Sequence[UUID]:
    """List the next batches of a team, deleted ones too: those that join another, or the others."""
    values = {"team_id": team_id, "after": after, "limit": limit}
    statement = LIST_JOINING if joining else LIST_BATCHES
    return _ids(await (await conn.execute(statement, values)).fetchall())


LIST_UPLOADS = "SELECT id FROM uploads WHERE batch_id = ANY (%(batch_ids)s) ORDER BY id"


async def list_uploads(conn: Connection, *, batch_ids: Sequence[UUID]) -> Sequence[UUID]:
    """List the files that went into these batches, or are on their way there."""
    values = {"batch_ids": list(batch_ids)}
    return _ids(await (await conn.execute(LIST_UPLOADS, values)).fetchall())


# Where a row is tells it from the others of its stretch, as long as nobody changes it.
READ = """
SELECT t.ctid::text, ({shown})::text FROM {table} AS t
 WHERE {within} AND {found}
 ORDER BY t.{owner}, {order}
"""


async def read(
    conn: Connection, person: Person, stretch: Stretch, *, item_ids: Sequence[UUID]
) -> Mapping[str, str]:
    """Read the rows of a stretch that are about a person, or of these items: what each shows.

    By what tells them apart, for one may be met with other items once more.
    """
    source = stretch.source
    statement = READ.format(
        shown=source.shown,
        table=source.table,
        within=stretch.within,
        found=source.found,
        owner=source.owner,
        order=source.order,
    )
    values = _values(person, item_ids) | stretch.values
    cursor = await conn.execute(statement.encode(), values, prepare=False)
    return {str(key): str(shown) for key, shown in await cursor.fetchall()}


ALLOW = "SET LOCAL batchyard.erasing = 'on'"


async def erase(
    conn: Connection,
    person: Person,
    stretch: Stretch,
    *,
    item_ids: Sequence[UUID],
    now: datetime,
) -> int:
    """Erase a person, and what names these items, from a stretch; return how many rows it was in.

    Raises `ValueError` for a source of which nothing is erased by itself.
    """
    await conn.execute(ALLOW)
    statement = _erasing(stretch.source, f"{stretch.within} AND {stretch.source.found}")
    values = _values(person, item_ids) | stretch.values | {"now": now}
    return (await conn.execute(statement.encode(), values, prepare=False)).rowcount


# Batches before items, and both in id order, as everywhere.
LOCK_BATCHES = """
SELECT b.id FROM batches b
 WHERE b.id IN (SELECT i.batch_id FROM items i WHERE i.id = ANY (%(ids)s))
 ORDER BY b.id
   FOR UPDATE
"""

LOCK_ITEMS = "SELECT id, phase FROM items WHERE id = ANY (%(ids)s) ORDER BY id FOR UPDATE"

CANCEL = """
WITH ended AS (
    UPDATE items
       SET phase = 'done', status = 'canceled', updated_at = %(now)s, deadline_at = NULL
     WHERE id = ANY (%(ids)s)
    RETURNING id
)
UPDATE item_data d SET ended_at = %(now)s FROM ended e WHERE d.item_id = e.id
"""


async def cancel_items(
    conn: Connection, ids: Sequence[UUID], *, now: datetime
) -> Mapping[UUID, str]:
    """Cancel those of these items that were not sent yet; return the phase that each is in then.

    A batch that had no others ends. All of them, and their batches, are locked.
    """
    locked = await (await conn.execute(LOCK_BATCHES, {"ids": list(ids)})).fetchall()
    rows = await (await conn.execute(LOCK_ITEMS, {"ids": list(ids)})).fetchall()
    phases = {row[0]: str(row[1]) for row in rows if isinstance(row[0], UUID)}
    if unsent := [key for key, phase in phases.items() if phase == "ready"]:
        await conn.execute(CANCEL, {"ids": unsent, "now": now})
        await control.start_if_all_ended(conn, batch_ids=_ids(locked), now=now)
    return phases | dict.fromkeys(unsent, "done")


# Whoever was about to let one of them be tried again has its lock, or waits for it: by the next
# look that is done, and whoever comes later reads the note.
NOTE = """
INSERT INTO pending_erasures (item_id, requested_at)
SELECT id, 'infinity' FROM items WHERE id = ANY (%(ids)s) ORDER BY id
ON CONFLICT DO NOTHING
"""


async def note_items(conn: Connection, ids: Sequence[UUID], *, now: datetime) -> Sequence[UUID]:
    """Cancel items that were not sent yet, and let none of them be sent again.

    Returns those that are still out, or unknown. They are erased by whoever noted them, not before.
    """
    phases = await cancel_items(conn, ids, now=now)
    await conn.execute(NOTE, {"ids": list(phases)})
    return [key for key, phase in phases.items() if phase != "done"]


# What an erasure noted before is let go by it.
POSTPONE = """
INSERT INTO pending_erasures AS p (item_id, requested_at)
SELECT unnest(%(ids)s::uuid[]), %(now)s
ON CONFLICT (item_id) DO UPDATE SET requested_at = excluded.requested_at
 WHERE p.requested_at = 'infinity'
"""

# A code tells what went wrong, not with whom. An item that is erased later is erased by nobody who
# knows whom it is about, so each of its codes goes that could hold a number or an address.
TELLS_WHO = "@|([0-9][^0-9]*){7}"

ERASE_ITEMS = f"""
UPDATE item_data
   SET payload = '{ERASED}', number = NULL, reference = NULL, provider_reference = NULL,
       result = NULL, corrections = '[]', error_message = NULL,
       error_code = CASE WHEN error_code ~ '{TELLS_WHO}' THEN 'erased' ELSE error_code END,
       attempts = (SELECT coalesce(jsonb_agg(
                              e - 'error_message' - 'reference' - 'result'
                              || CASE WHEN e ->> 'error_code' ~ '{TELLS_WHO}'
                                      THEN '{{"error_code": "erased"}}'::jsonb
                                      ELSE '{{}}'::jsonb END), '[]')
                     FROM jsonb_array_elements(attempts) AS e),
       ended_at = CASE WHEN item_id = ANY (%(ended)s) THEN coalesce(ended_at, %(now)s) END
 WHERE item_id = ANY (%(ids)s)
"""

# The answer that somebody waits for may hold all of the item. It is found by the key of the
# booking, which must stay until then; of a request that was broken off nobody holds it for long.
IS_BEING_ANSWERED = """EXISTS (
    SELECT FROM bookings k JOIN idempotency h ON h.team_id = k.team_id AND h.key = k.key
     WHERE k.item_id = i.id AND h.held_until > %(now)s)"""

FIND_BEING_ANSWERED = f"""
SELECT i.id FROM items i WHERE i.id = ANY (%(ids)s) AND {IS_BEING_ANSWERED}
"""

FORGET_PENDING = "DELETE FROM pending_erasures WHERE item_id = ANY (%(ended)s)"


@dataclass(frozen=True, kw_only=True, slots=True)
class ErasedItems:
    """What became of items that were to be erased."""

    erased: Sequence[UUID]
    postponed: Sequence[UUID]
    """In flight, or being answered: they are erased once they have ended, or that has."""
    others: Mapping[str, int]
    """Rows of other sources that went with them."""


async def erase_items(conn: Connection, ids: Sequence[UUID], *, now: datetime) -> ErasedItems:
    """Erase items with what goes with them; those not yet sent are cancelled.

    An unknown outcome may stay so for ever: it is erased at once, and again after a late answer.
    """
    phases = await cancel_items(conn, ids, now=now)
    asked = {"ids": list(ids), "now": now}
    answered = _ids(await (await conn.execute(FIND_BEING_ANSWERED.encode(), asked)).fetchall())
    settled = {key: phase for key, phase in phases.items() if key not in set(answered)}
    ended = [key for key, phase in settled.items() if phase == "done"]
    unknown = [key for key, phase in settled.items() if phase == "unknown"]
    chosen = ended + unknown
    postponed = sorted(phases.keys() - {*chosen})
    values = {"ids": chosen, "ended": ended, "now": now}
    await conn.execute(POSTPONE, {"ids": postponed + unknown, "now": now})
    others: Counter[str] = Counter()
    for source in SOURCES:
        if source.by_item is not None:
            statement = _erasing(source, source.by_item)
            others[source.name] = (await conn.execute(statement.encode(), values)).rowcount
    await conn.execute(ERASE_ITEMS.encode(), values)
    await conn.execute(FORGET_PENDING, values)
    return ErasedItems(erased=chosen, postponed=postponed, others=others)


# An unknown outcome stays pending for its late answer, so it is found by what it still holds. What
# an erasure noted and has not come to yet is left to it: by it the rest is found.
FIND_PENDING = f"""
SELECT p.item_id
  FROM pending_erasures p
  JOIN items i ON i.id = p.item_id
  JOIN item_data d ON d.item_id = p.item_id
 WHERE p.requested_at < 'infinity'
   AND NOT {IS_BEING_ANSWERED}
   AND (i.phase IN ('ready', 'done')
        OR i.phase = 'unknown'
           AND (d.payload <> '{ERASED}' OR d.result IS NOT NULL
                OR d.provider_reference IS NOT NULL OR d.error_message IS NOT NULL))
 LIMIT %(limit)s
"""


async def find_pending(conn: Connection, *, limit: int, now: datetime) -> Sequence[UUID]:
    """Find items that ended, or became unknown, since their erasure was asked for."""
    values = {"limit": limit, "now": now}
    return _ids(await (await conn.execute(FIND_PENDING.encode(), values)).fetchall())


def _erasing(source: Source, condition: str) -> str:
    """Return the statement that erases the rows of a condition, each of them once."""
    if source.erasing is None:
        raise ValueError(source.name)
    return f"{source.erasing} WHERE {condition} AND NOT ({source.erased}) {source.then}"


def _values(person: Person, item_ids: Sequence[UUID]) -> dict[str, object]:
    """Return what conditions compare with; whatever names one of these items is found as well."""
    return {
        "number": person.number,
        "pattern": person.pattern,
        "certain": person.certain,
        "ids": list(item_ids),
    }


def _ids(rows: Sequence[tuple[object, ...]]) -> list[UUID]:
    return [row[0] for row in rows if isinstance(row[0], UUID)]

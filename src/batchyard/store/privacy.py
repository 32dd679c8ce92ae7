"""What is stored about one person: found, shown, and taken out while every count stays right."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from batchyard.store import control
from batchyard.store.db import Connection
from batchyard.store.person_sources import DO_NOT_CONTACT, ERASED, SOURCES, Source


@dataclass(frozen=True, kw_only=True, slots=True)
class Person:
    """Whom to look for within a team."""

    team_id: int
    pattern: str
    """A regular expression that fits any writing of the number or e-mail."""
    number: str | None
    """In international format."""


LIST_BATCHES = """
SELECT b.id,
       coalesce((SELECT sum(c.n) FROM batch_counts c WHERE c.batch_id = b.id), 0)::int AS items
  FROM batches b
 WHERE b.team_id = %(team_id)s
 ORDER BY b.id
"""


async def list_batches(conn: Connection, *, team_id: int) -> list[tuple[UUID, int]]:
    """List every batch of a team, deleted ones and uploads too, and how many items each has."""
    rows = await (await conn.execute(LIST_BATCHES, {"team_id": team_id})).fetchall()
    return [(UUID(str(row[0])), int(str(row[1]))) for row in rows]


ABOUT = """
(d.number = %(number)s
 OR concat_ws(' ', d.number, d.reference, d.payload, d.result, d.attempts, d.corrections,
              d.error_message) ~* %(pattern)s)
"""

FIND_ITEMS = f"""
SELECT d.item_id FROM item_data d
 WHERE d.batch_id = ANY (%(batch_ids)s) AND {ABOUT}
   AND d.payload <> '{ERASED}'
"""


async def find_items(conn: Connection, person: Person, *, batch_ids: Sequence[UUID]) -> list[UUID]:
    """Find the items of batches that are about a person; all of those items are read for it."""
    values = {"batch_ids": list(batch_ids), "number": person.number, "pattern": person.pattern}
    rows = await (await conn.execute(FIND_ITEMS.encode(), values)).fetchall()
    return [row[0] for row in rows if isinstance(row[0], UUID)]


Place = tuple[int, UUID]
"""Where a reader of a batch stands: line and id of the last item it has seen."""
FIRST: Place = (-1, UUID(int=0))
"""Before every item."""

# The slice is chosen along the index of the lines, and materialized: the texts of its own rows are
# looked through, and none behind them.
FIND_IN_SLICE = f"""
WITH slice AS MATERIALIZED (
    SELECT position, item_id FROM item_data
     WHERE batch_id = %(batch_id)s AND (position, item_id) > (%(position)s, %(item_id)s)
     ORDER BY position, item_id
     LIMIT %(limit)s
)
SELECT last.position, last.item_id,
       ARRAY(SELECT d.item_id FROM slice s JOIN item_data d ON d.item_id = s.item_id
              WHERE {ABOUT} AND d.payload <> '{ERASED}') AS found
  FROM (SELECT position, item_id FROM slice
         ORDER BY position DESC, item_id DESC LIMIT 1) AS last
"""


async def find_in_slice(
    conn: Connection, person: Person, *, batch_id: UUID, after: Place, limit: int
) -> tuple[list[UUID], Place | None]:
    """Find the items about a person among the next of a batch, and where these end.

    None for the place: none is left.
    """
    values = {
        "batch_id": batch_id,
        "position": after[0],
        "item_id": after[1],
        "limit": limit,
        "number": person.number,
        "pattern": person.pattern,
    }
    row = await (await conn.execute(FIND_IN_SLICE.encode(), values)).fetchone()
    if row is None:
        return [], None
    position, item_id, found = row
    ids = [one for one in found if isinstance(one, UUID)] if isinstance(found, list) else []
    return ids, (int(str(position)), UUID(str(item_id)))


# Batches before items, and both in id order, as everywhere.
LOCK_BATCHES = """
SELECT b.id FROM batches b
 WHERE b.id IN (SELECT i.batch_id FROM items i WHERE i.id = ANY (%(ids)s))
 ORDER BY b.id
   FOR UPDATE
"""

LOCK_ITEMS = "SELECT id, phase FROM items WHERE id = ANY (%(ids)s) ORDER BY id FOR UPDATE"

CANCEL = """
UPDATE items SET phase = 'done', status = 'canceled', updated_at = %(now)s, deadline_at = NULL
 WHERE id = ANY (%(ids)s) AND phase = 'ready'
"""

POSTPONE = """
INSERT INTO pending_erasures (item_id, requested_at)
SELECT unnest(%(ids)s::uuid[]), %(now)s
ON CONFLICT DO NOTHING
"""

ERASE_ITEMS = f"""
UPDATE item_data
   SET payload = '{ERASED}', number = NULL, reference = NULL, provider_reference = NULL,
       result = NULL, corrections = '[]', error_message = NULL,
       attempts = (SELECT coalesce(jsonb_agg(e - 'error_message' - 'reference' - 'result'), '[]')
                     FROM jsonb_array_elements(attempts) AS e),
       ended_at = CASE WHEN item_id = ANY (%(ended)s) THEN coalesce(ended_at, %(now)s) END
 WHERE item_id = ANY (%(ids)s)
"""

ERASE_DOCUMENTS = "DELETE FROM documents WHERE item_id = ANY (%(ids)s)"

FORGET_PENDING = "DELETE FROM pending_erasures WHERE item_id = ANY (%(ended)s)"


@dataclass(frozen=True, kw_only=True, slots=True)
class ErasedItems:
    """What became of items that were to be erased."""

    erased: Sequence[UUID]
    postponed: Sequence[UUID]
    """In flight: they are erased once they have ended."""
    documents: int


async def erase_items(conn: Connection, ids: Sequence[UUID], *, now: datetime) -> ErasedItems:
    """Erase items; those not yet sent are cancelled, and a batch that had no others ends.

    An unknown outcome may stay so for ever: it is erased at once, and again after a late answer.
    """
    locked = await (await conn.execute(LOCK_BATCHES, {"ids": list(ids)})).fetchall()
    rows = await (await conn.execute(LOCK_ITEMS, {"ids": list(ids)})).fetchall()
    phases = {row[0]: str(row[1]) for row in rows if isinstance(row[0], UUID)}
    ended = [key for key, phase in phases.items() if phase in ("ready", "done")]
    unknown = [key for key, phase in phases.items() if phase == "unknown"]
    chosen = ended + unknown
    postponed = sorted(phases.keys() - {*chosen})
    values = {"ids": chosen, "ended": ended, "now": now}
    await conn.execute(POSTPONE, {"ids": postponed + unknown, "now": now})
    await conn.execute(CANCEL, values)
    await control.start_if_all_ended(conn, batch_ids=[UUID(str(row[0])) for row in locked], now=now)
    await conn.execute(ERASE_ITEMS.encode(), values)
    documents = (await conn.execute(ERASE_DOCUMENTS, values)).rowcount
    for source in SOURCES:
        if source.of_item is not None and source.erasing is not None:
            statement = f"{source.erasing} WHERE {source.of_item}"
            await conn.execute(statement.encode(), values)
    await conn.execute(FORGET_PENDING, values)
    return ErasedItems(erased=chosen, postponed=postponed, documents=documents)


# An unknown outcome stays pending for its late answer, so it is found by what it still holds.
FIND_PENDING = f"""
SELECT p.item_id
  FROM pending_erasures p
  JOIN items i ON i.id = p.item_id
  JOIN item_data d ON d.item_id = p.item_id
 WHERE i.phase IN ('ready', 'done')
    OR i.phase = 'unknown'
       AND (d.payload <> '{ERASED}' OR d.result IS NOT NULL
            OR d.provider_reference IS NOT NULL OR d.error_message IS NOT NULL)
 LIMIT %(limit)s
"""


async def find_pending(conn: Connection, *, limit: int) -> list[UUID]:
    """Find items that ended, or became unknown, since their erasure was asked for."""
    rows = await (await conn.execute(FIND_PENDING.encode(), {"limit": limit})).fetchall()
    return [row[0] for row in rows if isinstance(row[0], UUID)]


ALLOW = "SET LOCAL batchyard.erasing = 'on'"


async def erase_elsewhere(
    conn: Connection,
    person: Person,
    *,
    also: Sequence[UUID],
    keep_do_not_contact: bool,
    now: datetime,
) -> dict[str, int]:
    """Erase a person, and what names these items, from all other tables; return rows by kind."""
    values = _values(person, also) | {"now": now}
    await conn.execute(ALLOW)
    counts: dict[str, int] = {}
    for source in SOURCES:
        if source.about is None or source.erasing is None:
            continue
        if source is DO_NOT_CONTACT and keep_do_not_contact:
            continue
        statement = f"{source.erasing} WHERE {source.of_team} AND {source.about}"
        counts[source.name] = (await conn.execute(statement.encode(), values)).rowcount
    return counts


EXPORT = """
SELECT {key}, ({shown})::text FROM {table} AS t
 WHERE {found} AND {key} > %(after)s COLLATE "C"
 ORDER BY {key} COLLATE "C"
 LIMIT %(limit)s
"""


async def read_page(
    conn: Connection,
    person: Person,
    source: Source,
    *,
    item_ids: Sequence[UUID],
    after: str,
    limit: int,
) -> list[tuple[str, str]]:
    """Read rows of a source about a person, or of these items: key and JSON, in order of the key.

    Those behind the key `after`, which is empty at first.
    """
    statement = EXPORT.format(
        key=source.key, shown=source.shown, table=source.table, found=source.found
    )
    values = _values(person, item_ids) | {"after": after, "limit": limit}
    cursor = await conn.execute(statement.encode(), values, prepare=False)
    return [(str(key), str(shown)) for key, shown in await cursor.fetchall()]


def _values(person: Person, item_ids: Sequence[UUID]) -> dict[str, object]:
    """Return what conditions compare with; whatever names one of these items is found as well."""
    return {
        "team_id": person.team_id,
        "number": person.number,
        "pattern": "|".join([person.pattern, *map(str, item_ids)]),
        "ids": list(item_ids),
    }

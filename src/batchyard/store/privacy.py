"""What is stored about one person: found, shown, and taken out while every count stays right."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from batchyard.store.db import Connection

ERASED = '{"erased": true}'


@dataclass(frozen=True, kw_only=True, slots=True)
class Person:
    """Whom to look for within a team."""

    team_id: int
    pattern: str
    """A regular expression that fits any writing of the number or e-mail."""
    number: str | None
    """In international format."""


LIST_BATCHES = "SELECT id FROM batches WHERE team_id = %(team_id)s ORDER BY id"


async def list_batches(conn: Connection, *, team_id: int) -> list[UUID]:
    """List every batch of a team, deleted ones and uploads too."""
    rows = await (await conn.execute(LIST_BATCHES, {"team_id": team_id})).fetchall()
    return [row[0] for row in rows if isinstance(row[0], UUID)]


ABOUT = """
(d.number = %(number)s
 OR concat_ws(' ', d.number, d.reference, d.payload, d.result, d.attempts, d.corrections,
              d.error_message) ~* %(pattern)s)
"""

FIND_ITEMS = f"""
SELECT d.item_id FROM item_data d
 WHERE d.batch_id = %(batch_id)s AND {ABOUT}
   AND d.payload <> '{ERASED}'
"""


async def find_items(conn: Connection, person: Person, *, batch_id: UUID) -> list[UUID]:
    """Find the items of a batch that are about a person."""
    values = {"batch_id": batch_id, "number": person.number, "pattern": person.pattern}
    rows = await (await conn.execute(FIND_ITEMS.encode(), values)).fetchall()
    return [row[0] for row in rows if isinstance(row[0], UUID)]


# In id order, as everybody locks items.
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
       attempts = (SELECT coalesce(jsonb_agg(e - 'error_message' - 'reference'), '[]')
                     FROM jsonb_array_elements(attempts) AS e),
       ended_at = coalesce(ended_at, %(now)s)
 WHERE item_id = ANY (%(ids)s)
"""

ERASE_WARNINGS = """
UPDATE row_warnings w SET reason = 'erased'
  FROM item_data d
 WHERE d.item_id = ANY (%(ids)s) AND w.batch_id = d.batch_id AND w.line = d.position
"""

ERASE_DOCUMENTS = "DELETE FROM documents WHERE item_id = ANY (%(ids)s) RETURNING location"

ERASE_OF_ITEMS = (
    "DELETE FROM webhook_deliveries WHERE item_id = ANY (%(ids)s)",
    "DELETE FROM contact_attempts WHERE item_id = ANY (%(ids)s)",
    "DELETE FROM pending_erasures WHERE item_id = ANY (%(ids)s)",
    "UPDATE events SET data = '{}' WHERE item_id = ANY (%(ids)s)",
    "UPDATE bookings SET key = NULL WHERE item_id = ANY (%(ids)s)",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ErasedItems:
    """What became of items that were to be erased."""

    erased: Sequence[UUID]
    postponed: Sequence[UUID]
    """In flight: they are erased once they have ended."""
    locations: Sequence[str]
    """Contents of documents that are kept outside the database."""
    documents: int


async def erase_items(conn: Connection, ids: Sequence[UUID], *, now: datetime) -> ErasedItems:
    """Erase items; those not yet sent are cancelled."""
    rows = await (await conn.execute(LOCK_ITEMS, {"ids": list(ids)})).fetchall()
    phases = {row[0]: str(row[1]) for row in rows if isinstance(row[0], UUID)}
    postponed = [key for key, phase in phases.items() if phase not in ("ready", "done")]
    chosen = [key for key, phase in phases.items() if phase in ("ready", "done")]
    values = {"ids": chosen, "now": now}
    await conn.execute(POSTPONE, {"ids": postponed, "now": now})
    await conn.execute(CANCEL, values)
    await conn.execute(ERASE_WARNINGS, values)
    await conn.execute(ERASE_ITEMS.encode(), values)
    documents = await (await conn.execute(ERASE_DOCUMENTS, values)).fetchall()
    for statement in ERASE_OF_ITEMS:
        await conn.execute(statement.encode(), values)
    return ErasedItems(
        erased=chosen,
        postponed=postponed,
        locations=[str(row[0]) for row in documents if row[0] is not None],
        documents=len(documents),
    )


FIND_PENDING = """
SELECT p.item_id FROM pending_erasures p JOIN items i ON i.id = p.item_id
 WHERE i.phase IN ('ready', 'done') LIMIT %(limit)s
"""


async def find_pending(conn: Connection, *, limit: int) -> list[UUID]:
    """Find items that ended since their erasure was asked for."""
    rows = await (await conn.execute(FIND_PENDING, {"limit": limit})).fetchall()
    return [row[0] for row in rows if isinstance(row[0], UUID)]


IS_OF_TEAM = "batch_id IN (SELECT id FROM batches WHERE team_id = %(team_id)s)"

# The kinds of an erased row stay, so that every count does.
ERASE_ELSEWHERE: Mapping[str, str] = {
    "refused_rows": f"""
        UPDATE rejected_rows
           SET reason = 'erased',
               cells = CASE jsonb_typeof(cells) WHEN 'array' THEN '[]' ELSE '{ERASED}'::jsonb END
         WHERE {IS_OF_TEAM} AND concat_ws(' ', reason, cells) ~* %(pattern)s""",
    "warnings": f"""
        UPDATE row_warnings SET reason = 'erased'
         WHERE {IS_OF_TEAM} AND reason ~* %(pattern)s""",
    "webhook_deliveries": """
        DELETE FROM webhook_deliveries
         WHERE team_id = %(team_id)s AND data::text ~* %(pattern)s""",
    "idempotency_bodies": f"""
        UPDATE idempotency SET body = '{ERASED}'
         WHERE team_id = %(team_id)s AND body IS NOT NULL
           AND encode(body, 'escape') ~* %(pattern)s""",
    "staged_rows": """
        DELETE FROM staged_mends
         WHERE upload_id IN (SELECT id FROM uploads WHERE team_id = %(team_id)s)
           AND concat_ws(' ', number, reference, payload) ~* %(pattern)s""",
    "contact_attempts": """
        DELETE FROM contact_attempts WHERE team_id = %(team_id)s AND number = %(number)s""",
    "events": """
        UPDATE events SET data = '{}' WHERE team_id = %(team_id)s AND data::text ~* %(pattern)s""",
    "batches": """
        UPDATE batches
           SET reference = CASE WHEN reference !~* %(pattern)s THEN reference END,
               identifier = CASE WHEN identifier !~* %(pattern)s THEN identifier END,
               file_name = CASE WHEN file_name !~* %(pattern)s THEN file_name END
         WHERE team_id = %(team_id)s
           AND concat_ws(' ', reference, identifier, file_name) ~* %(pattern)s""",
    "uploads": """
        UPDATE uploads SET file_name = NULL
         WHERE team_id = %(team_id)s AND file_name ~* %(pattern)s""",
    "audit_entries": f"""
        UPDATE audit_log
           SET before = CASE WHEN before IS NOT NULL THEN '{ERASED}'::jsonb END,
               after = CASE WHEN after IS NOT NULL THEN '{ERASED}'::jsonb END,
               subject = CASE WHEN subject !~* %(pattern)s THEN subject END
         WHERE team_id = %(team_id)s
           AND concat_ws(' ', subject, before, after) ~* %(pattern)s""",
}
FORGET_WISH = "DELETE FROM do_not_contact WHERE team_id = %(team_id)s AND number = %(number)s"
ALLOW = "SET LOCAL batchyard.erasing = 'on'"


async def erase_elsewhere(
    conn: Connection, person: Person, *, also: Sequence[UUID], keep_do_not_contact: bool
) -> dict[str, int]:
    """Erase a person, and what names these items, from all other tables; return rows by kind."""
    values = {
        "team_id": person.team_id,
        "number": person.number,
        "pattern": "|".join([person.pattern, *map(str, also)]),
    }
    await conn.execute(ALLOW)
    counts = {
        name: (await conn.execute(statement.encode(), values)).rowcount
        for name, statement in ERASE_ELSEWHERE.items()
    }
    if not keep_do_not_contact:
        counts["do_not_contact"] = (await conn.execute(FORGET_WISH, values)).rowcount
    return counts


EXPORT: Mapping[str, str] = {
    "items": f"""
        SELECT to_jsonb(d) FROM item_data d
         WHERE d.{IS_OF_TEAM} AND {ABOUT} LIMIT 10000""",
    "documents": f"""
        SELECT to_jsonb(f) - 'content' FROM documents f
         WHERE f.item_id IN (SELECT d.item_id FROM item_data d WHERE d.{IS_OF_TEAM} AND {ABOUT})""",
    "refused_rows": f"""
        SELECT to_jsonb(r) FROM rejected_rows r
         WHERE r.{IS_OF_TEAM} AND concat_ws(' ', r.reason, r.cells) ~* %(pattern)s""",
    "webhook_deliveries": """
        SELECT to_jsonb(w) FROM webhook_deliveries w
         WHERE w.team_id = %(team_id)s AND w.data::text ~* %(pattern)s""",
    "idempotency_bodies": """
        SELECT jsonb_build_object('key', key, 'created_at', created_at,
                                  'body', encode(body, 'escape'))
          FROM idempotency
         WHERE team_id = %(team_id)s AND encode(body, 'escape') ~* %(pattern)s""",
    "do_not_contact": """
        SELECT to_jsonb(c) FROM do_not_contact c
         WHERE c.team_id = %(team_id)s AND c.number = %(number)s""",
    "contact_attempts": """
        SELECT to_jsonb(c) FROM contact_attempts c
         WHERE c.team_id = %(team_id)s AND c.number = %(number)s""",
    "audit_entries": """
        SELECT to_jsonb(a) FROM audit_log a
         WHERE a.team_id = %(team_id)s
           AND concat_ws(' ', subject, before, after) ~* %(pattern)s""",
}


async def export(conn: Connection, person: Person) -> dict[str, list[object]]:
    """Return every row about a person, by kind."""
    values = {"team_id": person.team_id, "number": person.number, "pattern": person.pattern}
    found: dict[str, list[object]] = {}
    for name, statement in EXPORT.items():
        rows = await (await conn.execute(statement.encode(), values)).fetchall()
        found[name] = [row[0] for row in rows]
    return found

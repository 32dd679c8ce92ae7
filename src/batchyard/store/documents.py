"""Files that belong to items: labels and the like."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row

from batchyard.models import Document, JsonObject
from batchyard.store import removals
from batchyard.store.db import Connection
from batchyard.store.ids import new_id

# Locks in id order, as every writer of items does; only items still open to an answer.
LOCK_OPEN = """
SELECT i.id, i.try FROM items i
 WHERE i.id = ANY (%(ids)s) AND i.phase IN ('calling', 'live', 'unknown')
 ORDER BY i.id FOR UPDATE
"""

COPY_DOCUMENTS = """
COPY documents (id, item_id, kind, format, parcel, content, location, created_at) FROM STDIN
"""


async def add_to_open_attempts(
    conn: Connection, documents: Sequence[tuple[UUID, int, Document]], *, now: datetime
) -> None:
    """Store documents, each with its item and attempt, of attempts that are about to end.

    Those of attempts that have ended are known already, or belong to nothing; their contents
    outside the database go. Part of the transaction that ends the items: an item is never booked
    without its label.
    """
    ids = sorted({item_id for item_id, _, _ in documents})
    cursor = await conn.execute(LOCK_OPEN, {"ids": ids})
    open_attempts = {(row[0], row[1]) for row in await cursor.fetchall()}
    left: list[tuple[UUID, str]] = []
    async with conn.cursor() as writer, writer.copy(COPY_DOCUMENTS) as copy:
        for item_id, attempt, document in documents:
            if (item_id, attempt) in open_attempts:
                is_here = document.location is None
                await copy.write_row(
                    (
                        new_id(),
                        item_id,
                        document.kind,
                        document.format,
                        document.parcel,
                        document.content if is_here else None,
                        document.location,
                        now,
                    )
                )
            elif document.location is not None:
                left.append((item_id, document.location))
    if left:
        await removals.add_unstored(conn, left)


@dataclass(frozen=True, kw_only=True, slots=True)
class BookedItem:
    """What is known of a booked shipment, to print labels from it."""

    id: UUID
    position: int
    payload: JsonObject
    result: JsonObject | None
    provider_reference: str | None
    sender: JsonObject | None
    """Of its team, as it is set now."""


# In the order of the batch. `after` is the last one seen, so that each block is found by the index,
# however far it is; of a line that two items have, neither may be passed over.
LIST_BOOKED = """
SELECT d.item_id AS id, d.position, d.payload, d.result, d.provider_reference, s.sender
  FROM item_data d
  JOIN items i ON i.id = d.item_id
  JOIN batches b ON b.id = d.batch_id
  LEFT JOIN senders s ON s.team_id = b.team_id
 WHERE d.batch_id = %(batch_id)s AND b.team_id = %(team_id)s
   AND (d.position, d.item_id) > (%(position)s, %(item_id)s)
   AND i.phase = 'done' AND i.status = 'booked'
   AND (%(ids)s::uuid[] IS NULL OR d.item_id = ANY (%(ids)s))
 ORDER BY d.position, d.item_id
 LIMIT %(limit)s
"""


async def list_booked(
    conn: Connection,
    *,
    team_id: int,
    batch_id: UUID,
    ids: Sequence[UUID] | None,
    after: tuple[int, UUID],
    limit: int,
) -> list[BookedItem]:
    """List booked items of a batch behind one of them; all, or those among `ids`."""
    async with conn.cursor(row_factory=class_row(BookedItem)) as cursor:
        await cursor.execute(
            LIST_BOOKED,
            {
                "team_id": team_id,
                "batch_id": batch_id,
                "ids": None if ids is None else list(ids),
                "position": after[0],
                "item_id": after[1],
                "limit": limit,
            },
        )
        return await cursor.fetchall()


LIST_MEMBERS = """
SELECT i.id
  FROM items i JOIN batches b ON b.id = i.batch_id
 WHERE i.id = ANY (%(ids)s) AND i.batch_id = %(batch_id)s AND b.team_id = %(team_id)s
"""


async def list_members(
    conn: Connection, *, team_id: int, batch_id: UUID, ids: Sequence[UUID]
) -> set[UUID]:
    """Tell which of these items are in a batch."""
    cursor = await conn.execute(
        LIST_MEMBERS, {"team_id": team_id, "batch_id": batch_id, "ids": list(ids)}
    )
    return {row[0] for row in await cursor.fetchall() if isinstance(row[0], UUID)}


READ_ITEM = """
SELECT d.item_id AS id, d.position, d.payload,
       CASE WHEN i.phase = 'done' AND i.status = 'booked' THEN d.result END AS result,
       d.provider_reference, s.sender
  FROM item_data d
  JOIN items i ON i.id = d.item_id
  JOIN batches b ON b.id = i.batch_id
  LEFT JOIN senders s ON s.team_id = b.team_id
 WHERE d.item_id = %(item_id)s AND b.kind = 'shipment' AND b.deleted_at IS NULL
   AND b.state <> 'importing' AND (%(team_id)s::bigint IS NULL OR b.team_id = %(team_id)s)
"""


async def read_item(conn: Connection, *, item_id: UUID, team_id: int | None) -> BookedItem | None:
    """Return a shipment, without a result unless it is booked; any team's where none is given."""
    async with conn.cursor(row_factory=class_row(BookedItem)) as cursor:
        await cursor.execute(READ_ITEM, {"item_id": item_id, "team_id": team_id})
        return await cursor.fetchone()


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredDocument:
    """A document as it is stored; with `content` or `location`, with neither where only listed."""

    id: UUID
    item_id: UUID
    kind: str
    format: str
    parcel: int | None
    size: int | None = None
    content: bytes | None = None
    location: str | None = None


LIST_OF_ITEMS = """
SELECT id, item_id, kind, format, parcel, octet_length(content) AS size
  FROM documents
 WHERE item_id = ANY (%(item_ids)s) AND kind = ANY (%(kinds)s) AND format = ANY (%(formats)s)
 ORDER BY item_id, kind DESC, parcel NULLS FIRST, format, id
"""


async def list_of_items(
    conn: Connection, *, item_ids: Sequence[UUID], kinds: Sequence[str], formats: Sequence[str]
) -> list[StoredDocument]:
    """List documents of items, labels first, parcel by parcel."""
    async with conn.cursor(row_factory=class_row(StoredDocument)) as cursor:
        await cursor.execute(
            LIST_OF_ITEMS,
            {"item_ids": list(item_ids), "kinds": list(kinds), "formats": list(formats)},
        )
        return await cursor.fetchall()


READ_MANY = """
SELECT id, item_id, kind, format, parcel, content, location
  FROM documents
 WHERE id = ANY (%(ids)s)
"""


async def read_many(conn: Connection, *, document_ids: Sequence[UUID]) -> list[StoredDocument]:
    """Return documents with their contents, or where those are."""
    async with conn.cursor(row_factory=class_row(StoredDocument)) as cursor:
        await cursor.execute(READ_MANY, {"ids": list(document_ids)})
        return await cursor.fetchall()


READ = """
SELECT m.id, m.item_id, m.kind, m.format, m.parcel, m.content, m.location
  FROM documents m
  JOIN items i ON i.id = m.item_id
  JOIN batches b ON b.id = i.batch_id
 WHERE m.id = %(id)s AND b.deleted_at IS NULL
"""


async def read(conn: Connection, *, document_id: UUID) -> StoredDocument | None:
    """Return a document of a shipment that was not deleted, with its content or where that is."""
    async with conn.cursor(row_factory=class_row(StoredDocument)) as cursor:
        await cursor.execute(READ, {"id": document_id})
        return await cursor.fetchone()

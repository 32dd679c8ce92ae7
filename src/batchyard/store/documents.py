"""Files that belong to items: labels and the like."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from batchyard.models import Document
from batchyard.store.db import Connection
from batchyard.store.ids import new_id

# Locks in id order, as every writer of items does; only items still open to this answer.
LOCK_OPEN = """
SELECT i.id FROM items i
 WHERE i.id = ANY (%(ids)s) AND i.phase IN ('calling', 'live', 'unknown')
 ORDER BY i.id FOR UPDATE
"""


async def add_to_open_items(
    conn: Connection, documents: Sequence[tuple[UUID, Document]], *, now: datetime
) -> None:
    """Store documents of items that are about to end; those of ended ones are known already.

    Part of the transaction that ends the items: an item is never booked without its label.
    """
    cursor = await conn.execute(LOCK_OPEN, {"ids": sorted({item_id for item_id, _ in documents})})
    is_open = {row[0] for row in await cursor.fetchall()}
    async with (
        conn.cursor() as writer,
        writer.copy(
            "COPY documents (id, item_id, kind, format, parcel, content, created_at) FROM STDIN"
        ) as copy,
    ):
        for item_id, document in documents:
            if item_id in is_open:
                await copy.write_row(
                    (
                        new_id(),
                        item_id,
                        document.kind,
                        document.format,
                        document.parcel,
                        document.content,
                        now,
                    )
                )

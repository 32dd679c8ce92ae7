"""The SELECTs behind what went wrong; PostgreSQL writes the JSON."""

from uuid import UUID

from batchyard.api.operator.item_queries import ITEM_JSON
from batchyard.lifecycle import FAILURE_STATUSES
from batchyard.store.db import Connection

# The narrow rows are sorted first, so that no wide row is read for nothing.
LIST_FAILURES = f"""
SELECT {ITEM_JSON}::text
  FROM (SELECT id FROM items
         WHERE batch_id = %(batch_id)s AND status = ANY (%(statuses)s)
         ORDER BY updated_at DESC, id DESC LIMIT %(limit)s) AS last
  JOIN items i ON i.id = last.id
  JOIN item_data d ON d.item_id = i.id
  JOIN batches b ON b.id = i.batch_id
 ORDER BY i.updated_at DESC, i.id DESC
"""


async def list_failures(conn: Connection, *, batch_id: UUID, limit: int) -> list[str]:
    """List the items of a batch that failed last, the latest first, as JSON."""
    cursor = await conn.execute(
        LIST_FAILURES,
        {"batch_id": batch_id, "statuses": sorted(FAILURE_STATUSES), "limit": limit},
    )
    return [str(row[0]) for row in await cursor.fetchall()]

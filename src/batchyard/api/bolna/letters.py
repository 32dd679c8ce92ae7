"""Bodies of webhooks in this door's words, written from what was true when it happened."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from batchyard.api.bolna.execution_sql import EXECUTION, RETRIES, WORD, join_parts
from batchyard.api.bolna.queries import sql_batch
from batchyard.api.bolna.sql_words import COUNT_WORD
from batchyard.api.bolna.translate import UNKNOWN_WORD, Version
from batchyard.lifecycle import UNKNOWN_STATUS
from batchyard.store.db import Database
from batchyard.store.deliveries import Delivery

# A call is told of when it changes, and again when its outcome has been unknown for the grace time;
# only then is it an error.
WORD_WHEN_TOLD = WORD.replace("%(unknown_before)s", "h.created_at")

# The rows as they are now, under what the delivery remembers of them, if that is still kept.
CALLS = f"""
SELECT h.id, {EXECUTION}, {RETRIES}
  FROM webhook_deliveries h
  JOIN batches b0 ON b0.id = h.batch_id AND b0.deleted_at IS NULL
  JOIN items i0 ON i0.id = h.item_id
  JOIN item_data d0 ON d0.item_id = h.item_id
 CROSS JOIN LATERAL jsonb_populate_record(b0, h.data -> 'batch') AS b
 CROSS JOIN LATERAL jsonb_populate_record(i0, h.data -> 'item') AS i
 CROSS JOIN LATERAL jsonb_populate_record(d0, h.data -> 'item_data') AS d
 {WORD_WHEN_TOLD}
 WHERE h.id = ANY (%(ids)s) AND h.data <> '{{}}'
"""

COUNTED = f"""
(SELECT coalesce(json_object_agg(word, n ORDER BY word), '{{}}')
   FROM (SELECT CASE c.status WHEN '{UNKNOWN_STATUS}' THEN '{UNKNOWN_WORD}'
                              ELSE {COUNT_WORD} END AS word, sum(c.n) AS n
           FROM jsonb_to_recordset(h.data -> 'counts') AS c (status text, n bigint)
          GROUP BY 1) AS summed)
"""

BATCHES = {
    version: f"""
SELECT h.id, json_build_object(
           'event', h.type,
           'batch', {sql_batch(version, execution_status=COUNTED)},
           'executions_url',
           %(base_url)s::text || '/batches/' || replace(b.id::text, '-', '') || '/executions'
       )::text, NULL
  FROM webhook_deliveries h
  JOIN batches b0 ON b0.id = h.batch_id AND b0.deleted_at IS NULL
 CROSS JOIN LATERAL jsonb_populate_record(b0, h.data -> 'batch') AS b
 WHERE h.id = ANY (%(ids)s) AND h.item_id IS NULL AND h.data <> '{{}}'
"""
    for version in Version
}


async def render(
    db: Database, *, deliveries: Sequence[Delivery], base_url: str
) -> Mapping[UUID, bytes]:
    """Write the body of each delivery; nothing is told of what was deleted since."""
    version = Version(deliveries[0].format.partition("/")[2])
    parameters = {
        "ids": [delivery.id for delivery in deliveries],
        "base_url": base_url,
        "now": db.clock(),
    }
    bodies: dict[UUID, bytes] = {}
    async with db.pool.connection() as conn:
        for statement in (CALLS, BATCHES[version]):
            cursor = await conn.execute(statement, parameters)
            for id_, body, more in await cursor.fetchall():
                if isinstance(id_, UUID):
                    text = join_parts(str(body), None if more is None else str(more))
                    bodies[id_] = text.encode()
    return bodies

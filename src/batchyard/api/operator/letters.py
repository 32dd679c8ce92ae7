"""Bodies of the webhooks of a team: what happened, when, and to what."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from batchyard.operations.endpoints import TEST
from batchyard.store.db import Database
from batchyard.store.deliveries import Delivery

DOOR = "operator"

# The rows as they are now, under what the delivery remembers of them, if that is still kept.
BODIES = """
SELECT h.id, json_build_object(
           'type', h.type, 'timestamp', h.created_at, 'number', h.number,
           'data', CASE WHEN h.item_id IS NULL THEN jsonb_build_object(
               'batch_id', b.id, 'kind', b.kind, 'reference', b.reference,
               'state', h.data #>> '{batch,state}', 'rows', h.data #> '{batch,total_rows}',
               'counts', (SELECT coalesce(jsonb_object_agg(word, n), '{}')
                            FROM (SELECT c.status AS word, sum(c.n) AS n
                                    FROM jsonb_to_recordset(h.data -> 'counts')
                                         AS c (status text, n bigint)
                                   GROUP BY 1) AS summed))
           ELSE jsonb_build_object(
               'item_id', h.item_id, 'batch_id', b.id, 'kind', b.kind,
               'line', d.position, 'number', d.number, 'reference', d.reference,
               'attempt', h.data #> '{item,try}', 'due_at', h.data #> '{item,due_at}')
               || jsonb_build_object('status', h.data #>> '{item,status}')
               || (h.data -> 'item_data')
           END)::text
  FROM webhook_deliveries h
  JOIN batches b ON b.id = h.batch_id AND b.deleted_at IS NULL
  LEFT JOIN item_data d ON d.item_id = h.item_id
 WHERE h.id = ANY (%(ids)s) AND (h.item_id IS NULL) = (d.item_id IS NULL) AND h.data <> '{}'
"""

TESTS = """
SELECT h.id, json_build_object('type', h.type, 'timestamp', h.created_at, 'number', h.number,
                               'data', json_build_object('endpoint_id', h.subject))::text
  FROM webhook_deliveries h
 WHERE h.id = ANY (%(ids)s)
"""


async def render(
    db: Database, *, deliveries: Sequence[Delivery], base_url: str
) -> Mapping[UUID, bytes]:
    """Write the body of each delivery; nothing is told of what was deleted since."""
    del base_url
    bodies: dict[UUID, bytes] = {}
    async with db.pool.connection() as conn:
        for statement, is_test in ((BODIES, False), (TESTS, True)):
            ids = [one.id for one in deliveries if (one.type == TEST) is is_test]
            cursor = await conn.execute(statement, {"ids": ids})
            for id_, body in await cursor.fetchall():
                if isinstance(id_, UUID):
                    bodies[id_] = str(body).encode()
    return bodies

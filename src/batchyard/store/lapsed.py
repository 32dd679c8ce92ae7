"""Unknown outcomes that nobody was told in time: those who listen hear that it is too late."""

from datetime import datetime, timedelta

from batchyard.store.db import Connection

# The row is as a trigger writes it (0012.endpoints.sql), at the time it is told and not at the one
# the item was changed: the door that renders it compares the two. Items are locked in id order, as
# everywhere, so that nobody else takes the next number; one that is held is met the next time.
TELL = """
WITH lapsed AS MATERIALIZED (
    SELECT e.id AS endpoint_id, b.state, i.*
      FROM items i
      JOIN batches b ON b.id = i.batch_id
      JOIN webhook_endpoints e ON e.agent_id = b.agent_id
     WHERE i.phase = 'unknown'
       AND i.updated_at >= %(since)s AND i.updated_at < %(unknown_before)s
       AND b.deleted_at IS NULL AND e.removed_at IS NULL
       AND NOT EXISTS (SELECT FROM webhook_deliveries t
                        WHERE t.endpoint_id = e.id AND t.subject = i.id
                          AND t.created_at > i.updated_at)
     ORDER BY i.id
     LIMIT %(limit)s
       FOR NO KEY UPDATE OF i SKIP LOCKED
)
INSERT INTO webhook_deliveries
       (endpoint_id, team_id, batch_id, item_id, number, type, data,
        due_at, expires_at, created_at)
SELECT n.endpoint_id, n.team_id, n.batch_id, n.id,
       1 + coalesce((SELECT max(t.number) FROM webhook_deliveries t
                      WHERE t.endpoint_id = n.endpoint_id AND t.subject = n.id), 0),
       'item.error',
       jsonb_build_object(
           'batch', jsonb_build_object('state', n.state),
           'item', jsonb_build_object(
               'phase', n.phase, 'status', n.status, 'try', n.try, 'due_at', n.due_at,
               'updated_at', n.updated_at),
           'item_data', jsonb_build_object(
               'provider', d.provider, 'provider_reference', d.provider_reference,
               'result', d.result, 'attempts', d.attempts, 'error_code', d.error_code,
               'error_message', d.error_message, 'ended_at', d.ended_at)),
       %(now)s, %(now)s::timestamptz + %(window)s, %(now)s
  FROM lapsed n JOIN item_data d ON d.item_id = n.id
 ORDER BY n.id
"""


async def tell(
    conn: Connection,
    *,
    since: datetime,
    unknown_before: datetime,
    window: timedelta,
    limit: int,
    now: datetime,
) -> int:
    """Tell agents' addresses of items unknown since between these times; return of how many.

    Each item is told of once, unless it is changed again.
    """
    given = {
        "since": since,
        "unknown_before": unknown_before,
        "window": window,
        "limit": limit,
        "now": now,
    }
    return (await conn.execute(TELL, given)).rowcount

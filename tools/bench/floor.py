"""The bare SQL: claim 500, settle 500 by primary key; the counts follow by the trigger."""

import psycopg

from batchyard.clock import monotonic
from tools.bench import filling, yard

BLOCK = 500

CLAIM = """
UPDATE items SET phase = 'calling', status = 'sending', intent_at = now(), worker_id = 1,
                 lease = lease + 1, sends = sends + 1, updated_at = now()
 WHERE id IN (SELECT id FROM items
               WHERE batch_id = %s AND phase = 'ready' AND due_at <= now()
               ORDER BY due_at, id LIMIT %s FOR UPDATE SKIP LOCKED)
RETURNING id
"""
SETTLE = """
UPDATE items SET phase = 'done', status = 'booked', worker_id = NULL, updated_at = now()
 WHERE id = ANY(%s)
"""


def floor(url: str, *, items: int) -> float:
    """Move items by one connection, nothing else; return items a second."""
    (batch_id,) = filling.fill(url, items=items)
    yard.settle(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.prepare_threshold = 1
        began = monotonic()
        while claimed := connection.execute(CLAIM, (batch_id, BLOCK), binary=True).fetchall():
            connection.execute(SETTLE, ([row[0] for row in claimed],))
        return items / (monotonic() - began)

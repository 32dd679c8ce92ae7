"""Numbers of the whole installation for `/metrics`; names and contents of nobody are in them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from batchyard.store.db import Connection

COUNTED_AT_MOST = 100_000
"""Due items beyond it are not counted: the answer is the same, more workers."""

ENDED_WITHIN = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Gauges:
    """How the installation stands."""

    items: Mapping[str, int]
    due_items: int
    """Due, and taken by no worker."""
    queue_age_seconds: float
    """How long the longest waiting of them has been due."""
    imports: int
    deliveries: Mapping[str, int]
    """Webhooks that wait, and those that ended lately, by state."""
    workers: int


ITEMS = """
SELECT c.status, sum(c.n)::bigint
  FROM batch_counts c JOIN batches b ON b.id = c.batch_id
 WHERE b.deleted_at IS NULL AND b.state <> 'importing'
 GROUP BY 1 HAVING sum(c.n) > 0
"""

# By batch, since items are indexed so; the bound holds for all batches together.
DUE = """
SELECT count(*)::bigint
  FROM (SELECT
          FROM batches b
          CROSS JOIN LATERAL (
              SELECT FROM items
               WHERE batch_id = b.id AND phase = 'ready' AND due_at <= %(now)s
               ORDER BY due_at LIMIT %(limit)s) AS i
         WHERE b.state IN ('queued', 'running')
         LIMIT %(limit)s) AS due
"""

# Without a bound: of each batch the index gives its first one.
OLDEST_DUE = """
SELECT min(i.due_at)
  FROM batches b
  CROSS JOIN LATERAL (
      SELECT due_at FROM items
       WHERE batch_id = b.id AND phase = 'ready' AND due_at <= %(now)s
       ORDER BY due_at LIMIT 1) AS i
 WHERE b.state IN ('queued', 'running')
"""

IMPORTS = "SELECT count(*)::bigint FROM batches WHERE state = 'importing'"

DELIVERIES = """
SELECT state, count(*)::bigint FROM webhook_deliveries
 WHERE ended_at IS NULL OR ended_at > %(since)s
 GROUP BY state
"""

WORKERS = """
SELECT count(*)::bigint FROM workers WHERE ended_at IS NULL AND beat_at >= %(since)s
"""


async def read_gauges(conn: Connection, *, now: datetime, beaten_within: timedelta) -> Gauges:
    """Read the numbers; workers that have beaten lately count."""
    oldest = (await _rows(conn, OLDEST_DUE, now=now))[0][0]
    age = now - oldest if isinstance(oldest, datetime) else timedelta()
    return Gauges(
        items=_by_word(await _rows(conn, ITEMS)),
        due_items=int(str((await _rows(conn, DUE, now=now, limit=COUNTED_AT_MOST))[0][0])),
        queue_age_seconds=age.total_seconds(),
        imports=int(str((await _rows(conn, IMPORTS))[0][0])),
        deliveries=_by_word(await _rows(conn, DELIVERIES, since=now - ENDED_WITHIN)),
        workers=int(str((await _rows(conn, WORKERS, since=now - beaten_within))[0][0])),
    )


async def _rows(conn: Connection, query: str, **values: object) -> list[tuple[object, ...]]:
    return await (await conn.execute(query.encode(), values)).fetchall()


def _by_word(rows: list[tuple[object, ...]]) -> Mapping[str, int]:
    return {str(word): int(str(number)) for word, number in rows}

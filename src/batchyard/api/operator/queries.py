"""The SELECTs behind the lists of batches; PostgreSQL writes the JSON."""

from collections.abc import Mapping
from uuid import UUID

from batchyard.store.db import Connection
from batchyard.store.item_filters import join_conditions, plan_and_fetch
from batchyard.store.runs import ROUTED

BATCH_JSON = """
jsonb_build_object(
    'id', b.id, 'kind', b.kind, 'state', b.state, 'file_name', b.file_name,
    'reference', b.reference, 'identifier', b.identifier, 'agent_id', b.agent_id,
    'is_single', b.is_single, 'priority', b.priority, 'retry_policy', b.retry_policy,
    'has_brake', b.has_brake, 'bypass_windows', b.bypass_windows,
    'from_numbers', to_jsonb(b.from_numbers),
    'limits', (SELECT jsonb_build_object(
                          'concurrency', l.concurrency,
                          'rates', coalesce(jsonb_agg(
                              jsonb_build_object('count', r.count, 'seconds', r.seconds)
                              ORDER BY r.seconds) FILTER (WHERE r.key IS NOT NULL), '[]'),
                          'burst', max(r.burst))
                 FROM limits l LEFT JOIN rates r ON r.key = l.key
                WHERE l.key = 'batch:' || b.id
                GROUP BY l.key),
    'rows', b.total_rows, 'refused_rows', b.refused_rows,
    'total', (SELECT coalesce(sum(c.n), 0) FROM batch_counts c WHERE c.batch_id = b.id),
    'counts', (SELECT coalesce(jsonb_object_agg(s.status, s.n), '{}')
                 FROM (SELECT c.status, sum(c.n) AS n FROM batch_counts c
                        WHERE c.batch_id = b.id AND c.n <> 0 GROUP BY c.status) AS s),
    'phases', (SELECT coalesce(jsonb_object_agg(s.phase, s.n), '{}')
                 FROM (SELECT c.phase, sum(c.n) AS n FROM batch_counts c
                        WHERE c.batch_id = b.id AND c.n <> 0 GROUP BY c.phase) AS s),
    'scheduled_at', b.scheduled_at, 'created_at', b.created_at, 'updated_at', b.updated_at,
    'started_at', b.started_at, 'finished_at', b.finished_at,
    'wait_reason', b.wait_reason, 'wait_until', b.wait_until)
"""

SORTS: Mapping[str, tuple[str, str]] = {
    "-created_at": ("b.created_at", "<"),
    "created_at": ("b.created_at", ">"),
    "-updated_at": ("b.updated_at", "<"),
    "updated_at": ("b.updated_at", ">"),
}
"""Sorts a client may ask for: the column, and how the next page compares with the cursor."""

BATCH_FILTERS: Mapping[str, str] = {
    "kind": "b.kind = %(kind)s",
    "states": "b.state = ANY (%(states)s)",
    "agent_id": "b.agent_id = %(agent_id)s",
    "created_after": "b.created_at >= %(created_after)s",
    "created_before": "b.created_at < %(created_before)s",
    # Where its items went, or go once they are sent; without a route that is the sandbox.
    "provider": f"""EXISTS (
        SELECT FROM providers p
         WHERE p.name = %(provider)s
           AND (b.state IN ('open', 'scheduled', 'queued', 'running', 'paused')
                AND (SELECT coalesce(r.provider_id = p.id, p.kind = 'sandbox')
                       FROM (SELECT {ROUTED} AS provider_id) AS r)
                OR EXISTS (SELECT FROM items i
                            WHERE i.batch_id = b.id AND i.provider_id = p.id)))""",
    "text": """(strpos(lower(coalesce(b.file_name, '')), lower(%(text)s)) > 0
        OR strpos(lower(coalesce(b.reference, '')), lower(%(text)s)) > 0
        OR strpos(lower(coalesce(b.identifier, '')), lower(%(text)s)) > 0)""",
    "after_at": "({column}, b.id) {compares} (%(after_at)s::timestamptz, %(after_id)s::uuid)",
}

LIST_BATCHES = """
SELECT {batch}::text, {column}, b.id
  FROM batches b
 WHERE b.team_id = %(team_id)s AND b.deleted_at IS NULL AND b.state <> 'importing'
   AND b.is_single = %(is_single)s{where}
 ORDER BY {column} {direction}, b.id {direction}
 LIMIT %(limit)s
"""


async def list_batches(
    conn: Connection, filters: Mapping[str, object], *, sort: str
) -> list[tuple[str, object, UUID]]:
    """List batches as (JSON, when they were created or changed, id)."""
    column, compares = SORTS[sort]
    query = LIST_BATCHES.format(
        batch=BATCH_JSON,
        where=join_conditions(BATCH_FILTERS, filters).format(column=column, compares=compares),
        column=column,
        direction="DESC" if compares == "<" else "ASC",
    )
    rows = await plan_and_fetch(conn, query, filters)
    return [(str(row[0]), row[1], UUID(str(row[2]))) for row in rows]


READ_BATCH = f"""
SELECT {BATCH_JSON}::text FROM batches b
 WHERE b.id = %(batch_id)s AND b.team_id = %(team_id)s AND b.deleted_at IS NULL
   AND b.state <> 'importing'
"""


async def read_batch(conn: Connection, *, team_id: int, batch_id: UUID) -> str | None:
    """Return a batch as JSON."""
    row = await (
        await conn.execute(READ_BATCH, {"batch_id": batch_id, "team_id": team_id})
    ).fetchone()
    return str(row[0]) if row else None


FIND_KIND = """
SELECT kind FROM batches
 WHERE id = %(batch_id)s AND team_id = %(team_id)s AND deleted_at IS NULL AND state <> 'importing'
"""


async def find_kind(conn: Connection, *, team_id: int, batch_id: UUID) -> str | None:
    """Return the kind of a batch of the team."""
    row = await (
        await conn.execute(FIND_KIND, {"batch_id": batch_id, "team_id": team_id})
    ).fetchone()
    return str(row[0]) if row else None

"""Work put into a database by PostgreSQL itself, so that only what comes after is measured."""

from uuid import UUID, uuid4

import psycopg

from batchyard.models import Kind
from tools.bench.yard import SLUG, ensure_team

MAKE_BATCHES = """
INSERT INTO batches (id, team_id, kind, state, agent_id, created_at, updated_at, finished_at,
                     total_rows)
SELECT uuidv7(), %(team)s, %(kind)s, %(state)s, %(agent)s, now(), now(), %(finished)s, %(items)s
  FROM generate_series(1, %(batches)s)
RETURNING id
"""

MAKE_ITEMS = """
INSERT INTO items (id, batch_id, team_id, phase, status, due_at, updated_at)
SELECT uuidv7(), %(batch)s, %(team)s, %(phase)s, %(status)s, now(), now()
  FROM generate_series(1, %(items)s)
"""

MAKE_DATA = """
INSERT INTO item_data (item_id, batch_id, position, number, payload, provider, attempts,
                       created_at, ended_at)
SELECT id, batch_id, n, %(prefix)s || to_char(n %% 1000000, 'FM000000'),
       jsonb_build_object('n', n, 'reference', 'order ' || n),
       CASE WHEN phase = 'done' THEN 'no-op' END,
       CASE WHEN phase = 'done' THEN jsonb_build_array(jsonb_build_object(
           'attempt', 1, 'key', id || '.1', 'status', status,
           'sent_at', now(), 'ended_at', now())) ELSE '[]' END,
       now(), CASE WHEN phase = 'done' THEN now() END
  FROM (SELECT id, batch_id, phase, status, row_number() OVER (ORDER BY id) AS n
          FROM items WHERE batch_id = %(batch)s) AS made
"""

MAKE_COUNT = """
INSERT INTO batch_counts (batch_id, phase, status, n)
VALUES (%(batch)s, %(phase)s, %(status)s, %(items)s)
"""


def fill(
    url: str,
    *,
    items: int,
    batches: int = 1,
    kind: Kind = Kind.SHIPMENT,
    agent_id: UUID | None = None,
    is_done: bool = False,
    slug: str = SLUG,
) -> list[UUID]:
    """Put batches into the database that share so many items, open or done; return their ids.

    Filled by PostgreSQL itself, the counts by hand: only what comes after is measured.
    """
    team = ensure_team(url, slug)
    word = "completed" if kind is Kind.CALL else "booked"
    values: dict[str, object] = {
        "team": team.id,
        "kind": kind,
        "agent": agent_id,
        "batches": batches,
        "items": items // batches,
        "prefix": "+4520" if kind is Kind.CALL else None,
        "state": "completed" if is_done else "open",
        "phase": "done" if is_done else "ready",
        "status": word if is_done else "waiting",
    }
    with psycopg.connect(url) as connection:
        # Neither foreign keys nor counting triggers, which take most of the time.
        connection.execute("SET session_replication_role = replica")
        values["finished"] = _now(connection) if is_done else None
        made = [row[0] for row in connection.execute(MAKE_BATCHES, values)]
        for batch_id in made:
            for statement in (MAKE_ITEMS, MAKE_DATA, MAKE_COUNT):
                connection.execute(statement, {**values, "batch": batch_id})
            connection.commit()
    return made


FILL_LIST = """
INSERT INTO batches (id, team_id, kind, state, agent_id, file_name, reference, from_numbers,
                     total_rows, refused_rows, scheduled_at, created_at, updated_at, started_at,
                     finished_at)
SELECT gen_random_uuid(), %(team)s, %(kind)s, 'completed', %(agent)s, 'customers.csv',
       'order ' || n, CASE %(kind)s WHEN 'call' THEN '{+19876543007}' ELSE '{}' END::text[],
       11, 4, now(), now() - n * interval '1 min', now(), now(), now()
  FROM generate_series(1, %(batches)s) AS n
"""

FILL_COUNTS = """
INSERT INTO batch_counts (batch_id, phase, status, n)
SELECT id, 'done', unnest(%(words)s::text[]), 3 FROM batches
 WHERE kind = %(kind)s AND reference LIKE 'order %%'
"""


def fill_list(url: str, *, batches: int, kind: Kind, agent_id: UUID | None = None) -> None:
    """Put ended batches with counts, but without items, into the database: a long list."""
    words = ["completed", "busy", "no-answer"] if kind is Kind.CALL else ["booked", "failed"]
    values = {
        "team": ensure_team(url).id,
        "kind": kind,
        "agent": agent_id,
        "batches": batches,
        "words": words,
    }
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(FILL_LIST, values)
        connection.execute(FILL_COUNTS, values)


def make_agent(url: str) -> UUID:
    """Give the team an agent, for calls."""
    agent_id, team = uuid4(), ensure_team(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO agents (id, team_id, name, created_at, updated_at)"
            " VALUES (%s, %s, 'Bench', now(), now())",
            (agent_id, team.id),
        )
    return agent_id


def _now(connection: psycopg.Connection[tuple[object, ...]]) -> object:
    row = connection.execute("SELECT now()").fetchone()
    return row[0] if row else None

"""Agents, their calls, numbers and the team itself, rendered to JSON by PostgreSQL."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from batchyard.api.bolna.call_queries import render_page
from batchyard.api.bolna.execution_sql import EXECUTION, RETRIES, WORD, join_parts
from batchyard.api.bolna.queries import Page, View, fetch_text
from batchyard.api.bolna.sql_words import sql_age, sql_time
from batchyard.store.db import Database
from batchyard.store.limits import team_key

# As the vendor gives an agent back: its configuration is not inside anything.
AGENT = f"""
(jsonb_build_object('agent_type', 'other')
 || a.extra || a.config
 || jsonb_build_object(
    'id', a.id, 'agent_name', a.name, 'agent_status', 'processed',
    'agent_prompts', coalesce(a.prompts, '{{}}'),
    'created_at', {sql_time("a.created_at")}, 'updated_at', {sql_time("a.updated_at")}))
"""

READ_AGENT = f"""
SELECT ({AGENT})::text FROM agents a
 WHERE a.id = %(agent_id)s AND a.team_id = %(team_id)s AND a.deleted_at IS NULL
"""

LIST_AGENTS = f"""
SELECT '[' || coalesce(string_agg(listed.agent, ',' ORDER BY listed.created_at DESC, listed.id), '')
           || ']'
  FROM (SELECT ({AGENT})::text AS agent, a.created_at, a.id FROM agents a
         WHERE a.team_id = %(team_id)s AND a.deleted_at IS NULL) AS listed
"""


async def read_agent(db: Database, *, team_id: int, agent_id: UUID) -> bytes | None:
    """Render an agent; None when the team has no such agent."""
    return await fetch_text(db, READ_AGENT, {"team_id": team_id, "agent_id": agent_id})


async def list_agents(db: Database, *, team_id: int) -> bytes:
    """Render all agents of a team, newest first."""
    return await fetch_text(db, LIST_AGENTS, {"team_id": team_id}) or b"[]"


@dataclass(frozen=True, kw_only=True, slots=True)
class Filters:
    """Which calls of an agent are wanted; None does not filter."""

    status: str | None
    batch_id: UUID | None
    since: datetime | None
    until: datetime | None
    answered_by_voice_mail: bool | None

    @property
    def looks_at_calls(self) -> bool:
        """Whether counts of batches do not tell how many there are."""
        return any(
            wanted is not None
            for wanted in (self.status, self.since, self.until, self.answered_by_voice_mail)
        )

    def parameters(self) -> Mapping[str, object]:
        """Return what the statements need."""
        is_machine = self.answered_by_voice_mail
        return {
            "status": self.status,
            "of_batch": self.batch_id,
            "since": self.since,
            "until": self.until,
            "voicemail": None if is_machine is None else str(is_machine).lower(),
        }


OF_AGENT = """
       b.agent_id = %(agent_id)s AND b.team_id = %(team_id)s AND b.kind = 'call'
   AND b.deleted_at IS NULL AND b.state <> 'importing'
   AND (%(of_batch)s::uuid IS NULL OR b.id = %(of_batch)s AND NOT b.is_single)
"""

WANTED = f"""
  FROM batches b
  JOIN item_data d ON d.batch_id = b.id
  JOIN items i ON i.id = d.item_id
 {WORD}
 WHERE {OF_AGENT}
   AND (%(status)s::text IS NULL OR w.word = %(status)s)
   AND (%(since)s::timestamptz IS NULL OR d.created_at >= %(since)s)
   AND (%(until)s::timestamptz IS NULL OR d.created_at <= %(until)s)
   AND (%(voicemail)s::jsonb IS NULL OR d.result -> 'answered_by_voice_mail' = %(voicemail)s::jsonb)
"""

COUNT_FROM_BATCHES = f"""
SELECT coalesce(sum(c.n), 0) FROM batches b JOIN batch_counts c ON c.batch_id = b.id
 WHERE {OF_AGENT}
"""

COUNT_WANTED = f"SELECT count(*) {WANTED}"

# The page is chosen before anything is rendered.
PAGE_OF_AGENT = f"""
WITH page AS MATERIALIZED (
    SELECT i.id, b.created_at, b.id AS batch_id, d.position
    {WANTED}
     ORDER BY b.created_at DESC, b.id DESC, d.position, i.id
     LIMIT %(limit)s OFFSET %(offset)s
)
SELECT {EXECUTION}, {RETRIES}
  FROM page p
  JOIN items i ON i.id = p.id
  JOIN item_data d ON d.item_id = i.id
  JOIN batches b ON b.id = i.batch_id
 {WORD}
 ORDER BY p.created_at DESC, p.batch_id DESC, p.position, p.id
"""


async def list_executions(
    db: Database, *, view: View, agent_id: UUID, filters: Filters, page: Page
) -> bytes:
    """Render one page of the calls of an agent: newest batch first, each in its own order."""
    parameters = {
        **view.parameters(),
        **filters.parameters(),
        "agent_id": agent_id,
        "limit": page.size,
        "offset": page.offset,
    }
    counting = COUNT_WANTED if filters.looks_at_calls else COUNT_FROM_BATCHES
    async with db.pool.connection() as conn:
        counted = await (await conn.execute(counting, parameters)).fetchone()
        cursor = await conn.execute(PAGE_OF_AGENT, parameters)
        rows = [
            join_parts(str(execution), None if retries is None else str(retries))
            for execution, retries in await cursor.fetchall()
        ]
    return render_page(page, total=int(str(counted[0])) if counted else 0, rows=rows)


# The provider is that of the narrowest route, as the engine chooses it.
LIST_NUMBERS = f"""
SELECT coalesce(json_agg(json_build_object(
           'id', replace(n.id::text, '-', ''),
           'humanized_created_at', {sql_age("n.created_at")},
           'created_at', {sql_time("n.created_at")},
           'humanized_updated_at', {sql_age("n.updated_at")},
           'updated_at', {sql_time("n.updated_at")},
           'renewal_at', NULL,
           'phone_number', n.number,
           'agent_id', n.agent_id,
           'price', NULL,
           'telephony_provider', coalesce(p.name, 'sandbox'),
           'rented', false) ORDER BY n.created_at, n.number), '[]')::text
  FROM numbers n
  LEFT JOIN LATERAL (
       SELECT p.name FROM routes r JOIN providers p ON p.id = r.provider_id
        WHERE r.team_id = n.team_id AND r.kind = 'call'
          AND (r.agent_id IS NULL OR r.agent_id = n.agent_id)
        ORDER BY r.agent_id NULLS LAST LIMIT 1) AS p ON true
 WHERE n.team_id = %(team_id)s
"""


async def list_numbers(db: Database, *, view: View) -> bytes:
    """Render the numbers of a team."""
    return await fetch_text(db, LIST_NUMBERS, view.parameters()) or b"[]"


# A team is the user here; it has no purse, and no address that we know of.
READ_USER = """
SELECT json_build_object(
           'id', t.uuid, 'name', t.name, 'email', NULL, 'wallet', NULL,
           'concurrency', json_build_object(
               'max', coalesce(l.concurrency, %(default_concurrency)s::int),
               'current', (SELECT count(*) FROM items i
                            WHERE i.team_id = t.id
                              AND i.phase IN ('claimed', 'calling', 'live'))))::text
  FROM teams t LEFT JOIN limits l ON l.key = %(limit_key)s
 WHERE t.id = %(team_id)s
"""


async def read_user(db: Database, *, team_id: int, default_concurrency: int) -> bytes | None:
    """Render the team as the vendor shows a user."""
    return await fetch_text(
        db,
        READ_USER,
        {
            "team_id": team_id,
            "limit_key": team_key(team_id),
            "default_concurrency": default_concurrency,
        },
    )

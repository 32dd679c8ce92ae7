"""Batches of this door, rendered to JSON by PostgreSQL and sent as they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from batchyard.api.bolna.sql_words import (
    COUNT_WORD,
    HUMANIZED_AGE,
    UNKNOWN_AGE_WORD,
    sql_case,
    sql_time,
)
from batchyard.api.bolna.translate import BATCH_WORDS, Version
from batchyard.lifecycle import UNKNOWN_STATUS
from batchyard.operations.transactions import Transactions
from batchyard.store.db import Database
from batchyard.store.tokens import HOLDS

# From the counts; only calls with an unknown outcome are looked at one by one, by their index.
EXECUTION_STATUS = f"""
(SELECT coalesce(json_object_agg(word, n ORDER BY word), '{{}}')
   FROM (SELECT word, sum(n) AS n
           FROM (SELECT {COUNT_WORD} AS word, c.n
                   FROM batch_counts c
                  WHERE c.batch_id = b.id AND c.n > 0 AND c.status <> '{UNKNOWN_STATUS}'
                 UNION ALL
                 SELECT {UNKNOWN_AGE_WORD}, 1
                   FROM items i
                  WHERE i.batch_id = b.id AND i.phase = '{UNKNOWN_STATUS}') AS each
          GROUP BY word) AS summed)
"""


def sql_batch(version: Version, *, execution_status: str = EXECUTION_STATUS) -> str:
    """Return an expression that writes the batch `b`, contract section 3."""
    words = {str(state): word for state, word in BATCH_WORDS[version].items()}
    more = ", 'from_phone_numbers', b.from_numbers" if version is Version.V2026 else ""
    return f"""
json_build_object(
    'batch_id', replace(b.id::text, '-', ''),
    'humanized_created_at', {HUMANIZED_AGE},
    'created_at', {sql_time("b.created_at")},
    'updated_at', {sql_time("b.updated_at")},
    'status', {sql_case("b.state", words, "b.state")},
    'scheduled_at', {sql_time("b.scheduled_at")},
    'from_phone_number', b.from_numbers[1],
    'file_name', b.file_name,
    'valid_contacts', b.total_rows - b.refused_rows,
    'total_contacts', b.total_rows,
    'execution_status', {execution_status}{more})
"""


VISIBLE = "b.deleted_at IS NULL AND NOT b.is_single AND b.state <> 'importing'"

LIST_BATCHES = {
    version: f"""
SELECT (SELECT '[' || coalesce(string_agg(listed.batch::text, ','), '') || ']'
          FROM (SELECT {sql_batch(version)} AS batch
                  FROM batches b
                 WHERE b.agent_id = %(agent_id)s AND b.team_id = %(team_id)s AND {VISIBLE}
                 ORDER BY b.created_at DESC, b.id DESC
                 LIMIT %(limit)s OFFSET %(offset)s) AS listed)
  FROM agents a
 WHERE a.id = %(agent_id)s AND a.team_id = %(team_id)s AND a.deleted_at IS NULL AND {HOLDS.strip()}
"""
    for version in Version
}

READ_BATCH = {
    version: f"""
SELECT ({sql_batch(version)})::text
  FROM batches b
 WHERE b.id = %(batch_id)s AND b.team_id = %(team_id)s AND b.kind = 'call' AND {VISIBLE}
"""
    for version in Version
}


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """Who reads, in which words, and when."""

    team_id: int
    version: Version
    now: datetime
    unknown_grace: timedelta

    def parameters(self) -> dict[str, object]:
        """Return what every statement needs."""
        return {
            "team_id": self.team_id,
            "now": self.now,
            "unknown_before": self.now - self.unknown_grace,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """Which part of a list; the pages are counted from 1."""

    number: int
    size: int

    @property
    def offset(self) -> int:
        """How many entries come before the page."""
        return (self.number - 1) * self.size


async def list_batches(
    db: Database, *, view: View, agent_id: UUID, page: Page | None, token_hash: bytes | None = None
) -> bytes | None:
    """Render all batches of an agent, newest first; None when the team has no such agent.

    Nor when a token is to be proven, and does not hold.
    """
    return await fetch_text(
        db,
        LIST_BATCHES[view.version],
        {
            **view.parameters(),
            "agent_id": agent_id,
            "token_hash": token_hash,
            "limit": page and page.size,
            "offset": page.offset if page else 0,
        },
    )


async def read_batch(db: Database, *, view: View, batch_id: UUID) -> bytes | None:
    """Render one batch; None when the team has no such batch."""
    return await fetch_text(
        db, READ_BATCH[view.version], {**view.parameters(), "batch_id": batch_id}
    )


HAS_BATCH = f"""
SELECT FROM batches b
 WHERE b.id = %(batch_id)s AND b.team_id = %(team_id)s AND b.kind = 'call' AND {VISIBLE}
"""


async def has_batch(db: Transactions, *, team_id: int, batch_id: UUID) -> bool:
    """Tell whether the team has such a batch."""
    async with db.transaction() as conn:
        cursor = await conn.execute(HAS_BATCH, {"team_id": team_id, "batch_id": batch_id})
        return cursor.rowcount == 1


async def fetch_text(
    db: Database, statement: str, parameters: Mapping[str, object]
) -> bytes | None:
    """Return the first value, which PostgreSQL has rendered; None when there is none."""
    async with db.pool.connection() as conn:
        cursor = await conn.execute(statement, parameters, prepare=True)
        row = await cursor.fetchone()
    return str(row[0]).encode() if row and row[0] is not None else None

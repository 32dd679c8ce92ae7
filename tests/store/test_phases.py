"""The words of the lifecycle are those that the database's constraints allow."""

import re

from batchyard.lifecycle import STATUSES_BY_PHASE
from batchyard.models import BatchState, Phase
from batchyard.store.db import Database

DEFINITION = """
SELECT pg_get_constraintdef(oid) FROM pg_constraint
 WHERE conrelid = %s::text::regclass AND conname = %s
"""


async def read_check(db: Database, table: str, name: str) -> tuple[str, set[str]]:
    """Return the condition of a CHECK constraint, and the words it speaks of."""
    async with db.pool.connection() as conn:
        row = await (await conn.execute(DEFINITION, (table, name))).fetchone()
    assert row is not None
    condition = str(row[0]).removeprefix("CHECK ")
    return condition, set(re.findall(r"'([^']*)'::text", condition))


async def test_statuses_of_each_phase_are_those_of_the_constraint(db: Database) -> None:
    condition, words = await read_check(db, "items", "items_phase_status")
    every = sorted(words.union(*STATUSES_BY_PHASE.values()))
    phases = sorted(words.union(map(str, Phase)))
    query = (
        "SELECT phase, status FROM unnest(%s::text[]) AS p (phase)"
        f" CROSS JOIN unnest(%s::text[]) AS s (status) WHERE {condition}"
    )
    async with db.pool.connection() as conn:
        cursor = await conn.execute(query.encode(), (phases, every))
        allowed = {(str(phase), str(status)) for phase, status in await cursor.fetchall()}
    assert allowed == {
        (str(phase), status) for phase, known in STATUSES_BY_PHASE.items() for status in known
    }


async def test_states_of_a_batch_are_those_of_the_constraint(db: Database) -> None:
    _, words = await read_check(db, "batches", "batches_state_check")
    assert words == set(BatchState)

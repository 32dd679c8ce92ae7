"""Nobody is called out of a batch that was deleted."""

import pytest

from batchyard.models import BatchState, Kind, Phase, Team
from batchyard.operations import deletions, outcomes
from batchyard.operations.outcomes import Verdict
from batchyard.store import runs
from batchyard.store.db import Database
from batchyard.store.runs import Order
from tests.factories import make_batch, make_items, make_team
from tests.operations.lists import rows_of


@pytest.fixture
async def team(db: Database) -> Team:
    return await make_team(db)


@pytest.mark.parametrize("verdict", Verdict)
async def test_unknown_outcome_of_a_deleted_batch_is_not_decided(
    db: Database, team: Team, verdict: Verdict
) -> None:
    batch_id = await make_batch(db, team=team, kind=Kind.CALL, state=BatchState.COMPLETED)
    [item_id] = await make_items(
        db, team=team, batch_id=batch_id, phase=Phase.UNKNOWN, status="unknown"
    )
    await deletions.delete_batch(db, team=team, kind=Kind.CALL, batch_id=batch_id)
    for chosen in ({}, {"batch_id": batch_id}, {"item_ids": [item_id]}):
        resolved = await outcomes.resolve_unknown(
            db,
            team=team,
            verdict=verdict,
            actor="test",
            **chosen,
        )
        assert resolved == 0
    assert await outcomes.list_unknown(db, team=team, limit=10) == []
    assert await outcomes.count_unknown(db, team=team) == 0
    assert await rows_of(db, "SELECT state, phase FROM batches, items") == [
        ("completed", "unknown")
    ]


async def test_deleted_batch_is_neither_sent_from_nor_opened_again(
    db: Database, team: Team
) -> None:
    running = await make_batch(db, team=team, state=BatchState.RUNNING, is_deleted=True)
    await make_items(db, team=team, batch_id=running)
    ended = await make_batch(db, team=team, state=BatchState.COMPLETED, is_deleted=True)
    now = db.clock()
    async with db.transaction() as conn:
        found = await runs.list_admissible(
            conn,
            team_id=team.id,
            order=Order.BY_PRIORITY,
            singles_only=False,
            limit=10,
            now=now,
        )
        await runs.reopen(conn, batch_ids=[ended], now=now)
    assert found == []
    assert await rows_of(db, "SELECT state FROM batches WHERE id = %s", ended) == [("completed",)]

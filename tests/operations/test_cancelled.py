"""A cancelled batch ends at once, its items block by block; nothing of it is sent meanwhile."""

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from batchyard.errors import Conflict, NotFound
from batchyard.models import BatchState, Kind, Phase, Team
from batchyard.operations import agents, calls, control, deletions, items, waiting
from batchyard.operations.batches import dispatch_batch, schedule_batch
from batchyard.store.db import Database
from tests.factories import make_agent, make_batch, make_items, make_team
from tests.operations.lists import add, check_books, rows_of

BOOKS = "SELECT phase, status, n::int FROM batch_counts WHERE n <> 0 ORDER BY phase"
HALF_WAY = [("done", "canceled", 2), ("ready", "waiting", 3)]
ENDED = [("done", "canceled", 5)]


@pytest.fixture
async def team(db: Database) -> Team:
    return await make_team(db)


@pytest.fixture(autouse=True)
def small_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two items are a block, so that five are a large batch."""
    monkeypatch.setattr(control, "BLOCK", 2)


async def cancel_half_way(db: Database, team: Team, *, agent_id: UUID | None = None) -> UUID:
    """Return a batch of five calls that was cancelled just now."""
    batch_id = await make_batch(db, team=team, kind=Kind.CALL, agent_id=agent_id)
    await make_items(db, team=team, batch_id=batch_id, n=5, number="+4520123456")
    await control.cancel_batch(db, team=team, kind=Kind.CALL, batch_id=batch_id)
    return batch_id


async def test_no_transaction_ends_more_than_a_block(db: Database, team: Team) -> None:
    await cancel_half_way(db, team)
    assert await rows_of(db, "SELECT state, finished_at IS NOT NULL FROM batches") == [
        ("cancelled", True)
    ]
    assert await rows_of(db, BOOKS) == HALF_WAY
    await check_books(db)
    # Nothing else is left of the request: what follows is what housekeeping does after a crash.
    await control.end_stopped_items(db)
    assert await rows_of(db, BOOKS) == ENDED
    await check_books(db)
    by_transaction = "SELECT xmin::text, count(*) FROM items GROUP BY 1 ORDER BY 2"
    assert [n for _, n in await rows_of(db, by_transaction)] == [1, 2, 2]


async def test_cancelled_item_has_the_time_of_its_end(db: Database, team: Team) -> None:
    await cancel_half_way(db, team)
    untimed = (
        "SELECT count(*) FROM items i JOIN item_data d ON d.item_id = i.id"
        " WHERE (i.phase = 'done') <> (d.ended_at IS NOT NULL AND d.ended_at = i.updated_at)"
    )
    assert await rows_of(db, untimed) == [(0,)]
    await control.end_stopped_items(db)
    assert await rows_of(db, untimed) == [(0,)]


async def test_batch_cannot_be_taken_up_again_while_its_items_end(db: Database, team: Team) -> None:
    batch_id = await cancel_half_way(db, team)
    with pytest.raises(NotFound):
        await dispatch_batch(db, team=team, kind=Kind.CALL, batch_id=batch_id)
    with pytest.raises(NotFound):
        await schedule_batch(db, team=team, kind=Kind.CALL, batch_id=batch_id, at=db.clock())
    with pytest.raises(NotFound):
        await add(db, b"phone\n+4520123499\n", team=team, batch_id=batch_id)
    assert await rows_of(db, BOOKS) == HALF_WAY


async def test_item_that_still_waits_cannot_be_stopped_and_waits_for_nothing(
    db: Database, team: Team
) -> None:
    await cancel_half_way(db, team)
    [(left,), *_] = await rows_of(db, "SELECT id FROM items WHERE phase = 'ready'")
    assert isinstance(left, UUID)
    with pytest.raises(Conflict):
        await items.stop_item(db, team=team, item_id=left)
    with pytest.raises(Conflict):
        await calls.stop_call(db, team=team, item_id=left)
    assert await waiting.explain_item(db, team=team, item_id=left) is None
    await control.end_stopped_items(db)
    assert await rows_of(db, BOOKS) == ENDED


async def test_batch_deleted_before_its_items_have_ended_leaves_nothing(
    db: Database, team: Team
) -> None:
    agent_id = await make_agent(db, team=team)
    batch_id = await cancel_half_way(db, team, agent_id=agent_id)
    await agents.delete_agent(db, team=team, agent_id=agent_id)
    await deletions.delete_batches_of_deleted_agents(db, agent_id=agent_id)
    # One that was listed before, and so goes on while what is deleted is purged.
    await asyncio.gather(
        control.end_unsent(db, batch_id=batch_id),
        deletions.purge_deleted(db, unknown_grace=timedelta(hours=1)),
    )
    await deletions.purge_deleted(db, unknown_grace=timedelta(hours=1))
    for table in ("batches", "items", "item_data", "batch_counts"):
        assert await rows_of(db, f"SELECT count(*) FROM {table}") == [(0,)], table


async def test_single_shipment_ends_with_its_batch(db: Database, team: Team) -> None:
    batch_id = await make_batch(db, team=team, is_single=True)
    await make_items(db, team=team, batch_id=batch_id)
    await control.cancel_batch(db, team=team, kind=Kind.SHIPMENT, batch_id=batch_id)
    assert await rows_of(db, BOOKS) == [("done", "canceled", 1)]


async def test_what_has_ended_or_is_unknown_stays_as_it_is(db: Database, team: Team) -> None:
    batch_id = await make_batch(db, team=team)
    await make_items(db, team=team, batch_id=batch_id, phase=Phase.DONE, status="canceled")
    await make_items(db, team=team, batch_id=batch_id, phase=Phase.UNKNOWN, status="unknown")
    before = await rows_of(db, "SELECT * FROM items ORDER BY id")
    await control.cancel_batch(db, team=team, kind=Kind.SHIPMENT, batch_id=batch_id)
    await control.end_stopped_items(db)
    assert await rows_of(db, "SELECT * FROM items ORDER BY id") == before


async def test_stopped_and_cancelled_batches_end_each_with_its_own_word(
    db: Database, team: Team
) -> None:
    for state in (BatchState.STOPPED, BatchState.CANCELLED, BatchState.OPEN):
        batch_id = await make_batch(db, team=team, state=state)
        await make_items(db, team=team, batch_id=batch_id, n=3)
    await control.end_stopped_items(db)
    assert await rows_of(
        db,
        "SELECT b.state, i.status, count(*) FROM items i JOIN batches b ON b.id = i.batch_id"
        " GROUP BY 1, 2 ORDER BY 1",
    ) == [("cancelled", "canceled", 3), ("open", "waiting", 3), ("stopped", "stopped", 3)]

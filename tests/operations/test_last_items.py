"""A batch that waits to be sent ends when the last of its items is taken away."""

import pytest

from batchyard.models import BatchState, Kind, Team
from batchyard.operations import batches, items, privacy
from batchyard.operations.audit import Actor
from batchyard.store import runs
from batchyard.store.db import Database
from tests.factories import make_batch, make_items, make_team
from tests.operations.lists import rows_of

NUMBER = "+4520123456"


@pytest.fixture
async def team(db: Database) -> Team:
    return await make_team(db)


async def finish(db: Database) -> None:
    async with db.transaction() as conn:
        await runs.finish(conn, batch_ids=None, unknown_before=db.clock(), now=db.clock())


@pytest.mark.parametrize("is_single", [False, True])
async def test_queued_batch_ends_with_its_last_item_stopped(
    db: Database, team: Team, is_single: bool
) -> None:
    batch_id = await make_batch(
        db, team=team, kind=Kind.CALL, state=BatchState.QUEUED, is_single=is_single
    )
    first, last = await make_items(db, team=team, batch_id=batch_id, n=2, number=NUMBER)
    await items.stop_item(db, team=team, item_id=first)
    assert await rows_of(db, "SELECT state FROM batches") == [("queued",)]
    await items.stop_item(db, team=team, item_id=last)
    assert await rows_of(
        db, "SELECT DISTINCT status, ended_at IS NULL FROM items JOIN item_data ON item_id = id"
    ) == [("stopped", False)]
    await finish(db)
    assert await rows_of(db, "SELECT state, started_at IS NULL FROM batches") == [
        ("completed", False)
    ]


@pytest.mark.parametrize("state", [BatchState.OPEN, BatchState.PAUSED])
async def test_batch_that_is_not_queued_waits_on(
    db: Database, team: Team, state: BatchState
) -> None:
    batch_id = await make_batch(db, team=team, state=state)
    [item_id] = await make_items(db, team=team, batch_id=batch_id)
    await items.stop_item(db, team=team, item_id=item_id)
    assert await rows_of(db, "SELECT state FROM batches") == [(state,)]


@pytest.mark.parametrize(
    "kind,end", [(Kind.SHIPMENT, BatchState.FAILED), (Kind.CALL, BatchState.COMPLETED)]
)
async def test_batch_ends_that_is_started_after_its_last_item_was_stopped(
    db: Database, team: Team, kind: Kind, end: BatchState
) -> None:
    batch_id = await make_batch(db, team=team, kind=kind)
    [item_id] = await make_items(db, team=team, batch_id=batch_id)
    await items.stop_item(db, team=team, item_id=item_id)
    await batches.dispatch_batch(db, team=team, kind=kind, batch_id=batch_id)
    await finish(db)
    assert await rows_of(db, "SELECT state, started_at IS NULL FROM batches") == [(end, False)]


async def test_started_batch_waits_for_what_is_left(db: Database, team: Team) -> None:
    batch_id = await make_batch(db, team=team)
    first, _ = await make_items(db, team=team, batch_id=batch_id, n=2)
    await items.stop_item(db, team=team, item_id=first)
    await batches.dispatch_batch(db, team=team, kind=Kind.SHIPMENT, batch_id=batch_id)
    await finish(db)
    assert await rows_of(db, "SELECT state FROM batches") == [("queued",)]


async def test_queued_batch_ends_with_its_last_item_erased(db: Database, team: Team) -> None:
    batch_id = await make_batch(db, team=team, kind=Kind.CALL, state=BatchState.QUEUED)
    await make_items(db, team=team, batch_id=batch_id, number=NUMBER)
    await privacy.erase_person(db, team=team, actor=Actor(name="test"), number=NUMBER, email=None)
    await finish(db)
    assert await rows_of(db, "SELECT state FROM batches") == [("completed",)]

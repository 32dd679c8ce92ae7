"""Changes of a batch: each allowed by the lifecycle, or refused and nothing changed."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from batchyard.errors import Conflict, NotFound
from batchyard.lifecycle import BatchEvent, states_allowing
from batchyard.models import BatchState, Kind
from batchyard.operations.batches import create_batch, dispatch_batch, schedule_batch
from batchyard.operations.control import cancel_batch
from batchyard.operations.transactions import one_transaction
from batchyard.store.db import Database
from tests.factories import make_batch, make_items, make_team

AT = datetime(2027, 1, 1, 8, tzinfo=UTC)
VISIBLE = [state for state in BatchState if state not in {"importing", "cancelled"}]


async def read_state(db: Database) -> object:
    async with db.pool.connection() as connection:
        row = await (await connection.execute("SELECT state FROM batches")).fetchone()
    assert row is not None
    return row[0]


@pytest.mark.parametrize("state", VISIBLE)
async def test_dispatch_follows_the_lifecycle(db: Database, state: BatchState) -> None:
    team = await make_team(db)
    batch_id = await make_batch(db, team=team, kind=Kind.CALL, state=state)
    await make_items(db, team=team, batch_id=batch_id)

    if state in states_allowing(BatchEvent.DISPATCHED):
        await dispatch_batch(db, team=team, kind=Kind.CALL, batch_id=batch_id)
        assert await read_state(db) == "queued"
    else:
        with pytest.raises(Conflict) as caught:
            await dispatch_batch(db, team=team, kind=Kind.CALL, batch_id=batch_id)
        assert caught.value.state == state
        assert await read_state(db) == state


async def test_a_narrower_dispatch_takes_only_what_it_expects(db: Database) -> None:
    team = await make_team(db)
    batch_id = await make_batch(db, team=team, state=BatchState.SCHEDULED)
    await make_items(db, team=team, batch_id=batch_id)

    with pytest.raises(Conflict):
        await dispatch_batch(
            db, team=team, kind=Kind.SHIPMENT, batch_id=batch_id, expected=BatchState.OPEN
        )

    assert await read_state(db) == "scheduled"


@pytest.mark.parametrize("state", VISIBLE)
async def test_scheduling_follows_the_lifecycle(db: Database, state: BatchState) -> None:
    team = await make_team(db)
    batch_id = await make_batch(db, team=team, state=state)

    if state in states_allowing(BatchEvent.SCHEDULED):
        await schedule_batch(
            db, team=team, kind=Kind.SHIPMENT, batch_id=batch_id, at=AT, bypass_windows=True
        )
        await schedule_batch(db, team=team, kind=Kind.SHIPMENT, batch_id=batch_id, at=AT)
        async with db.pool.connection() as connection:
            rows = await connection.execute(
                "SELECT state, scheduled_at, bypass_windows FROM batches"
            )
            assert await rows.fetchone() == ("scheduled", AT, True)
    else:
        with pytest.raises(Conflict):
            await schedule_batch(db, team=team, kind=Kind.SHIPMENT, batch_id=batch_id, at=AT)


async def test_cancelling_ends_all_items(db: Database) -> None:
    team = await make_team(db)
    batch_id = await make_batch(db, team=team)
    await make_items(db, team=team, batch_id=batch_id, n=3)

    await cancel_batch(db, team=team, kind=Kind.SHIPMENT, batch_id=batch_id)

    async with db.pool.connection() as connection:
        counts = await connection.execute("SELECT phase, status, n FROM batch_counts WHERE n <> 0")
        assert await counts.fetchall() == [("done", "canceled", 3)]


async def test_what_is_not_the_teams_or_of_another_kind_is_not_found(db: Database) -> None:
    team, other = await make_team(db), await make_team(db)
    batch_id = await make_batch(db, team=team)
    hidden = [
        await make_batch(db, team=team, state=BatchState.IMPORTING),
        await make_batch(db, team=team, state=BatchState.CANCELLED),
        await make_batch(db, team=team, is_deleted=True),
        uuid4(),
    ]

    for asked, owner, kind in (
        (batch_id, other, Kind.SHIPMENT),
        (batch_id, team, Kind.CALL),
        *((one, team, Kind.SHIPMENT) for one in hidden),
    ):
        with pytest.raises(NotFound):
            await dispatch_batch(db, team=owner, kind=kind, batch_id=asked)
        with pytest.raises(NotFound):
            await schedule_batch(db, team=owner, kind=kind, batch_id=asked, at=AT)
        with pytest.raises(NotFound):
            await cancel_batch(db, team=owner, kind=kind, batch_id=asked)


async def test_operations_in_one_transaction_happen_together_or_not_at_all(db: Database) -> None:
    team = await make_team(db)

    async def create_and_dispatch() -> None:
        async with one_transaction(db) as work:
            batch_id = await create_batch(work, team=team, kind=Kind.SHIPMENT)
            await dispatch_batch(work, team=team, kind=Kind.SHIPMENT, batch_id=batch_id)

    with pytest.raises(Conflict):
        await create_and_dispatch()

    async with db.pool.connection() as connection:
        rows = await connection.execute("SELECT count(*) FROM batches")
        assert await rows.fetchone() == (0,)

"""Items belong to a batch and data to an item, though no foreign key says so."""

from uuid import UUID

import psycopg
import pytest

from batchyard.store.db import Connection, Database
from batchyard.store.ids import new_id
from tests.engine.conftest import Yard, make_team

COUNT_DATA = "SELECT count(*) FROM item_data WHERE batch_id = %s"


@pytest.fixture
async def yard(db: Database) -> Yard:
    return Yard(db, await make_team(db))


async def add_item(conn: Connection, batch_id: UUID) -> None:
    await conn.execute(
        "INSERT INTO items (id, batch_id, team_id, due_at, updated_at)"
        " VALUES (%s, %s, 1, now(), now())",
        [new_id(), batch_id],
    )


async def test_item_of_no_batch_is_refused(db: Database) -> None:
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        async with db.transaction() as conn:
            await add_item(conn, new_id())


async def test_item_is_not_moved_to_a_batch_that_is_none(yard: Yard) -> None:
    batch_id = await yard.make_batch(items=2)
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        async with yard.db.transaction() as conn:
            await conn.execute(
                "UPDATE items SET batch_id = %s WHERE batch_id = %s", [new_id(), batch_id]
            )


async def test_data_of_no_item_is_refused(yard: Yard) -> None:
    batch_id = await yard.make_batch(items=2)
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        async with yard.db.transaction() as conn:
            await conn.execute(
                "INSERT INTO item_data (item_id, batch_id, position, payload, created_at)"
                " VALUES (%s, %s, 3, '{}', now())",
                [new_id(), batch_id],
            )


async def test_batch_goes_after_its_items_which_take_their_data_along(yard: Yard) -> None:
    batch_id, other = await yard.make_batch(items=3), await yard.make_batch(items=2)
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        async with yard.db.transaction() as conn:
            await conn.execute("DELETE FROM batches WHERE id = %s", [batch_id])

    async with yard.db.transaction() as conn:
        await conn.execute("DELETE FROM items WHERE batch_id = %s", [batch_id])
        await conn.execute("DELETE FROM batches WHERE id = %s", [batch_id])

    assert await yard.value(COUNT_DATA, [batch_id]) == 0
    assert await yard.value(COUNT_DATA, [other]) == 2

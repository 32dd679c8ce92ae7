"""The correction of one item, before it is sent or after it failed."""

from uuid import UUID

import pytest

from batchyard.errors import Conflict, InvalidRequest, NotFound
from batchyard.models import JsonObject, Kind, Team
from batchyard.operations import corrections
from batchyard.operations.batches import dispatch_batch
from batchyard.store.db import Database
from tests.factories import make_team
from tests.operations.lists import (
    SHIPMENT_HEADER,
    SHIPMENTS,
    check_books,
    rows_of,
    shipment_row,
    upload,
)


@pytest.fixture
async def team(db: Database) -> Team:
    return await make_team(db)


async def correct_item(
    db: Database, *, team: Team, item_id: UUID, payload: JsonObject, number: str | None = None
) -> None:
    correction = await corrections.check_correction(
        db, team=team, item_id=item_id, payload=payload, number=number
    )
    await corrections.correct_item(db, correction, team=team)


async def item_of(db: Database, position: int = 2) -> UUID:
    ((item_id,),) = await rows_of(db, "SELECT item_id FROM item_data WHERE position = %s", position)
    assert isinstance(item_id, UUID)
    return item_id


async def test_item_is_corrected_before_it_is_sent(db: Database, team: Team) -> None:
    await upload(db, b"phone,name\n+4520123451,a\n", team=team)
    item_id = await item_of(db)
    await correct_item(
        db, team=team, item_id=item_id, payload={"name": "A"}, number="+46 701 74 06 41"
    )
    assert await rows_of(
        db,
        "SELECT number, payload, phase, try, corrections -> 0 ->> 'number'"
        " FROM items JOIN item_data ON item_id = id",
    ) == [("+46701740641", {"name": "A"}, "ready", 1, "+4520123451")]
    zones = "SELECT z.zones FROM items i JOIN zone_sets z ON z.id = i.zone_set"
    assert await rows_of(db, zones) == [(["Europe/Stockholm"],)]
    with pytest.raises(InvalidRequest) as refused:
        await correct_item(db, team=team, item_id=item_id, payload={}, number="12")
    assert refused.value.code == "phone_no_plus"
    with pytest.raises(NotFound):
        await correct_item(db, team=await make_team(db), item_id=item_id, payload={})


async def test_item_that_has_something_else_by_now_is_left(db: Database, team: Team) -> None:
    await upload(db, b"phone,name\n+4520123451,a\n", team=team)
    item_id = await item_of(db)
    seen = corrections.fingerprint({"name": "a"}, number="+4520123451")
    again = "+4520123452"
    for payload, number, kept in (
        ({"name": "b"}, None, "+4520123451"),
        ({"name": "a"}, again, again),
    ):
        await correct_item(db, team=team, item_id=item_id, payload=payload, number=number)
        correction = await corrections.check_correction(
            db, team=team, item_id=item_id, payload={"name": "c"}
        )
        with pytest.raises(Conflict, match="meanwhile"):
            await corrections.correct_item(db, correction, team=team, seen=seen)
        assert await rows_of(db, "SELECT number, payload FROM item_data") == [(kept, payload)]
    seen = corrections.fingerprint({"name": "a"}, number=again)
    await corrections.correct_item(db, correction, team=team, seen=seen)
    assert await rows_of(db, "SELECT number, payload FROM item_data") == [(again, {"name": "c"})]


@pytest.mark.parametrize("left", ['{"erased": true}', '{"expired": true}'])
async def test_item_whose_content_was_taken_out_is_not_sent_again(
    db: Database, team: Team, left: str
) -> None:
    content = f"{SHIPMENT_HEADER}\n{shipment_row()}\n".encode()
    await upload(db, content, team=team, options=SHIPMENTS)
    item_id = await item_of(db)
    ((payload,),) = await rows_of(db, "SELECT payload FROM item_data")
    assert isinstance(payload, dict)
    async with db.transaction() as conn:
        await conn.execute("UPDATE items SET phase = 'done', status = 'failed'")
        await conn.execute("UPDATE batches SET state = 'failed', finished_at = now()")
        # While a person looks at it, to correct it.
        await conn.execute("UPDATE item_data SET payload = %s::jsonb", (left,))
    with pytest.raises(Conflict, match="taken out"):
        await correct_item(db, team=team, item_id=item_id, payload=payload)
    told = await rows_of(
        db, "SELECT phase, payload::text FROM items JOIN item_data ON item_id = id"
    )
    assert told == [("done", left)]


async def test_shipment_that_failed_is_corrected_and_tried_again(db: Database, team: Team) -> None:
    content = f"{SHIPMENT_HEADER}\n{shipment_row()}\n".encode()
    batch_id = (await upload(db, content, team=team, options=SHIPMENTS)).batch_id
    await dispatch_batch(db, team=team, kind=Kind.SHIPMENT, batch_id=batch_id)
    item_id = await item_of(db)
    ((payload,),) = await rows_of(db, "SELECT payload FROM item_data")
    assert isinstance(payload, dict)
    async with db.transaction() as conn:
        await conn.execute(
            "UPDATE items SET phase = 'live', status = 'processing', intent_at = now()"
        )
    with pytest.raises(Conflict):
        await correct_item(db, team=team, item_id=item_id, payload=payload)
    async with db.transaction() as conn:
        await conn.execute("UPDATE items SET phase = 'done', status = 'failed'")
        await conn.execute("UPDATE batches SET state = 'failed', finished_at = now()")
    with pytest.raises(InvalidRequest) as refused:
        await correct_item(db, team=team, item_id=item_id, payload={**payload, "currency": "X"})
    assert refused.value.code == "currency_unknown"
    await correct_item(db, team=team, item_id=item_id, payload={**payload, "reference": "new"})
    assert await rows_of(
        db,
        "SELECT i.phase, i.status, i.try, d.reference, b.state FROM items i"
        " JOIN item_data d ON d.item_id = i.id JOIN batches b ON b.id = i.batch_id",
    ) == [("ready", "retrying", 2, "new", "running")]
    await check_books(db)

"""Unknown outcomes are decided by the filters of the list of items."""

from uuid import UUID

import pytest

from batchyard.models import BatchState, Kind
from batchyard.store.ids import new_id
from batchyard.store.item_intake import NewItem, copy_items
from tests import factories
from tests.api.operator.conftest import Client

LOST = "UPDATE items SET phase = 'unknown', status = 'unknown', intent_at = updated_at"


async def fill(client: Client, *, state: BatchState = BatchState.COMPLETED) -> UUID:
    """Make a batch of three unknown outcomes that can be told apart."""
    batch_id = await factories.make_batch(client.db, team=client.team, kind=Kind.CALL, state=state)
    rows = [
        NewItem(
            id=new_id(),
            position=position,
            payload={"city": city},
            number=f"+45{position}0123456",
            reference=f"order-{position}",
        )
        for position, city in enumerate(["Aarhus", "Oslo", "Malmø"], start=2)
    ]
    async with client.db.transaction() as conn:
        await copy_items(
            conn, batch_id=batch_id, team_id=client.team.id, rows=rows, now=client.db.clock()
        )
        await conn.execute(LOST)
        await conn.execute(
            "UPDATE item_data SET error_code = CASE position WHEN 3 THEN 'reset' ELSE 'slow' END"
        )
    return batch_id


async def decided(client: Client) -> list[int]:
    async with client.db.pool.connection() as conn:
        cursor = await conn.execute(
            "SELECT position FROM item_data JOIN items ON id = item_id WHERE phase = 'done'"
            " ORDER BY position"
        )
        return [int(str(row[0])) for row in await cursor.fetchall()]


@pytest.mark.parametrize(
    "chosen,expected",
    [
        ({"error_code": "slow"}, [2, 4]),
        ({"number": "+453"}, [3]),
        ({"reference": "order-"}, [2, 3, 4]),
        ({"text": "malmø"}, [4]),
        ({"status": ["unknown"]}, [2, 3, 4]),
        ({"status": ["failed"]}, []),
        ({"error_code": "slow", "text": "oslo"}, []),
        ({"error_code": "%"}, []),
    ],
)
async def test_only_what_fits_every_filter_is_decided(
    client: Client, chosen: dict[str, object], expected: list[int]
) -> None:
    await fill(client)
    listed = (await client.get("/items/unknown", **chosen)).json()
    assert listed["total"] == len(expected)
    assert sorted(one["position"] for one in listed["data"]) == expected
    answer = await client.post("/items/resolve", {"as": "failed", **chosen})
    assert answer.json() == {"items": len(expected)}, answer.text
    assert await decided(client) == expected


async def test_filters_narrow_a_batch_and_the_trace_names_them_without_what_for(
    client: Client,
) -> None:
    batch_id = await fill(client)
    await fill(client)
    body = {"as": "retry", "batch_id": str(batch_id), "number": "+453"}
    assert (await client.post("/items/resolve", body)).json() == {"items": 1}
    (entry,) = (await client.get("/audit")).json()["data"]
    assert entry["before"] == {"status": "unknown"}
    assert entry["after"] == {"as": "retry", "items": 1, "filters": ["number"]}


@pytest.mark.parametrize("name", ["error_code", "number", "reference", "text"])
async def test_empty_filter_is_refused_and_decides_nothing(client: Client, name: str) -> None:
    batch_id = await fill(client)
    for body in ({}, {"batch_id": str(batch_id)}, {"all": True}):
        answer = await client.post("/items/resolve", {"as": "done", name: "", **body})
        assert answer.status_code == 422, answer.text
        assert [one["field"] for one in answer.json()["errors"]] == [f"body.{name}"]
    for path in ("/items", "/items/unknown"):
        assert (await client.get(path, **{name: ""})).status_code == 422, path
    assert await decided(client) == []

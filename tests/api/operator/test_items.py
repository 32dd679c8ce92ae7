"""Items through the operator API: found, read, stopped, decided."""

import csv
import io
import json
from collections.abc import Mapping
from uuid import UUID

import pytest

from batchyard.api.operator import item_queries
from batchyard.api.operator.routes import PREFIX
from batchyard.models import BatchState, Kind, Phase
from batchyard.store.db import Connection
from batchyard.store.ids import new_id
from batchyard.store.item_filters import plan_and_fetch
from batchyard.store.item_intake import NewItem, copy_items
from tests import factories
from tests.api.operator.conftest import Client


async def fill(client: Client) -> str:
    """Make a batch of three items that can be told apart."""
    batch_id = await factories.make_batch(client.db, team=client.team)
    rows = [
        NewItem(
            id=new_id(),
            position=position,
            payload={"city": city, "note": "said 100%"},
            number=number,
            reference=f"order-{position}",
        )
        for position, (city, number) in enumerate(
            [("Århus", "+4520000001"), ("Oslo", "+4740000002"), ("Århus C", "+4520000003")]
        )
    ]
    async with client.db.transaction() as conn:
        await copy_items(
            conn, batch_id=batch_id, team_id=client.team.id, rows=rows, now=client.db.clock()
        )
    return str(batch_id)


async def test_items_are_found_by_what_is_known_of_them(client: Client) -> None:
    batch_id = await fill(client)
    for filters, expected in (
        ({"batch_id": batch_id}, [0, 1, 2]),
        ({"number": "+452"}, [0, 2]),
        ({"number": "%"}, []),
        ({"reference": "order-1"}, [1]),
        ({"text": "århus"}, [0, 2]),
        ({"text": "oslo"}, [1]),
        ({"status": "waiting"}, [0, 1, 2]),
        ({"status": "booked"}, []),
    ):
        found = (await client.get("/items", **filters)).json()["data"]
        assert [item["position"] for item in found] == expected, filters


async def test_items_come_in_pages(client: Client) -> None:
    await fill(client)
    first = (await client.get("/items", limit=2)).json()
    rest = (await client.get("/items", limit=2, cursor=first["next_cursor"])).json()
    assert [item["position"] for item in first["data"] + rest["data"]] == [0, 1, 2]
    assert rest["next_cursor"] is None


async def test_items_of_a_status_come_in_pages_over_all_batches(client: Client) -> None:
    expected: list[str] = []
    for statuses in (["failed", "booked"], ["booked"], ["failed", "failed", "failed"], ["failed"]):
        batch_id = await factories.make_batch(
            client.db, team=client.team, state=BatchState.COMPLETED
        )
        for status in statuses:
            [item_id] = await factories.make_items(
                client.db, team=client.team, batch_id=batch_id, phase=Phase.DONE, status=status
            )
            expected += [str(item_id)] if status == "failed" else []
    for limit in (1, 2, 3, 10):
        found: list[str] = []
        cursor = None
        while True:
            page = (await client.get("/items", status="failed", limit=limit, cursor=cursor)).json()
            found += [one["id"] for one in page["data"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert found == expected, limit
    for status, n in (("nonsense", 0), ("waiting", 0), ("booked", 2)):
        assert len((await client.get("/items", status=status)).json()["data"]) == n


async def test_item_is_read_with_its_history_and_stopped_once(client: Client) -> None:
    await fill(client)
    item_id = (await client.get("/items")).json()["data"][0]["id"]
    shown = (await client.get(f"/items/{item_id}")).json()
    assert shown["payload"]["city"] == "Århus"
    assert shown["attempts"] == []
    assert shown["waiting"]["reason"] == "not_dispatched"
    assert (await client.post(f"/items/{item_id}/stop")).status_code == 204
    assert (await client.post(f"/items/{item_id}/stop")).status_code == 409
    assert (await client.get(f"/items/{item_id}")).json()["status"] == "stopped"


async def test_unknown_items_are_decided(client: Client) -> None:
    batch_id = await fill(client)
    async with client.db.transaction() as conn:
        await conn.execute(
            "UPDATE items SET phase = 'unknown', status = 'unknown', intent_at = updated_at"
        )
    answer = await client.post("/items/resolve", {"as": "done", "batch_id": batch_id})
    assert answer.json() == {"items": 3}
    found = (await client.get("/items", status="booked")).json()["data"]
    assert len(found) == 3


async def test_resolving_everything_has_to_be_said(client: Client) -> None:
    answer = await client.post("/items/resolve", {"as": "done"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "all"


async def test_item_is_corrected_before_it_is_sent(client: Client) -> None:
    batch_id = await factories.make_batch(client.db, team=client.team, kind=Kind.CALL)
    [item_id] = await factories.make_items(
        client.db, team=client.team, batch_id=batch_id, number="+4520123456", payload={"name": "A"}
    )
    path = f"/items/{item_id}"
    refused = await client.patch(path, {"payload": {}, "number": "12"})
    assert (refused.status_code, refused.json()["code"]) == (422, "phone_no_plus")
    shown = (await client.patch(path, {"payload": {"name": "B"}, "number": "+4520123457"})).json()
    assert (shown["number"], shown["payload"]) == ("+4520123457", {"name": "B"})
    (replaced,) = shown["corrections"]
    assert (replaced["number"], replaced["payload"]) == ("+4520123456", {"name": "A"})
    await client.post(f"{path}/stop")
    assert (await client.patch(path, {"payload": {}})).status_code == 409
    assert [one["action"] for one in (await client.get("/audit")).json()["data"]] == [
        "item.stop",
        "item.correct",
    ]


@pytest.mark.parametrize(
    "payload,code",
    [
        ('{"order": 9400110898825022579493}', "json_number_too_long"),
        ('{"order": [{"least": -9223372036854775809}]}', "json_number_too_long"),
        ('{"a": 1e400}', "json_malformed"),
        ('{"a": NaN}', "json_malformed"),
        ('{"a": ' * 40 + "1" + "}" * 40, "json_too_deep"),
    ],
)
async def test_correction_that_no_upload_could_hold_is_refused(
    client: Client, payload: str, code: str
) -> None:
    batch_id = await factories.make_batch(client.db, team=client.team, kind=Kind.CALL)
    [item_id] = await factories.make_items(
        client.db, team=client.team, batch_id=batch_id, number="+4520123456", payload={"name": "A"}
    )

    answer = await client.http.patch(
        f"{PREFIX}/items/{item_id}",
        content=f'{{"payload": {payload}}}',
        headers={"Content-Type": "application/json"},
    )

    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text
    assert (await client.get(f"/items/{item_id}")).json()["payload"] == {"name": "A"}


async def test_batch_of_a_single_item_is_changed_and_deleted_but_gets_no_more_rows(
    client: Client,
) -> None:
    batch_id = await factories.make_batch(
        client.db, team=client.team, kind=Kind.CALL, state=BatchState.RUNNING, is_single=True
    )
    path = f"/batches/{batch_id}"
    assert (await client.patch(path, {"priority": 9})).json()["priority"] == 9
    rows = {"rows": [{"contact_number": "+4520123456"}]}
    assert (await client.post(f"{path}/rows", rows)).status_code == 404
    assert (await client.delete(path)).status_code == 204
    assert (await client.get(path)).status_code == 404


LARGEST = 2**64 - 1


async def test_mend_file_is_complete_whatever_numbers_its_rows_have(client: Client) -> None:
    agent_id = await factories.make_agent(client.db, team=client.team)
    rows = (
        '{"contact_number": "+4520123456", "order": 2}\n'
        '{"contact_number": "+4520123457", "order": 1}\n'
    )
    made = await client.http.post(
        f"{PREFIX}/batches",
        data={"kind": "call", "agent_id": str(agent_id)},
        files={"file": ("calls.ndjson", rows.encode())},
    )
    batch_id = made.json()["batch_id"]
    async with client.db.transaction() as conn:
        await conn.execute("UPDATE items SET phase = 'done', status = 'failed'")
        # As it was read before such numbers were refused; PostgreSQL writes it out digit by digit.
        await conn.execute(
            """UPDATE item_data SET payload = '{"order": 9.400110898825023e21}'"""
            """ WHERE payload = '{"order": 2}'"""
        )
    [_, second] = (await client.get("/items", batch_id=batch_id)).json()["data"]
    corrected = await client.patch(f"/items/{second['id']}", {"payload": {"order": LARGEST}})
    assert corrected.status_code == 200, corrected.text
    async with client.db.transaction() as conn:
        await conn.execute("UPDATE items SET phase = 'done', status = 'failed'")

    lines = (await client.get(f"/batches/{batch_id}/mend", format="ndjson")).text.splitlines()
    table = (await client.get(f"/batches/{batch_id}/mend", format="csv")).text

    orders = [9400110898825023000000, LARGEST]
    assert [json.loads(line)["order"] for line in lines] == orders
    cells = csv.DictReader(io.StringIO(table.removeprefix("\ufeff"), newline=""))
    assert [row["order"] for row in cells] == [str(order) for order in orders]


@pytest.mark.parametrize("is_single", [False, True])
async def test_one_item_is_tried_again_and_its_batch_runs_with_it(
    client: Client, *, is_single: bool
) -> None:
    batch_id = await factories.make_batch(
        client.db, team=client.team, state=BatchState.COMPLETED, is_single=is_single
    )
    failed, booked = [
        (
            await factories.make_items(
                client.db,
                team=client.team,
                batch_id=batch_id,
                phase=Phase.DONE,
                status=status,
            )
        )[0]
        for status in ("failed", "booked")
    ]
    again = (await client.post(f"/items/{failed}/retry")).json()
    assert (again["status"], again["attempt"]) == ("retrying", 2)
    assert (await client.get(f"/batches/{batch_id}")).json()["state"] == "running"
    answer = await client.post(f"/items/{booked}/retry")
    assert answer.status_code == 409
    assert "has not failed" in answer.json()["detail"]


Asked = list[list[UUID]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Lend which batches were looked in, one statement after the other."""
    asked: Asked = []

    async def note(
        conn: Connection, query: str, values: Mapping[str, object]
    ) -> list[tuple[object, ...]]:
        if query != item_queries.FIND_BATCHES:
            batch_ids = values.get("batch_ids") or [values["batch_id"]]
            assert isinstance(batch_ids, list)
            asked.append(batch_ids)
        return await plan_and_fetch(conn, query, values)

    monkeypatch.setattr(item_queries, "plan_and_fetch", note)
    return asked


@pytest.mark.parametrize(
    "at_once", [(1, 20_000, 9), (200, 3, 9), (200, 20_000, 9), (200, 20_000, 2)]
)
@pytest.mark.parametrize(
    "filters", [{"text": "århus"}, {"text": "århus", "status": "waiting"}, {"status": "waiting"}]
)
async def test_pages_over_all_batches_hold_every_item_once(
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    filters: dict[str, object],
    at_once: tuple[int, int, int],
) -> None:
    monkeypatch.setattr(item_queries, "BATCHES_AT_ONCE", at_once[0])
    monkeypatch.setattr(item_queries, "ITEMS_AT_ONCE", at_once[1])
    monkeypatch.setattr(item_queries, "LARGE", at_once[2])
    batches = sorted([await fill(client) for _ in range(4)])
    await factories.make_batch(client.db, team=client.team)
    positions = [0, 2] if "text" in filters else [0, 1, 2]
    expected = [(batch_id, position) for batch_id in batches for position in positions]
    for limit in (1, 3, 5, len(expected), 50):
        found: list[tuple[str, int]] = []
        cursor: str | None = None
        while True:
            page = (await client.get("/items", limit=limit, cursor=cursor, **filters)).json()
            found += [(item["batch_id"], item["position"]) for item in page["data"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
            assert len(page["data"]) == limit
        assert found == expected, limit


async def test_words_are_looked_for_no_further_than_the_page(
    client: Client, monkeypatch: pytest.MonkeyPatch, asked: Asked
) -> None:
    monkeypatch.setattr(item_queries, "ITEMS_AT_ONCE", 6)
    batches = sorted([UUID(await fill(client)) for _ in range(6)])
    first = (await client.get("/items", text="århus", limit=3)).json()
    assert asked == [batches[:2]]
    await client.get("/items", text="århus", limit=3, cursor=first["next_cursor"])
    assert asked[1:] == [[batches[1]], batches[2:4]]


async def test_a_large_batch_is_read_by_itself(
    client: Client, monkeypatch: pytest.MonkeyPatch, asked: Asked
) -> None:
    monkeypatch.setattr(item_queries, "LARGE", 3)
    batches = sorted([UUID(await fill(client)) for _ in range(4)])
    await factories.make_items(client.db, team=client.team, batch_id=batches[2])
    found = (await client.get("/items")).json()["data"]
    assert (len(found), asked) == (13, [batches[:2], [batches[2]], [batches[3]]])


async def test_a_list_goes_on_where_batches_ran_while_it_was_read(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    early, late = sorted([await fill(client), await fill(client)])

    async def run(
        conn: Connection, query: str, values: Mapping[str, object]
    ) -> list[tuple[object, ...]]:
        rows = await plan_and_fetch(conn, query, values)
        if query == item_queries.FIND_BATCHES:
            async with client.db.transaction() as other:
                await other.execute(
                    "UPDATE items SET phase = 'done', status = 'booked' WHERE batch_id = %s",
                    (UUID(early),),
                )
        return rows

    monkeypatch.setattr(item_queries, "plan_and_fetch", run)
    page = (await client.get("/items", status="waiting", limit=2)).json()
    assert [(one["batch_id"], one["position"]) for one in page["data"]] == [(late, 0), (late, 1)]
    assert page["next_cursor"] is not None

"""Lists through the operator API: files and JSON, refused rows, more rows, keys."""

import json
from pathlib import Path

import httpx
import pytest

from batchyard.config import Config
from batchyard.models import BatchState, Kind
from batchyard.store.db import Database
from tests import factories
from tests.api.operator.conftest import Client, Clients
from tests.intake.sheets import write_book

CALLS = b"contact_number,name\n+4520123456,Ann\n12,Bo\n+4520123457,Cy\n"
KEY = "upload-of-this-test"
BOOK = {
    "Front": [["contact_number"], ["+4520123450"]],
    "Calls": [["contact_number", "name"], ["+4520123456", "Ann"], ["+4520123457", "Cy"]],
}


async def upload(
    client: Client,
    path: str,
    content: bytes = CALLS,
    *,
    key: str | None = None,
    name: str = "calls.csv",
    **fields: str,
) -> httpx.Response:
    return await client.http.post(
        f"/api/v1{path}",
        data=fields,
        files={"file": (name, content)},
        headers={} if key is None else {"Idempotency-Key": key},
    )


async def make_calls(client: Client, **fields: str) -> httpx.Response:
    agent_id = await factories.make_agent(client.db, team=client.team)
    told = {"kind": "call", "agent_id": str(agent_id), **fields}
    return await upload(client, "/batches", CALLS, key=None, name="calls.csv", **told)


async def test_a_file_becomes_an_open_batch_with_a_row_report(client: Client) -> None:
    made = await make_calls(client, reference="spring", retries='{"statuses": ["busy"]}')
    assert made.status_code == 201, made.text
    report = made.json()
    assert (report["rows"], report["accepted"], report["refused"]) == (3, 2, 1)
    assert report["first_refusals"][0]["line"] == 3
    batch = (await client.get(f"/batches/{report['batch_id']}")).json()
    assert (batch["state"], batch["total"], batch["reference"]) == ("open", 2, "spring")
    assert batch["file_name"] == "calls.csv"
    assert batch["retry_policy"]["statuses"] == ["busy"]
    rows = (await client.get(f"/batches/{report['batch_id']}/rows")).json()
    assert [(row["line"], row["cells"]) for row in rows["data"]] == [(3, ["12", "Bo"])]
    assert rows["uploads"][0]["accepted"] == 2
    assert rows["next_after_line"] is None


async def test_rows_of_json_become_a_batch_with_a_mapping(client: Client) -> None:
    agent_id = await factories.make_agent(client.db, team=client.team)
    body = {
        "kind": "call",
        "agent_id": str(agent_id),
        "rows": [{"contact_number": "+4520123456", "name": "Ann"}],
    }
    made = await client.post("/batches", body)
    assert made.status_code == 201, made.text
    assert made.json()["accepted"] == 1
    found = (await client.get("/items", batch_id=made.json()["batch_id"])).json()["data"]
    assert [item["number"] for item in found] == ["+4520123456"]


async def test_a_file_is_read_in_the_encoding_that_is_said(client: Client) -> None:
    agent_id = str(await factories.make_agent(client.db, team=client.team))
    told = {"kind": "call", "agent_id": agent_id, "encoding": "windows-1251"}
    rows = {"rows": [{"contact_number": "+4520123457", "имя": "Жанна"}]}
    content = "contact_number,имя\n+4520123456,Жанна\n".encode("cp1251")
    assert (await upload(client, "/batches", content, **told)).status_code == 201
    # Rows in a body are UTF-8, whatever is said.
    assert (await client.post("/batches", told | rows)).status_code == 201
    found = (await client.get("/items")).json()["data"]
    items = [(await client.get(f"/items/{item['id']}")).json() for item in found]
    assert [item["payload"] for item in items] == [{"имя": "Жанна"}] * 2
    refused = await upload(client, "/batches", content, **told | {"encoding": "klingon"})
    assert (refused.status_code, refused.json()["code"]) == (422, "encoding_unknown")


async def test_columns_are_mapped(client: Client) -> None:
    agent_id = await factories.make_agent(client.db, team=client.team)
    made = await upload(
        client,
        "/batches",
        b"who,where\nAnn,+4520123456\n",
        kind="call",
        agent_id=str(agent_id),
        mapping=json.dumps({"where": "contact_number"}),
    )
    assert made.status_code == 201, made.text
    assert made.json()["accepted"] == 1


async def test_all_or_nothing_leaves_nothing(client: Client) -> None:
    made = await make_calls(client, policy="all_or_nothing")
    assert made.status_code == 422
    assert made.json()["code"] == "rows_refused"
    assert (await client.get("/batches")).json()["data"] == []


@pytest.mark.parametrize(
    "fields",
    [{}, {"kind": "call"}, {"kind": "parcel"}, {"kind": "shipment", "colour": "red"}],
)
async def test_what_is_said_wrongly_is_refused(client: Client, fields: dict[str, str]) -> None:
    answer = await upload(client, "/batches", CALLS, key=None, name="calls.csv", **fields)
    assert answer.status_code == 422
    assert answer.json()["code"] == "invalid"


async def test_a_body_that_is_no_list_is_refused(client: Client) -> None:
    bodies: list[object] = [None, [], {"kind": "shipment"}, {"rows": 1}]
    for body in bodies:
        assert (await client.post("/batches", body)).status_code == 422, body


async def test_a_keyed_upload_is_done_once_whatever_its_boundary(client: Client) -> None:
    agent = str(await factories.make_agent(client.db, team=client.team))
    key = "upload-of-today-1"
    first = await upload(client, "/batches", key=key, kind="call", agent_id=agent)
    again = await upload(client, "/batches", key=key, kind="call", agent_id=agent)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    other = await upload(client, "/batches", b"contact_number\n+4520123458\n", key=key, kind="call")
    assert other.status_code == 422
    assert len((await client.get("/batches")).json()["data"]) == 1


async def test_rows_join_a_batch_and_refused_ones_are_mended(client: Client) -> None:
    batch_id = (await make_calls(client)).json()["batch_id"]
    more = await upload(client, f"/batches/{batch_id}/rows", b"contact_number\n+4520123459\n")
    assert more.status_code == 200, more.text
    assert more.json()["accepted"] == 1
    refused = (await client.get(f"/batches/{batch_id}/rejected.csv")).content
    mended = await upload(
        client, f"/batches/{batch_id}/mend", refused.replace(b"12,Bo", b"+4520123450,Bo")
    )
    assert mended.status_code == 200, mended.text
    batch = (await client.get(f"/batches/{batch_id}")).json()
    assert batch["total"] == 4
    assert (await client.get(f"/batches/{batch_id}/rows")).json()["data"] == []


@pytest.mark.parametrize("way", ["rows", "mend"])
async def test_the_very_same_file_into_a_batch_is_told_or_refused(client: Client, way: str) -> None:
    batch_id = (await make_calls(client)).json()["batch_id"]
    path, more = f"/batches/{batch_id}/{way}", b"contact_number\n+4520123459\n"
    first = await upload(client, path, more)
    assert "batchyard-duplicate-of" not in first.headers
    again = await upload(client, path, more)
    assert (again.status_code, again.headers["batchyard-duplicate-of"]) == (200, batch_id)
    assert again.json()["duplicate_of"] == batch_id
    refused = await upload(client, path, more, refuses_same_file="true")
    assert (refused.status_code, refused.json()["code"]) == (422, "same_file")
    assert (await client.get(f"/batches/{batch_id}")).json()["total"] == 4


@pytest.mark.parametrize("way", ["/batches", "/batches/{}/rows", "/batches/{}/mend"])
async def test_the_very_same_file_is_told_again_with_the_answer(client: Client, way: str) -> None:
    agent_id = str(await factories.make_agent(client.db, team=client.team))
    fields = {"kind": "call", "agent_id": agent_id} if way == "/batches" else {}
    batch_id = (await make_calls(client)).json()["batch_id"]
    first, again = [
        await upload(client, way.format(batch_id), CALLS, key=KEY, name="calls.csv", **fields)
        for _ in range(2)
    ]
    assert first.headers["batchyard-duplicate-of"] == batch_id
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["batchyard-duplicate-of"] == batch_id
    assert again.content == first.content


async def test_answer_of_an_upload_comes_again_without_what_was_erased(client: Client) -> None:
    agent_id = str(await factories.make_agent(client.db, team=client.team))
    first = await upload(client, "/batches", key=KEY, kind="call", agent_id=agent_id)
    async with client.db.transaction() as conn:
        await conn.execute("UPDATE idempotency SET body = '{\"erased\": true}'")
    again = await upload(client, "/batches", key=KEY, kind="call", agent_id=agent_id)
    assert (again.status_code, again.json()) == (first.status_code, {"erased": True})


async def test_the_very_same_file_is_refused_into_batches_where_the_server_says_so(
    db: Database,
) -> None:
    team = await factories.make_team(db)
    strict = Clients(db, Config(refuse_same_file=True))
    client = await strict.of(team)
    batch_id = (await make_calls(client)).json()["batch_id"]
    for way in ("rows", "mend"):
        refused = await upload(client, f"/batches/{batch_id}/{way}")
        assert (refused.status_code, refused.json()["code"]) == (422, "same_file")
    await strict.close()


async def test_batches_of_another_team_take_no_rows(clients: Clients) -> None:
    owner = await factories.make_team(clients.db)
    batch_id = await factories.make_batch(clients.db, team=owner, kind=Kind.CALL)
    other = await clients.of(await factories.make_team(clients.db))
    for action in ("rows", "mend"):
        assert (await upload(other, f"/batches/{batch_id}/{action}")).status_code == 404
    assert (await other.get(f"/batches/{batch_id}/rows")).status_code == 404


async def test_a_cancelled_batch_takes_no_rows(client: Client) -> None:
    batch_id = await factories.make_batch(
        client.db, team=client.team, kind=Kind.CALL, state=BatchState.CANCELLED
    )
    assert (await upload(client, f"/batches/{batch_id}/rows")).status_code == 404


@pytest.mark.parametrize(
    "sheet,numbers",
    [
        (None, ["+4520123450"]),
        ("Calls", ["+4520123456", "+4520123457"]),
        ("calls", ["+4520123456", "+4520123457"]),
    ],
)
async def test_a_spreadsheet_is_read_from_the_sheet_it_names(
    client: Client, tmp_path: Path, sheet: str | None, numbers: list[str]
) -> None:
    agent_id = await factories.make_agent(client.db, team=client.team)
    made = await upload(
        client,
        "/batches",
        write_book(tmp_path / "calls.xlsx", BOOK),
        name="calls.xlsx",
        kind="call",
        agent_id=str(agent_id),
        **({} if sheet is None else {"sheet": sheet}),
    )
    assert made.status_code == 201, made.text
    found = (await client.get("/items", batch_id=made.json()["batch_id"])).json()["data"]
    assert sorted(item["number"] for item in found) == numbers


async def test_a_sheet_that_is_not_there_is_refused_with_the_names_of_those_that_are(
    client: Client, tmp_path: Path
) -> None:
    agent_id = await factories.make_agent(client.db, team=client.team)
    answer = await upload(
        client,
        "/batches",
        write_book(tmp_path / "calls.xlsx", BOOK),
        name="calls.xlsx",
        kind="call",
        agent_id=str(agent_id),
        sheet="Nowhere",
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "sheet_missing")
    assert "Front, Calls" in answer.json()["detail"]
    assert (await client.get("/batches")).json()["data"] == []


async def test_more_rows_come_from_the_sheet_that_is_named(client: Client, tmp_path: Path) -> None:
    batch_id = (await make_calls(client)).json()["batch_id"]
    book = write_book(tmp_path / "more.xlsx", BOOK)
    more = await upload(client, f"/batches/{batch_id}/rows", book, name="more.xlsx", sheet="Calls")
    assert (more.status_code, more.json()["accepted"]) == (200, 2)

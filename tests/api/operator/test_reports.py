"""The row report and the mend file of a batch, and an upload that is followed."""

import asyncio
import json
from collections.abc import AsyncIterator
from uuid import uuid4

from tests import factories
from tests.api.operator.conftest import Client
from tests.api.operator.test_uploads import make_calls, upload
from tests.operations.lists import SHIPMENT_HEADER, shipment_row

BOUNDARY = "b"


def part(name: str, value: str) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
    return f"{head}{value}\r\n".encode()


async def test_row_report_counts_by_verdict_and_pages_by_line(client: Client) -> None:
    content = b"phone,name\n12,a\n+11112223333,b\n13,c\n=1,d\n"
    agent_id = await factories.make_agent(client.db, team=client.team)
    said = {"kind": "call", "agent_id": str(agent_id)}
    batch_id = (await upload(client, "/batches", content, **said)).json()["batch_id"]
    report = (await client.get(f"/batches/{batch_id}/rows", limit=2)).json()
    assert (report["rows"], report["accepted"], report["refused"]) == (4, 1, 3)
    assert report["refused_by_code"] == {"phone_no_plus": 2, "formula_cell": 1}
    assert report["warned_by_code"]["phone_unassigned_range"] == 1
    assert [row["line"] for row in report["data"]] == [2, 4]
    rest = (await client.get(f"/batches/{batch_id}/rows", after_line=4)).json()
    first = (await client.get(f"/batches/{batch_id}/rows", limit=1)).json()
    following = await client.get(f"/batches/{batch_id}/rows", cursor=first["next_cursor"])
    assert (
        following.json()["data"][0]["line"] > first["data"][0]["line"] == first["next_after_line"]
    )
    assert [row["code"] for row in rest["data"]] == ["formula_cell"]
    one = (await client.get(f"/batches/{batch_id}/rows", code="formula_cell")).json()["data"]
    assert [row["cells"] for row in one] == [["=1", "d"]]

    first = (await client.get(f"/batches/{batch_id}/warnings", limit=1)).json()
    behind = await client.get(f"/batches/{batch_id}/warnings", cursor=first["next_cursor"])
    told = first["data"] + behind.json()["data"]
    assert [(row["line"], row["code"]) for row in told] == [
        (None, "column_guessed"),
        (3, "phone_unassigned_range"),
    ]
    assert (await client.get(f"/batches/{batch_id}/warnings", cursor="W10")).status_code == 422


async def test_every_remark_on_a_file_is_told_page_by_page(client: Client) -> None:
    unknown = [f"note {n}" for n in range(150)]
    header = ",".join([SHIPMENT_HEADER, *unknown])
    content = f"{header}\n{shipment_row()}{',' * len(unknown)}\n".encode()
    batch_id = (await upload(client, "/batches", content, kind="shipment")).json()["batch_id"]
    told: list[str] = []
    cursor: object = None
    for _ in range(2 * len(unknown)):
        path = f"/batches/{batch_id}/warnings"
        page = (await client.get(path, limit=40, code="column_unknown", cursor=cursor)).json()
        assert {tuple(one) for one in page["data"]} == {("line", "code", "reason")}
        told += [one["reason"] for one in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(told) == len(set(told)) == len(unknown)


async def test_mend_file_comes_in_the_format_that_is_asked_for(client: Client) -> None:
    batch_id = (await make_calls(client)).json()["batch_id"]
    usual = await client.get(f"/batches/{batch_id}/mend")
    assert usual.headers["content-type"] == "text/csv; charset=utf-8"
    assert usual.text.splitlines()[1].startswith("12,Bo,phone_no_plus,")
    lines = (await client.get(f"/batches/{batch_id}/mend", format="ndjson")).text.splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["Bo"]
    sheet = await client.get(f"/batches/{batch_id}/mend", format="xlsx")
    assert sheet.content.startswith(b"PK")
    assert (await client.get(f"/batches/{batch_id}/mend", format="pdf")).status_code == 422


async def test_mend_file_that_no_spreadsheet_holds_is_refused_with_the_way_out(
    client: Client,
) -> None:
    batch_id = (await make_calls(client)).json()["batch_id"]
    long = f"contact_number,note\n12,{'x' * 40_000}\n".encode()
    assert (await upload(client, f"/batches/{batch_id}/rows", long)).status_code == 200
    refused = await client.get(f"/batches/{batch_id}/mend", format="xlsx")
    assert (refused.status_code, refused.json()["code"]) == (422, "sheet_too_large")
    assert "CSV" in refused.json()["detail"]


async def test_upload_is_followed_while_it_comes_in(client: Client) -> None:
    agent_id, upload_id = await factories.make_agent(client.db, team=client.team), uuid4()
    seen: list[dict[str, object]] = []

    async def form() -> AsyncIterator[bytes]:
        yield part("kind", "call") + part("agent_id", str(agent_id))
        yield part("upload_id", str(upload_id))
        yield (
            f"--{BOUNDARY}\r\nContent-Disposition: form-data; "
            'name="file"; filename="l.csv"\r\n\r\nphone\n'
        ).encode()
        rows = "".join(f"+4520{n:06d}\n" for n in range(24_000))
        yield rows.encode()
        async with asyncio.timeout(30):
            while not (listed := (await client.get("/uploads")).json()["data"]):  # noqa: ASYNC110  # rows send no signal
                await asyncio.sleep(0.01)
        assert [one["id"] for one in listed] == [str(upload_id)]
        seen.append((await client.get(f"/uploads/{upload_id}")).json())
        assert (await client.get("/batches")).json()["data"] == []
        yield f"12\n\r\n--{BOUNDARY}--\r\n".encode()

    made = await client.http.post(
        "/api/v1/batches",
        content=form(),
        headers={"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"},
    )
    assert made.status_code == 201, made.text
    assert made.json()["batch_id"] == str(upload_id)
    assert seen[0]["state"] == "reading"
    assert 0 < int(str(seen[0]["rows"])) <= 24_000
    assert int(str(seen[0]["bytes"])) > 100_000
    ended = (await client.get(f"/uploads/{upload_id}")).json()
    assert (ended["state"], ended["rows"], ended["refused"]) == ("done", 24_001, 1)
    assert (await client.get("/uploads")).json()["data"] == []
    taken = await upload(
        client, "/batches", kind="call", agent_id=str(agent_id), upload_id=str(upload_id)
    )
    assert taken.status_code == 409
    assert "upload_id" in taken.json()["detail"]


async def test_very_same_file_is_told_by_a_header(client: Client) -> None:
    first = await make_calls(client)
    again = await make_calls(client)
    assert "batchyard-duplicate-of" not in first.headers
    assert again.headers["batchyard-duplicate-of"] == first.json()["batch_id"]

"""What the database cannot hold, or was meant for another list, is refused; never a 500."""

import json
import tracemalloc
from collections.abc import Iterator

import pytest
from fastapi.routing import APIRoute

from batchyard.api.operator import texts
from batchyard.api.operator.routes import PREFIX, ROUTERS
from batchyard.cursors import write_cursor
from batchyard.errors import InvalidRequest
from batchyard.models import Kind
from tests import factories
from tests.api.operator.conftest import Client

NUL = "has a NUL character"
HALF = "has half of a pair of characters"


def reading() -> Iterator[APIRoute]:
    for router in ROUTERS:
        for route in router.routes:
            if isinstance(route, APIRoute) and "GET" in (route.methods or ()):
                yield route


@pytest.mark.parametrize("path", sorted({route.path for route in reading()}))
async def test_nul_in_an_address_is_refused_by_every_route(client: Client, path: str) -> None:
    for part in path.split("/"):
        if part.startswith("{"):
            path = path.replace(part, "%00")
    answer = await client.http.get(f"{PREFIX}{path}?text=%00&number=%00&anything=%00")
    assert answer.status_code == 422, answer.text
    fields = {one["field"] for one in answer.json()["errors"]}
    assert {"query.text.0", "query.number.0", "query.anything.0"} <= fields


@pytest.mark.parametrize(
    "method,path,body,field",
    [
        ("POST", "/tokens", {"name": "a\0b"}, "body.name"),
        ("POST", "/users", {"name": "a\0", "email": "a@example.com"}, "body.name"),
        ("POST", "/privacy/export", {"email": "a\0@example.com"}, "body.email"),
        ("POST", "/agents", {"name": "\0"}, "body.name"),
        ("PATCH", "/team", {"name": "a\0"}, "body.name"),
        ("POST", "/mappings/propose", {"kind": "call", "header": ["a\0"]}, "body.header.0"),
        ("POST", "/items/resolve", {"as": "done", "error_code": "\0"}, "body.error_code"),
    ],
)
async def test_nul_in_a_body_is_refused(
    client: Client, method: str, path: str, body: object, field: str
) -> None:
    answer = await client.http.request(method, f"{PREFIX}{path}", json=body)
    assert answer.status_code == 422, answer.text
    assert {"field": field, "detail": NUL} in answer.json()["errors"]


async def test_half_a_character_in_a_payload_is_refused(client: Client) -> None:
    batch_id = await factories.make_batch(client.db, team=client.team, kind=Kind.CALL)
    [item_id] = await factories.make_items(
        client.db, team=client.team, batch_id=batch_id, number="+4520123456"
    )
    for content, field in (
        (rb'{"payload": {"name": "\ud800"}}', "body.payload.name"),
        (rb'{"payload": {"\udfff": [1]}}', r"body.payload.\udfff"),
        (b'{"payload": {"name": "\xed\xa0\x80"}}', "body.payload.name"),
    ):
        answer = await client.http.patch(
            f"{PREFIX}/items/{item_id}",
            content=content,
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code == 422, answer.text
        assert answer.json()["errors"] == [{"field": field, "detail": HALF}]
    whole = await client.patch(f"/items/{item_id}", {"payload": {"name": "😀"}})
    assert whole.status_code == 200, whole.text


async def test_body_nested_too_deeply_is_refused(client: Client) -> None:
    content = b'{"payload": ' + b'{"a":' * 3000 + rb'"\ud800"' + b"}" * 3001
    answer = await client.http.patch(
        f"{PREFIX}/items/0194d2a5-0000-7000-8000-000000000000",
        content=content,
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code in {400, 422}, answer.text


CURSORS = {
    "batches": write_cursor(["2026-01-01T00:00:00Z", "0194d2a5-0000-7000-8000-000000000000"]),
    "items": write_cursor(
        [
            "0194d2a5-0000-7000-8000-000000000000",
            3,
            "0194d2a5-0000-7000-8000-000000000000",
        ]
    ),
    "deliveries": write_cursor(["2026-01-01T00:00:00Z", 3, "0194d2a5-0000-7000-8000-000000000000"]),
    "warnings": write_cursor([3, "column_guessed", "(7,12)"]),
    "no place": write_cursor([3, "column_guessed", "(9999999999,1)"]),
    "numbers": write_cursor(["+4520123456"]),
    "lines": write_cursor([3]),
    "huge": write_cursor([2**63 - 1] * 3),
    "texts": write_cursor(["a\0", "b", "c"]),
    "null": write_cursor([None, None]),
}
LISTS = {
    "/batches": {"batches"},
    "/items": {"items"},
    "/webhooks/deliveries": {"deliveries"},
    "/contacts/do-not-contact": {"numbers"},
    "/audit": {"lines"},
    "/batches/{batch_id}/warnings": {"warnings"},
    "/batches/{batch_id}/rows": {"lines"},
}


@pytest.mark.parametrize("path", LISTS)
async def test_cursor_of_another_list_is_refused(client: Client, path: str) -> None:
    batch_id = await factories.make_batch(client.db, team=client.team)
    for name, cursor in CURSORS.items():
        answer = await client.get(path.format(batch_id=batch_id), cursor=cursor)
        if name in LISTS[path]:
            assert answer.status_code == 200, (name, answer.text)
        else:
            assert answer.status_code == 422, (name, answer.text)
            assert answer.json()["errors"] == [{"field": "cursor", "detail": "not ours"}]


@pytest.mark.parametrize("path", ["/tokens/99999999999999999999", "/audit?before_id=1" + "0" * 30])
async def test_number_that_fits_no_column_is_refused(client: Client, path: str) -> None:
    method = "DELETE" if path.startswith("/tokens") else "GET"
    answer = await client.http.request(method, f"{PREFIX}{path}")
    assert answer.status_code == 422, answer.text


async def test_field_of_a_form_is_json_only_where_it_is_an_object_or_a_list(
    client: Client,
) -> None:
    agent_id = await factories.make_agent(client.db, team=client.team)
    file = {"file": ("list.csv", b"Mobil,name\n+4520123456,a\n", "text/csv")}
    said = {
        "kind": "call",
        "agent_id": str(agent_id),
        "reference": "[VIP] March",
        "mapping": '{"Mobil": "contact_number"}',
        "from_numbers": '["+4520000001"]',
    }
    made = await client.http.post(f"{PREFIX}/batches", data=said, files=file)
    assert made.status_code == 201, made.text
    shown = (await client.get(f"/batches/{made.json()['batch_id']}")).json()
    assert (shown["reference"], shown["from_numbers"]) == ("[VIP] March", ["+4520000001"])
    for wrong, field in (
        ({"mapping": '{"Mobil": '}, "mapping"),
        ({"mapping": "Mobil"}, "mapping"),
        ({"mapping": r'{"Mobil": "\u0000"}'}, "mapping.Mobil"),
        ({"reference": "a\0"}, "reference"),
    ):
        answer = await client.http.post(f"{PREFIX}/batches", data=said | wrong, files=file)
        assert answer.status_code == 422, answer.text
        assert [one["field"] for one in answer.json()["errors"]] == [field]


@pytest.mark.parametrize("number", [0, 1_900_000_000, "1900000000"])
async def test_number_is_no_time(client: Client, number: object) -> None:
    body = {"name": "till", "scopes": ["batches:read"], "expires_at": number}
    answer = await client.http.post(f"{PREFIX}/tokens", json=body)
    assert answer.status_code == 422, answer.text
    assert "RFC 3339" in answer.text
    listed = await client.http.get(f"{PREFIX}/batches?created_after={number}")
    assert listed.status_code == 422, listed.text


def peak_of_check(said: object) -> int:
    """Return how many bytes it takes to look a body through."""
    tracemalloc.start()
    try:
        texts.check({"body": said})
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak


@pytest.mark.parametrize("member", ["0", '"a"', "[]", '{"a":0}'])
def test_a_body_is_looked_through_in_no_more_memory_than_it_has(member: str) -> None:
    said = json.loads(rf'["\u0041"{f",{member}" * (1_000_000 // (len(member) + 1))}]')
    assert peak_of_check(said) < 100_000


def test_of_many_faults_some_are_told() -> None:
    name = "x" * 10_000
    with pytest.raises(InvalidRequest) as refused:
        texts.check({"a": {f"{name}{n}": ["\0", {"b": "\ud800"}] for n in range(10_000)}})
    told = refused.value.faults or {}
    assert sum(map(len, told.values())) == texts.FAULTS_TOLD
    assert max(map(len, told)) == texts.PLACE_CHARACTERS


def test_every_place_is_named() -> None:
    with pytest.raises(InvalidRequest) as refused:
        texts.check({"a": [0, ["\0", "b"], {"c": {"d\0": "\0"}}], "e": "\ud800", "f": [[[]]]})
    assert refused.value.faults == {
        "a.1.0": [NUL],
        r"a.2.c.d\x00": [NUL, NUL],
        "e": [HALF],
    }


async def test_who_is_unknown_has_nothing_looked_through(client: Client) -> None:
    del client.http.headers["Authorization"]
    for answer in (
        await client.post("/items/resolve", {"as": "done", "error_code": "\0"}),
        await client.post("/agents", {"name": "\0"}),
        await client.get("/items", text="\0"),
    ):
        assert answer.status_code == 401, answer.text

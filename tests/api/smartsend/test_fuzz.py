"""Bad input of every kind: 4xx with a reason, never 500; what is good is taken."""

import json
from copy import deepcopy
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.api.smartsend.conftest import Client, make_shipment
from tests.api.smartsend.test_shipments import FULL

fuzzed = settings(
    max_examples=150,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

TEXTS = st.one_of(
    st.text(max_size=20),
    st.text(st.characters(categories=["Cs", "Cc", "Cn", "Zs"]), max_size=5),
    st.sampled_from(["", "\0", "x" * 300, "\ud800", "\u202e", "1e999", "null", "-0"]),
)
NUMBERS = st.one_of(
    st.integers(-(10**40), 10**40),
    st.floats(),
    st.sampled_from([0, -1, 2**53, 2**63, 2**64, 1e308, 5e-324, 10**400]),
)
LEAVES = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5), st.dictionaries(st.text(max_size=10), inner, max_size=5)
    ),
    max_leaves=15,
)
MEDIA_TYPES = st.sampled_from(
    ["application/json", "", "text/plain", "application/xml", "application/json; charset=utf-16"]
)


def places(value: object, way: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return the way to each value inside a value."""
    found = [way] if way else []
    if isinstance(value, dict):
        for key, inner in value.items():
            found += places(inner, (*way, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            found += places(inner, (*way, index))
    return found


def changed(way: tuple[str | int, ...], value: object) -> dict[str, Any]:
    shipment: Any = deepcopy(FULL)
    place: Any = shipment
    for step in way[:-1]:
        place = place[step]
    place[way[-1]] = value
    whole: dict[str, Any] = shipment
    return whole


def check(answer: httpx.Response) -> None:
    """Hold that a client learns what is wrong, and that nothing broke."""
    assert answer.status_code < 500, answer.request.content[:500]
    told = answer.json()
    if answer.status_code == 422:
        assert told["errors"]
        assert all(sentences for sentences in told["errors"].values())
    if answer.status_code >= 400:
        assert told["message"]


async def post(client: Client, path: str, body: object) -> httpx.Response:
    return await client.post(
        path,
        content=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )


@fuzzed
@given(way=st.sampled_from(places(FULL)), value=VALUES)
async def test_a_shipment_with_a_strange_value_is_taken_or_refused(
    client: Client, way: tuple[str | int, ...], value: object
) -> None:
    answer = await post(client, "/shipments", changed(way, value))

    check(answer)
    if answer.status_code == 201:
        shipment = answer.json()["data"]["uuid"]
        read = await client.get(f"/shipments/{shipment}")
        # Only what is read alone tells its errors.
        assert read.json()["data"] == answer.json()["data"] | {"errors": []}


@fuzzed
@given(
    data=st.lists(st.one_of(VALUES, st.just(make_shipment())), max_size=4), is_lenient=st.booleans()
)
async def test_shipments_of_any_kind_are_added_or_refused(
    client: Client, data: list[object], is_lenient: bool
) -> None:
    batch = await client.make_batch()

    answer = await client.post(
        f"/booking-batches/{batch}/shipments",
        content=json.dumps({"data": data}).encode(),
        headers={
            "Content-Type": "application/json",
            "Prefer": "handling=lenient" if is_lenient else "",
        },
    )

    check(answer)
    good = len([one for one in data if one == make_shipment()])
    taken = len(answer.json()["data"]) if answer.status_code == 201 else 0
    assert taken == (good if is_lenient or good == len(data) else 0)


@fuzzed
@given(body=VALUES, path=st.sampled_from(["/shipments", "/booking-batches"]))
async def test_any_json_is_answered(client: Client, body: object, path: str) -> None:
    check(await post(client, path, body))


@fuzzed
@given(body=st.binary(max_size=200), media_type=MEDIA_TYPES)
async def test_any_bytes_are_answered(client: Client, body: bytes, media_type: str) -> None:
    headers = {"Content-Type": media_type} if media_type else {}

    answer = await client.post("/booking-batches", content=body, headers=headers)

    check(answer)


@fuzzed
@given(
    page=st.one_of(st.integers(-(10**30), 10**30).map(str), st.text(max_size=8)),
    per_page=st.one_of(st.integers(-5, 1005).map(str), st.text(max_size=8)),
    state=st.one_of(st.sampled_from(["open", "booked", "failed"]), st.text(max_size=8)),
    path=st.sampled_from(["/booking-batches", "/shipments"]),
)
async def test_any_page_is_answered(
    client: Client, page: str, per_page: str, state: str, path: str
) -> None:
    check(await client.get(path, params={"page": page, "per_page": per_page, "state": state}))


@fuzzed
@given(
    name=st.sampled_from(["Accept-Language", "Request-ID", "Idempotency-Key", "Prefer", "Accept"]),
    value=st.text(
        st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"),
        max_size=150,
    ),
)
async def test_any_header_is_answered(client: Client, name: str, value: str) -> None:
    headers = {name: value.encode("latin-1")}

    check(await client.post("/booking-batches", headers=headers))
    batch = await client.make_batch()
    check(await client.get(f"/booking-batches/{batch}/documents", headers=headers))


@pytest.mark.parametrize("depth", [50, 1_000, 100_000])
async def test_deep_nesting_is_422(client: Client, depth: int) -> None:
    for body in (b"[" * depth, b'{"a":' * depth, b"[" * depth + b"]" * depth):
        answer = await client.post(
            "/shipments", content=body, headers={"Content-Type": "application/json"}
        )
        check(answer)
        assert answer.status_code in (413, 422)

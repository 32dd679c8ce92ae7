"""Bodies that are no good: always 4xx with a reason, never 500."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from batchyard.api.smartsend import batch_routes
from batchyard.api.smartsend.checking import Checked, check_shipments
from batchyard.api.smartsend.routes import build_door
from batchyard.config import Config
from batchyard.store.db import Database
from tests.api.smartsend.conftest import Client, make_shipment, open_client
from tests.factories import make_team

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    "body, told",
    [
        (b"{", "The body is no valid JSON."),
        (b"\xff\xfe{}", "The body is no valid JSON."),
        (b'{"reference": "\xe6"}', "The body is no valid JSON."),
        (b"[" * 5_000, "The body is no valid JSON."),
        (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "The body is no valid JSON."),
        (b'{"reference": ' + b"9" * 5_000 + b"}", "The body is no valid JSON."),
        (b'{"a": 1, "a": 2}', "The body names a key twice in one object: a."),
        (b'{"x": [{"\\ud800": 1, "\\ud800": 2}]}', "The body names a key twice in one object: ?."),
        (b"[]", "This must be an object."),
        (b'"text"', "This must be an object."),
        (b"7", "This must be an object."),
    ],
)
async def test_a_body_that_is_no_object_is_422(client: Client, body: bytes, told: str) -> None:
    answer = await client.post("/booking-batches", content=body, headers=JSON)

    assert answer.status_code == 422
    assert answer.json() == {"message": "The request is not valid.", "errors": {"body": [told]}}


@pytest.mark.parametrize(
    "body, errors",
    [
        ('{"reference": 7}', {"reference": ["This must be a string."]}),
        ('{"reference": NaN}', {"reference": ["This must be a string."]}),
        (
            '{"reference": "%s"}' % ("x" * 256),
            {"reference": ["This must have at most 255 characters."]},
        ),
        (
            '{"reference": "a\\u0000", "identifier": "\\ud800"}',
            {
                "reference": ["This must not contain the character NUL."],
                "identifier": ["This value is not valid."],
            },
        ),
    ],
)
async def test_wrong_values_are_422(
    client: Client, body: str, errors: dict[str, list[str]]
) -> None:
    answer = await client.post("/booking-batches", content=body, headers=JSON)

    assert answer.status_code == 422
    assert answer.json()["errors"] == errors


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
        {"Content-Type": "nonsense"},
    ],
)
async def test_another_media_type_is_415(client: Client, headers: dict[str, str]) -> None:
    answer = await client.post("/booking-batches", content="{}", headers=headers)

    assert answer.status_code == 415
    assert answer.json()["message"].startswith("The body must be JSON")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "application/json"},
        {"Content-Type": "Application/JSON; Charset=UTF-8"},
        {"Content-Type": "application/vnd.api+json"},
    ],
)
async def test_json_by_any_of_its_names_is_read(client: Client, headers: dict[str, str]) -> None:
    answer = await client.post(
        "/booking-batches", content='\ufeff{"reference": "æ"}'.encode(), headers=headers
    )

    assert answer.status_code == 201
    assert answer.json()["data"]["reference"] == "æ"


async def test_a_body_too_large_is_413_without_being_sent(client: Client) -> None:
    sent = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += 1
            yield b" " * 256 * 1024

    with_length = await client.post(
        "/booking-batches", content=body(), headers={**JSON, "Content-Length": str(25 * 1024**2)}
    )
    assert with_length.status_code == 413
    assert sent <= 1

    sent = 0
    chunked = await client.post("/booking-batches", content=body(), headers=JSON)
    assert chunked.status_code == 413
    assert sent <= 6
    assert chunked.json() == {"message": "The request is too large."}


async def test_a_body_of_too_many_values_is_413(client: Client) -> None:
    batch = await client.make_batch()

    answer = await client.post(
        f"/booking-batches/{batch}/shipments",
        content=b'{"data":[' + b"[]," * 100_000 + b"[]]}",
        headers=JSON,
    )

    assert answer.status_code == 413


async def test_long_texts_and_endless_numbers_are_422(client: Client) -> None:
    batch = await client.make_batch()
    shipment = make_shipment(
        reference="x" * 500_000,
        total_net_amount=10**30,
        parcels__0__gross_weight=10**400,
        parcels__0__length=0,
        parcels__0__width=True,
    )

    answer = await client.add(batch, shipment)

    assert answer.status_code == 422
    assert answer.json()["errors"] == {
        "data.0.reference": ["This must have at most 255 characters."],
        "data.0.total_net_amount": ["This must be at most 9007199254740991."],
        "data.0.parcels.0.gross_weight": ["This must be a number."],
        "data.0.parcels.0.length": ["This must be greater than 0."],
        "data.0.parcels.0.width": ["This must be a number."],
    }


@pytest.mark.parametrize(
    "data",
    [None, {}, "x", 1, [None], [[]], [[[]]], ["x"], [1e308], [{"parties": []}], [{"parcels": {}}]],
)
async def test_shipments_of_wrong_types_are_422(client: Client, data: object) -> None:
    batch = await client.make_batch()

    answer = await client.post(f"/booking-batches/{batch}/shipments", json={"data": data})

    assert answer.status_code == 422
    assert all(path.startswith("data") for path in answer.json()["errors"])


async def test_a_body_where_none_is_expected_is_not_read(client: Client) -> None:
    batch = await client.make_batch()
    await client.add(batch, make_shipment())

    answer = await client.post(
        f"/booking-batches/{batch}/dispatch", content=b"nonsense", headers={"Content-Type": "x/y"}
    )

    assert answer.status_code == 200


LARGE = {"data": [make_shipment(ignored="x" * 300_000)]}


async def test_large_bodies_are_worked_on_two_at_a_time(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/booking-batches/{await client.make_batch()}/shipments"
    inside = most = 0
    pair = asyncio.Barrier(2)

    async def watch(*given: Any, **named: Any) -> Checked:  # noqa: ANN401  # as the real one
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await pair.wait()
        await client.make_batch()
        inside -= 1
        return await check_shipments(*given, **named)

    monkeypatch.setattr(batch_routes, "check_shipments", watch)
    answers = await asyncio.gather(*(client.post(path, json=LARGE) for _ in range(6)))

    assert [answer.status_code for answer in answers] == [201] * 6
    assert most == 2


async def test_who_sends_a_large_body_slowly_holds_up_nobody(client: Client) -> None:
    path = f"/booking-batches/{await client.make_batch()}/shipments"
    text = json.dumps(LARGE).encode()
    is_over = asyncio.Event()
    arrived = [asyncio.Event() for _ in range(3)]

    async def send(place: int) -> AsyncIterator[bytes]:
        yield text[:-10]
        arrived[place].set()
        await is_over.wait()
        yield text[-10:]

    slow = [
        asyncio.create_task(client.post(path, content=send(place), headers=JSON))
        for place in range(3)
    ]
    for one in arrived:
        await one.wait()
    async with asyncio.timeout(20):
        quick = await client.post(path, json=LARGE)
    is_over.set()

    answers = [quick, *await asyncio.gather(*slow)]
    assert [answer.status_code for answer in answers] == [201] * 4


@pytest.fixture
async def usual(db: Database) -> AsyncIterator[Client]:
    """A client of a door whose settings nobody touched."""
    team = await make_team(db)
    async with open_client(build_door(Config(), db), db, team=team) as client:
        yield client


@pytest.mark.parametrize("beyond, status, read", [(0, 201, 1), (1, 413, 0)])
async def test_a_body_that_is_said_to_have_more_than_50_megabytes_is_not_read(
    usual: Client, beyond: int, status: int, read: int
) -> None:
    sent = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        sent += 1
        yield b"{}"

    length = str(50 * 1024**2 + beyond)
    answer = await usual.post(
        "/booking-batches", content=body(), headers={**JSON, "Content-Length": length}
    )

    assert (answer.status_code, sent) == (status, read)
    assert answer.is_success or answer.json() == {"message": "The request is too large."}


async def test_a_text_of_10_megabytes_is_422_with_a_reason(usual: Client) -> None:
    text = "x" * 10 * 1024**2
    too_long = {"reference": ["This must have at most 255 characters."]}

    for path, body, errors in (
        ("/booking-batches", {"reference": text}, too_long),
        ("/shipments", make_shipment(reference=text), too_long),
        ("/booking-batches", text, {"body": ["This must be an object."]}),
    ):
        answer = await usual.post(path, json=body)
        assert answer.status_code == 422
        assert answer.json() == {"message": "The request is not valid.", "errors": errors}

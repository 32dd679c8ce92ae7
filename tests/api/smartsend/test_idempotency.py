"""Contract, section 6: what is sent twice with one key is done once."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from batchyard.api.smartsend import batch_routes, catalogue, shipment_routes
from batchyard.api.smartsend.checking import check_shipments
from batchyard.store import idempotency
from batchyard.store.db import Database
from tests.api.smartsend.conftest import Client, make_shipment, working
from tests.api.smartsend.test_services import lead_to_http

KEY = {"Idempotency-Key": "order-1001-attempt"}
OTHER = {"Idempotency-Key": "order-1002-attempt"}


async def total(client: Client) -> int:
    return int((await client.get("/booking-batches")).json()["meta"]["total"])


async def test_the_same_request_is_done_once_and_answered_alike(client: Client) -> None:
    first = await client.post("/booking-batches", json={"reference": "r"}, headers=KEY)
    second = await client.post("/booking-batches", json={"reference": "r"}, headers=KEY)

    assert (first.status_code, second.status_code) == (201, 201)
    assert first.content == second.content
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    assert second.headers["Content-Type"] == first.headers["Content-Type"]
    assert await total(client) == 1


async def test_a_remembered_answer_is_in_the_language_it_says(client: Client) -> None:
    batch = await client.make_batch()
    made = (await client.post("/shipments", json=make_shipment())).json()["data"]["uuid"]
    paths = {
        f"/booking-batches/{batch}/dispatch": KEY,
        f"/shipments/{made}/booking": OTHER,
    }
    await client.delete(f"/shipments/{made}")

    for path, key in paths.items():
        first = await client.post(path, headers={**key, "Accept-Language": "en"})
        again = await client.post(path, headers={**key, "Accept-Language": "da"})
        fresh = await client.post(path, headers={"Accept-Language": "da"})

        assert again.headers["Idempotency-Replayed"] == "true"
        assert again.content == first.content != fresh.content
        languages = [one.headers["Content-Language"] for one in (first, again, fresh)]
        assert languages == ["en", "en", "da"]


async def test_a_preference_is_applied_once_and_by_no_refusal(client: Client) -> None:
    batch = await client.make_batch()
    made = (await client.post("/shipments", json=make_shipment())).json()["data"]["uuid"]
    adding, booking = f"/booking-batches/{batch}/shipments", f"/shipments/{made}/booking"
    lenient, at_once = {"Prefer": "handling=lenient"}, {"Prefer": "respond-async"}
    shipments = {"data": [make_shipment()]}

    async def applied(path: str, headers: dict[str, str], body: object = None) -> str | None:
        answer = await client.post(path, json=body, headers=headers)
        told: str | None = answer.headers.get("Preference-Applied")
        return told

    assert await applied(booking, {**KEY, **at_once}) == "respond-async"
    assert await applied(booking, {**KEY, **at_once}) is None
    assert await applied(booking, {**at_once, "Idempotency-Key": "another-key-00000"}) is None
    assert await applied(adding, OTHER, shipments) is None
    assert await applied(adding, {**OTHER, **lenient}, shipments) is None
    assert await applied(adding, lenient, shipments) == "handling=lenient"


@pytest.mark.parametrize("prefer", [{"Prefer": "respond-async"}, {}])
async def test_an_operation_that_comes_again_says_again_where_it_is(
    client: Client, monkeypatch: pytest.MonkeyPatch, prefer: dict[str, str]
) -> None:
    monkeypatch.setattr(shipment_routes, "PATIENCE_SECONDS", 0.05)
    made = (await client.post("/shipments", json=make_shipment())).json()["data"]["uuid"]
    path = f"/shipments/{made}/booking"

    first = await client.post(path, headers={**KEY, **prefer})
    again = await client.post(path, headers={**KEY, **prefer})

    assert (first.status_code, again.status_code) == (202, 202)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert first.headers["Location"].endswith(f"/operations/{first.json()['data']['uuid']}")
    assert again.headers["Location"] == first.headers["Location"]


async def test_another_key_is_another_request(client: Client) -> None:
    await client.post("/booking-batches", headers=KEY)
    await client.post("/booking-batches", headers=OTHER)
    await client.post("/booking-batches", headers={"Idempotency-Key": "ORDER-1001-attempt"})

    assert await total(client) == 3


async def test_a_key_is_for_one_request_only(client: Client) -> None:
    batch = await client.make_batch()
    await client.post("/booking-batches", json={"reference": "r"}, headers=KEY)

    answers = [
        await client.post("/booking-batches", json={"reference": "s"}, headers=KEY),
        await client.post("/booking-batches", headers=KEY),
        await client.post("/shipments", json=make_shipment(), headers=KEY),
        await client.delete(f"/booking-batches/{batch}", headers=KEY),
    ]

    for answer in answers:
        assert answer.status_code == 422
        assert answer.json()["errors"] == {
            "Idempotency-Key": ["This key was used for another request."]
        }


async def test_keys_of_teams_are_their_own(client: Client, stranger: Client) -> None:
    await client.post("/booking-batches", json={"reference": "north"}, headers=KEY)
    answer = await stranger.post("/booking-batches", json={"reference": "south"}, headers=KEY)

    assert answer.json()["data"]["reference"] == "south"


@pytest.mark.parametrize(
    "key", ["", "x" * 15, "x" * 129, "order 1001 attempt", "ordre-1001-forsøg"]
)
async def test_a_malformed_key_is_422(client: Client, key: str) -> None:
    answer = await client.post("/booking-batches", headers={"Idempotency-Key": key.encode()})

    assert answer.status_code == 422
    assert answer.json()["errors"] == {
        "Idempotency-Key": ["This must be 16 to 128 letters, digits, dots, dashes or underscores."]
    }


async def test_a_refusal_of_the_operation_is_remembered(client: Client) -> None:
    batch = await client.make_batch()
    first = await client.post(f"/booking-batches/{batch}/dispatch", headers=KEY)
    await client.add(batch, make_shipment())

    again = await client.post(f"/booking-batches/{batch}/dispatch", headers=KEY)

    assert (first.status_code, again.status_code) == (422, 422)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.content == first.content


async def test_a_request_that_was_never_understood_is_not_remembered(client: Client) -> None:
    wrong = await client.post("/booking-batches", json={"reference": 1}, headers=KEY)
    right = await client.post("/booking-batches", json={"reference": "r"}, headers=KEY)

    assert (wrong.status_code, right.status_code) == (422, 201)


async def narrow_offer(db: Database, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the team send by nothing of what it could before."""
    monkeypatch.setattr(catalogue, "BELIEVED_SECONDS", -1)
    await lead_to_http(db, client, services=["bike/same-day"])


async def test_an_answer_is_given_again_though_it_would_be_refused_now(
    client: Client, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = await client.make_batch()
    requests = {
        "/shipments": make_shipment(),
        f"/booking-batches/{batch}/shipments": {"data": [make_shipment()]},
    }
    keys = dict(zip(requests, (KEY, OTHER), strict=True))
    first = {
        path: await client.post(path, json=body, headers=keys[path])
        for path, body in requests.items()
    }

    await narrow_offer(db, client, monkeypatch)

    for path, body in requests.items():
        again = await client.post(path, json=body, headers=keys[path])
        assert (again.status_code, again.content) == (201, first[path].content)
        assert again.headers["Idempotency-Replayed"] == "true"
        assert (await client.post(path, json=body)).status_code == 422


async def test_shipments_that_are_corrected_may_come_with_the_same_key(client: Client) -> None:
    batch = await client.make_batch()
    for path, wrong, right, key in (
        ("/shipments", make_shipment(currency="X"), make_shipment(), KEY),
        (
            f"/booking-batches/{batch}/shipments",
            {"data": [make_shipment(currency="X")]},
            {"data": [make_shipment()]},
            OTHER,
        ),
    ):
        assert (await client.post(path, json=wrong, headers=key)).status_code == 422
        assert (await client.post(path, json=right, headers=key)).status_code == 201


async def test_shipments_are_checked_while_no_transaction_waits(
    client: Client, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand large ones take longer than a transaction may be idle."""
    batch = await client.make_batch()
    waiting: list[object] = []

    def watched(check: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def watch(*args: object, **named: object) -> object:
            async with db.pool.connection() as connection:
                cursor = await connection.execute(
                    "SELECT count(*) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND state LIKE 'idle in transaction%%'",
                    (),
                )
                waiting.extend(await cursor.fetchone() or ())
            return await check(*args, **named)

        return watch

    monkeypatch.setattr(batch_routes, "check_shipments", watched(check_shipments))
    path, body = f"/booking-batches/{batch}/shipments", {"data": [make_shipment()]}

    first = await client.post(path, json=body, headers=KEY)
    again = await client.post(path, json=body, headers=KEY)

    assert (first.status_code, waiting) == (201, [0])
    assert again.content == first.content
    assert again.headers["Idempotency-Replayed"] == "true"


async def test_a_key_is_forgotten_after_a_day(
    client: Client, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client.post("/booking-batches", headers=KEY)
    later = db.clock() + timedelta(hours=24, seconds=1)
    monkeypatch.setattr(db, "clock", lambda: later)

    answer = await client.post("/booking-batches", json={"reference": "r"}, headers=KEY)

    assert answer.status_code == 201
    assert "Idempotency-Replayed" not in answer.headers


@pytest.mark.parametrize("headers", [{}, {"Prefer": "respond-async"}])
async def test_a_booking_is_answered_alike(
    client: Client, db: Database, headers: dict[str, str]
) -> None:
    made = (await client.post("/shipments", json=make_shipment())).json()["data"]["uuid"]

    async with working(db):
        first = await client.post(f"/shipments/{made}/booking", headers={**KEY, **headers})
        again = await client.post(f"/shipments/{made}/booking", headers={**KEY, **headers})

    assert first.status_code == again.status_code == (202 if headers else 200)
    assert first.content == again.content
    assert again.headers["Idempotency-Replayed"] == "true"


async def test_a_booking_that_still_runs_is_409(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipment_routes, "PATIENCE_SECONDS", 0.5)
    made = (await client.post("/shipments", json=make_shipment())).json()["data"]["uuid"]
    path = f"/shipments/{made}/booking"

    first, second = await asyncio.gather(
        client.post(path, headers=KEY), client.post(path, headers=KEY)
    )

    assert sorted((first.status_code, second.status_code)) == [202, 409]
    refused = first if first.status_code == 409 else second
    assert refused.headers["Retry-After"] == "1"
    assert refused.json() == {
        "message": "The first request with this Idempotency-Key is still running."
    }


async def test_a_booking_whose_answer_was_lost_goes_on(client: Client, db: Database) -> None:
    """As after a crash between the commit of the booking and its answer."""
    made = (await client.post("/shipments", json=make_shipment())).json()["data"]["uuid"]
    await client.post(f"/shipments/{made}/booking", headers={**KEY, "Prefer": "respond-async"})
    async with db.transaction() as connection:
        await connection.execute("DELETE FROM idempotency")

    async with working(db):
        answer = await client.post(f"/shipments/{made}/booking", headers=KEY)

    assert (answer.status_code, answer.json()["data"]["state"]) == (200, "booked")
    other = await client.post(f"/shipments/{made}/booking", headers=OTHER)
    assert other.status_code == 422


async def crash(*_: object, **__: object) -> None:
    raise RuntimeError


async def test_a_key_whose_booking_broke_off_is_for_no_other_request(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, other = [
        (await client.post("/shipments", json=make_shipment())).json()["data"]["uuid"]
        for _ in range(2)
    ]

    with monkeypatch.context() as broken:
        broken.setattr(idempotency, "complete", crash)
        broken.setattr(shipment_routes, "PATIENCE_SECONDS", 0.1)
        assert (await client.post(f"/shipments/{made}/booking", headers=KEY)).status_code == 500

    answers = [
        await client.post(f"/shipments/{other}/booking", headers=KEY),
        await client.post(
            f"/shipments/{other}/booking", headers={**KEY, "Prefer": "respond-async"}
        ),
        await client.delete(f"/shipments/{other}", headers=KEY),
        await client.post("/shipments", json=make_shipment(), headers=KEY),
    ]

    for answer in answers:
        assert answer.status_code == 422
        assert answer.json()["errors"] == {
            "Idempotency-Key": ["This key was used for another request."]
        }
    assert (await client.get(f"/shipments/{other}")).json()["data"]["state"] == "open"
    assert (await client.get("/shipments")).json()["meta"]["total"] == 2


async def test_a_key_whose_booking_broke_off_is_free_after_a_day(
    client: Client, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = (await client.post("/shipments", json=make_shipment())).json()["data"]["uuid"]
    monkeypatch.setattr(shipment_routes, "PATIENCE_SECONDS", 0.1)
    with monkeypatch.context() as broken:
        broken.setattr(idempotency, "complete", crash)
        assert (await client.post(f"/shipments/{made}/booking", headers=KEY)).status_code == 500
    later = db.clock() + timedelta(hours=24, seconds=1)
    monkeypatch.setattr(db, "clock", lambda: later)

    assert (await client.post("/booking-batches", headers=KEY)).status_code == 201


def requests(batch: str, shipment: str) -> dict[str, tuple[str, str, Any]]:
    return {
        "create batch": ("POST", "/booking-batches", {"reference": "twenty"}),
        "add": ("POST", f"/booking-batches/{batch}/shipments", {"data": [make_shipment()]}),
        "dispatch": ("POST", f"/booking-batches/{batch}/dispatch", None),
        "cancel batch": ("DELETE", f"/booking-batches/{batch}", None),
        "create shipment": ("POST", "/shipments", make_shipment()),
        "cancel shipment": ("DELETE", f"/shipments/{shipment}", None),
        "book": ("POST", f"/shipments/{shipment}/booking", None),
    }


@pytest.mark.parametrize("name", list(requests("", "")))
async def test_twenty_at_once_have_one_effect(
    client: Client, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(shipment_routes, "PATIENCE_SECONDS", 0.05)
    batch = await client.make_batch()
    await client.add(batch, make_shipment())
    shipment = (await client.post("/shipments", json=make_shipment())).json()["data"]["uuid"]
    method, path, body = requests(batch, shipment)[name]
    before = await everything(client)

    async def send() -> httpx.Response:
        while True:
            answer = await client.http.request(method, client.path(path), json=body, headers=KEY)
            if answer.status_code != 409:
                return answer
            await asyncio.sleep(0.01)

    answers = await asyncio.gather(*(send() for _ in range(20)))

    assert len({(answer.status_code, answer.content) for answer in answers}) == 1
    assert answers[0].status_code < 300
    replayed = [answer for answer in answers if "Idempotency-Replayed" in answer.headers]
    assert len(replayed) == 19
    after = await everything(client)
    assert after != before
    assert abs(after[0] - before[0]) + abs(after[1] - before[1]) <= 1


async def everything(client: Client) -> tuple[int, int, str]:
    """How many batches and shipments there are, and their states."""
    batches = (await client.get("/booking-batches")).json()
    shipments = (await client.get("/shipments")).json()
    states = sorted(
        f"{one['uuid']} {one['state']}" for one in [*batches["data"], *shipments["data"]]
    )
    return batches["meta"]["total"], shipments["meta"]["total"], "\n".join(states)

"""`Prefer: handling=lenient` on adding: the good ones are taken, the rest is told."""

import pytest

from tests.api.smartsend.conftest import Client, make_shipment

LENIENT = {"Prefer": "handling=lenient"}


async def test_good_shipments_are_added_and_the_others_told(client: Client) -> None:
    batch = await client.make_batch()
    sent = [
        make_shipment(reference="a"),
        make_shipment(currency="XXX", delivery__service="drone"),
        make_shipment(reference="c"),
        "nothing",
    ]

    answer = await client.post(
        f"/booking-batches/{batch}/shipments", json={"data": sent}, headers=LENIENT
    )

    assert answer.status_code == 201
    assert answer.headers["Preference-Applied"] == "handling=lenient"
    assert [one["reference"] for one in answer.json()["data"]] == ["a", "c"]
    assert answer.json()["errors"] == {
        "data.1.currency": ["This is no currency code of ISO 4217."],
        "data.1.delivery.service": ["The carrier has no such service."],
        "data.3": ["This must be an object."],
    }
    read = await client.get(f"/booking-batches/{batch}")
    assert read.json()["data"]["total_count"] == 2


async def test_nothing_wrong_is_told_as_such(client: Client) -> None:
    batch = await client.make_batch()

    answer = await client.post(
        f"/booking-batches/{batch}/shipments", json={"data": [make_shipment()]}, headers=LENIENT
    )

    assert (answer.status_code, answer.json()["errors"]) == (201, {})


async def test_none_good_is_refused(client: Client) -> None:
    batch = await client.make_batch()

    answer = await client.post(
        f"/booking-batches/{batch}/shipments", json={"data": [{}, 1]}, headers=LENIENT
    )

    assert answer.status_code == 422
    assert {"data.0.currency", "data.1"} < set(answer.json()["errors"])


@pytest.mark.parametrize(
    "prefer",
    ["", "handling=strict", "handling=strict, handling=lenient", "lenient", "x;handling=lenient"],
)
async def test_who_prefers_nothing_gets_all_or_nothing(client: Client, prefer: str) -> None:
    batch = await client.make_batch()

    answer = await client.post(
        f"/booking-batches/{batch}/shipments",
        json={"data": [make_shipment(), {}]},
        headers={"Prefer": prefer},
    )

    assert answer.status_code == 422
    read = await client.get(f"/booking-batches/{batch}")
    assert read.json()["data"]["total_count"] == 0


@pytest.mark.parametrize(
    "prefer", ['Handling="lenient"', "return=minimal, handling=lenient;x=1", "HANDLING=LENIENT"]
)
async def test_a_preference_is_read_as_its_rfc_says(client: Client, prefer: str) -> None:
    batch = await client.make_batch()

    answer = await client.post(
        f"/booking-batches/{batch}/shipments",
        json={"data": [make_shipment(), {}]},
        headers={"Prefer": prefer},
    )

    assert answer.status_code == 201

"""The OpenAPI document, and answers held against the shapes it promises."""

from typing import Any

import pytest
from pydantic import BaseModel

from batchyard.api.smartsend import answers
from batchyard.models import BatchState, Phase
from batchyard.store.db import Database
from tests.api.documents import ungrouped, without_example
from tests.api.smartsend.conftest import SHIPMENT, Client, make_shipment
from tests.factories import make_batch, make_items

PREFIX = "/api/v2/team/{team}"


async def read_document(client: Client) -> dict[str, Any]:
    document: dict[str, Any] = (await client.http.get("/api/v2/openapi.json")).json()
    return document


async def test_the_document_names_every_call(client: Client) -> None:
    paths = (await read_document(client))["paths"]

    assert {(path.removeprefix(PREFIX), method) for path in paths for method in paths[path]} == {
        ("/booking-batches", "get"),
        ("/booking-batches", "post"),
        ("/booking-batches/{batch}", "get"),
        ("/booking-batches/{batch}", "delete"),
        ("/booking-batches/{batch}/dispatch", "post"),
        ("/booking-batches/{batch}/shipments", "get"),
        ("/booking-batches/{batch}/shipments", "post"),
        ("/booking-batches/{batch}/documents", "get"),
        ("/shipments", "get"),
        ("/shipments", "post"),
        ("/shipments/{shipment}", "get"),
        ("/shipments/{shipment}", "delete"),
        ("/shipments/{shipment}/booking", "post"),
        ("/shipments/{shipment}/documents", "get"),
        ("/operations/{operation}", "get"),
        ("/routing/services", "get"),
        ("/api/v2/documents/{token}", "get"),
    }


async def test_every_call_names_its_headers_team_and_errors(client: Client) -> None:
    document = await read_document(client)

    for path, calls in document["paths"].items():
        if not path.startswith(PREFIX):
            continue
        for method, call in calls.items():
            headers = {one["name"].lower() for one in call["parameters"] if one["in"] == "header"}
            assert {"accept-language", "request-id"} <= headers
            assert ("idempotency-key" in headers) == (method in {"post", "delete"})
            assert {"401", "404", "422"} < set(call["responses"])
            assert call["security"] == [{"HTTPBearer": []}]


async def test_the_document_groups_every_call(client: Client) -> None:
    assert ungrouped(await read_document(client)) == []


async def test_the_document_shows_an_example_of_what_is_sent_and_answered(client: Client) -> None:
    assert without_example(await read_document(client)) == []


async def test_a_shipment_is_described_where_it_is_sent(client: Client) -> None:
    shapes = (await read_document(client))["components"]["schemas"]

    reference = {"$ref": "#/components/schemas/Shipment"}
    assert shapes["NewShipments"]["properties"]["data"]["items"] == reference
    assert set(shapes["Shipment"]["required"]) == {"currency", "delivery", "parties", "parcels"}


@pytest.mark.parametrize(
    "path, shape",
    [
        ("/booking-batches", answers.Batches),
        ("/booking-batches/{batch}", answers.OneBatch),
        ("/booking-batches/{batch}/shipments", answers.Shipments),
        ("/shipments", answers.PlainShipments),
        ("/shipments/{shipment}", answers.OneShipment),
        ("/routing/services", answers.Services),
    ],
)
async def test_what_is_read_has_the_promised_shape(
    client: Client, db: Database, path: str, shape: type[BaseModel]
) -> None:
    batch = await make_batch(db, team=client.team, state=BatchState.FAILED)
    added = await client.add(await client.make_batch(), make_shipment())
    parcels = added.json()["data"][0]["parcels"]
    payload = {**SHIPMENT, "weight_unit": "g", "dimension_unit": "cm", "parcels": parcels}
    [shipment] = await make_items(
        db, team=client.team, batch_id=batch, phase=Phase.DONE, status="failed", payload=payload
    )

    answer = await client.get(path.format(batch=batch, shipment=shipment))

    shape.model_validate_json(answer.content)


async def test_what_is_made_has_the_promised_shape(client: Client) -> None:
    made = await client.post("/booking-batches")
    batch = answers.OneBatch.model_validate_json(made.content).data.uuid

    added = await client.add(str(batch), make_shipment())
    answers.AddedShipments.model_validate_json(added.content)

    single = await client.post("/shipments", json=make_shipment())
    answers.OnePlainShipment.model_validate_json(single.content)

    dispatched = await client.post(f"/booking-batches/{batch}/dispatch")
    answers.OneBatch.model_validate_json(dispatched.content)

    refused = await client.delete(f"/booking-batches/{batch}")
    answers.Invalid.model_validate_json(refused.content)

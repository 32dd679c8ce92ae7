"""The team's sender through the operator API."""

import pytest

from tests import factories
from tests.api.operator.conftest import Client, Clients
from tests.providers.karrio_requests import SENDER


async def test_sender_is_set_read_and_replaced(client: Client) -> None:
    assert (await client.get("/sender")).status_code == 404

    first = await client.put("/sender", SENDER)
    assert first.status_code == 200, first.text
    moved = {**SENDER, "return_to": {"address": SENDER["address"], "contact": SENDER["contact"]}}
    await client.put("/sender", moved)

    shown = (await client.get("/sender")).json()["sender"]
    assert shown["contact"]["company"] == "Kop ApS"
    assert shown["return_to"]["address"]["city"] == "Aarhus"


async def test_setting_is_audited_without_names_and_numbers(client: Client) -> None:
    await client.put("/sender", SENDER)

    answer = await client.get("/audit")

    [entry] = answer.json()["data"]
    assert entry["action"] == "sender.set"
    assert entry["after"] == {"city": "Aarhus", "country": "DK"}
    assert "+4586123456" not in answer.text


@pytest.mark.parametrize(
    "body,place",
    [
        ({}, "address"),
        ({**SENDER, "colour": 1}, "colour"),
        ({**SENDER, "address": {**SENDER["address"], "zip": "8000"}}, "address.zip"),  # type: ignore[dict-item]
        ({**SENDER, "address": {**SENDER["address"], "country": "Denmark"}}, "address.country"),  # type: ignore[dict-item]
        ({**SENDER, "contact": {"name_lines": ["x"], "phone": "86123456"}}, "contact.phone"),
    ],
)
async def test_wrong_sender_is_refused_by_its_place(
    client: Client, body: object, place: str
) -> None:
    answer = await client.put("/sender", body)

    assert answer.status_code == 422
    assert place in answer.text
    assert (await client.get("/sender")).status_code == 404


async def test_sender_of_another_team_is_not_seen(clients: Clients) -> None:
    owner = await clients.of(await factories.make_team(clients.db))
    other = await clients.of(await factories.make_team(clients.db))
    await owner.put("/sender", SENDER)

    assert (await other.get("/sender")).status_code == 404


async def test_setting_needs_the_scope_admin(clients: Clients) -> None:
    team = await factories.make_team(clients.db)
    reader = await clients.of(team, scopes=["batches:read"])

    assert (await reader.put("/sender", SENDER)).status_code == 403

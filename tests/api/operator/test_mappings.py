"""Saved mappings: proposed, kept, used by an upload, offered, forgotten."""

import httpx

from tests import factories
from tests.api.operator.conftest import Client, Clients

HEADER = ["Navn", "Mobil"]
MEANINGS = {"Mobil": "contact_number", "Navn": "first_name"}


async def save(client: Client, name: str = "crm", **body: object) -> httpx.Response:
    path = f"/api/v1/mappings/call/{name}"
    return await client.http.put(path, json={"mapping": MEANINGS, **body})


async def test_mapping_is_saved_proposed_used_and_forgotten(client: Client) -> None:
    guessed = (await client.post("/mappings/propose", {"kind": "call", "header": HEADER})).json()
    assert (guessed["mapping"]["Mobil"], guessed["saved_as"]) == ("contact_number", None)
    assert (await save(client, header=HEADER)).status_code == 204
    offered = (await client.post("/mappings/propose", {"kind": "call", "header": HEADER})).json()
    assert (offered["mapping"], offered["saved_as"]) == (MEANINGS, "crm")
    (listed,) = (await client.get("/mappings", kind="call")).json()["data"]
    assert (listed["name"], listed["mapping"]) == ("crm", MEANINGS)
    assert (await client.get("/mappings", kind="shipment")).json()["data"] == []

    agent_id = await factories.make_agent(client.db, team=client.team)
    said = {"kind": "call", "agent_id": str(agent_id), "mapping_name": "crm"}
    content = b"Navn,Mobil\nAnn,+4520123456\n"
    made = await client.http.post("/api/v1/batches", data=said, files={"file": ("l.csv", content)})
    assert made.json()["accepted"] == 1
    found = (await client.get("/items", batch_id=made.json()["batch_id"])).json()["data"]
    item = (await client.get(f"/items/{found[0]['id']}")).json()
    assert item["payload"] == {"first_name": "Ann"}

    assert (await client.delete("/mappings/call/crm")).status_code == 204
    assert (await client.delete("/mappings/call/crm")).status_code == 404
    log = (await client.get("/audit")).json()["data"]
    assert [entry["action"] for entry in log] == ["mapping.delete", "batch.create", "mapping.save"]


async def test_name_may_have_a_slash_and_blanks_around_it_do_not_count(client: Client) -> None:
    agent_id = await factories.make_agent(client.db, team=client.team)
    assert (await save(client, "%20crm%2F2026")).status_code == 204
    (listed,) = (await client.get("/mappings")).json()["data"]
    assert listed["name"] == "crm/2026"

    said = {"kind": "call", "agent_id": str(agent_id), "mapping_name": " crm/2026 "}
    content = b"Navn,Mobil\nAnn,+4520123456\n"
    made = await client.http.post("/api/v1/batches", data=said, files={"file": ("l.csv", content)})
    assert made.status_code == 201, made.text

    assert (await client.delete("/mappings/call/crm/2026%20")).status_code == 204
    assert (await client.get("/mappings")).json()["data"] == []
    log = (await client.get("/audit")).json()["data"]
    of_mappings = [one["subject"] for one in log if one["action"].startswith("mapping.")]
    assert of_mappings == ["crm/2026"] * 2
    nameless = await save(client, "%20")
    assert (nameless.status_code, "1 to 100" in nameless.json()["detail"]) == (422, True)


async def test_mapping_that_means_nothing_names_each_fault(client: Client) -> None:
    answer = await client.http.put(
        "/api/v1/mappings/shipment/x", json={"mapping": {"A": "nowhere.at_all", "B": ""}}
    )
    assert answer.status_code == 422
    assert {error["field"] for error in answer.json()["errors"]} == {"A", "B"}
    missing = await client.post("/mappings/propose", {"kind": "call", "header": ["x"]})
    assert missing.json()["missing"] == ["contact_number"]


async def test_mappings_are_of_one_team(clients: Clients) -> None:
    owner = await clients.of(await factories.make_team(clients.db))
    other = await clients.of(await factories.make_team(clients.db))
    await save(owner, header=HEADER)
    assert (await other.get("/mappings")).json()["data"] == []
    seen = await other.post("/mappings/propose", {"kind": "call", "header": HEADER})
    assert seen.json()["saved_as"] is None

"""Agents and numbers of a team through the operator API."""

from batchyard.store.db import Database
from tests import factories
from tests.api.operator.conftest import Client, Clients


async def test_agent_is_made_and_listed_for_its_team_only(client: Client, clients: Clients) -> None:
    made = await client.post("/agents", {"name": "Spring"})
    assert made.status_code == 201
    other = await clients.of(await factories.make_team(clients.db))
    [listed] = (await client.get("/agents")).json()["data"]
    assert (listed["id"], listed["name"]) == (made.json()["id"], "Spring")
    assert (await other.get("/agents")).json()["data"] == []


async def test_numbers_are_added_all_or_none_given_to_an_agent_and_removed(
    client: Client, db: Database
) -> None:
    agent_id = (await client.post("/agents", {"name": "Spring"})).json()["id"]
    strange = str(await factories.make_agent(db, team=await factories.make_team(db)))
    for body, status in (
        ({"numbers": ["+4520000001", "20"]}, 422),
        ({"numbers": ["+4520000001"], "agent_id": strange}, 404),
        ({"numbers": ["+4520000001", "+4520000002"]}, 201),
        ({"numbers": ["+4520000002"], "agent_id": agent_id}, 201),
    ):
        assert (await client.post("/numbers", body)).status_code == status, body
    listed = (await client.get("/numbers")).json()["data"]
    assert [(row["number"], row["agent_id"]) for row in listed] == [
        ("+4520000001", None),
        ("+4520000002", agent_id),
    ]
    assert (await client.delete("/numbers/+4520000001")).status_code == 204
    assert (await client.delete("/numbers/+4520000001")).status_code == 404
    audited = (await client.get("/audit")).json()["data"]
    assert [row["action"] for row in audited][:3] == [
        "numbers.remove",
        "numbers.add",
        "numbers.add",
    ]


async def test_team_is_changed_in_what_is_named_and_leaves_a_trace(clients: Clients) -> None:
    team = await factories.make_team(clients.db, slug="nord", timezone="Europe/Oslo")
    client = await clients.of(team)

    answer = await client.patch("/team", {"name": " Nord ApS ", "locale": "da_DK"})

    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["name"], told["locale"], told["timezone"]) == ("Nord ApS", "da-DK", "Europe/Oslo")
    assert (await client.get("/team")).json() == told
    [entry] = (await client.get("/audit")).json()["data"]
    assert (entry["action"], entry["subject"]) == ("team.change", "nord")
    assert entry["before"] == {"name": "Nord", "locale": "en"}
    for body, place in (
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"locale": "xx-YY"}, "locale"),
        ({"name": ""}, "name"),
        ({"slug": "syd"}, "slug"),
    ):
        refused = await client.patch("/team", body)
        assert refused.status_code == 422, body
        assert place in refused.text
    reader = await clients.of(team, scopes=["batches:read"])
    assert (await reader.patch("/team", {"name": "x"})).status_code == 403
    assert (await client.get("/team")).json() == told

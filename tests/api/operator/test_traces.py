"""What the audit log tells of a change: how it was before, and how it is after."""

from uuid import UUID

import pytest

from batchyard.models import BatchState, Kind, Phase
from tests import factories
from tests.api.operator.conftest import Client
from tests.providers.karrio_requests import SENDER

Told = tuple[str, object, object]


async def newest(client: Client) -> Told:
    entry = (await client.get("/audit", limit=1)).json()["data"][0]
    return entry["action"], entry["before"], entry["after"]


async def make(
    client: Client, *, state: BatchState, phase: Phase, status: str
) -> tuple[UUID, UUID]:
    batch_id = await factories.make_batch(client.db, team=client.team, kind=Kind.CALL, state=state)
    [item_id] = await factories.make_items(
        client.db,
        team=client.team,
        batch_id=batch_id,
        phase=phase,
        status=status,
        number="+4520123456",
    )
    return batch_id, item_id


@pytest.mark.parametrize(
    "state,deed,after",
    [
        (BatchState.OPEN, "dispatch", "queued"),
        (BatchState.RUNNING, "pause", "paused"),
        (BatchState.PAUSED, "resume", "running"),
        (BatchState.RUNNING, "stop", "stopped"),
        (BatchState.OPEN, "cancel", "cancelled"),
    ],
)
async def test_steering_tells_the_state_before_and_after(
    client: Client, state: BatchState, deed: str, after: str
) -> None:
    batch_id, _ = await make(client, state=state, phase=Phase.READY, status="waiting")
    answer = await client.post(f"/batches/{batch_id}/{deed}")
    assert answer.is_success, answer.text
    assert await newest(client) == (f"batch.{deed}", {"state": state}, {"state": after})


async def test_deletion_of_a_batch_tells_what_state_it_had(client: Client) -> None:
    batch_id, _ = await make(client, state=BatchState.RUNNING, phase=Phase.READY, status="waiting")
    await client.delete(f"/batches/{batch_id}")
    assert await newest(client) == ("batch.delete", {"state": "running"}, {"state": "deleted"})


async def test_change_of_an_item_tells_its_status_and_nothing_of_a_person(client: Client) -> None:
    _, ready = await make(client, state=BatchState.RUNNING, phase=Phase.READY, status="waiting")
    await client.patch(f"/items/{ready}", {"payload": {"first_name": "Ingeborg"}})
    told = await newest(client)
    assert told == ("item.correct", {"status": "waiting"}, {"status": "waiting"})
    await client.post(f"/items/{ready}/stop")
    assert await newest(client) == ("item.stop", {"status": "waiting"}, {"status": "stopped"})

    _, failed = await make(client, state=BatchState.COMPLETED, phase=Phase.DONE, status="busy")
    await client.post(f"/items/{failed}/retry")
    action, before, after = await newest(client)
    assert (action, before) == ("item.retry", {"status": "busy"})
    assert after != before


async def test_tokens_and_people_are_told_by_what_they_might(client: Client) -> None:
    await client.post("/tokens", {"name": "till", "scopes": ["audit:read"]})
    token = (await client.get("/tokens")).json()["data"][0]
    await client.delete(f"/tokens/{token['id']}")
    known = {"name": "till", "scopes": ["audit:read"]}
    assert await newest(client) == (
        "token.revoke",
        {**known, "is_revoked": False},
        {**known, "is_revoked": True},
    )

    person = {"name": "Ann", "email": "ann@example.com", "scopes": ["batches:read"]}
    user_id = (await client.post("/users", person)).json()["id"]
    await client.put(f"/users/{user_id}/password", {"password": "correct horse battery"})
    had, has = {"has_password": False}, {"has_password": True}
    assert await newest(client) == ("user.password", had, has)
    await client.delete(f"/users/{user_id}")
    before = {"scopes": ["batches:read"], "has_password": True}
    assert await newest(client) == ("user.remove", before, {"is_removed": True})
    log = (await client.get("/audit")).text
    assert "ann@example.com" not in log
    assert "Ann" not in log


async def test_what_is_taken_away_is_told_as_it_was(client: Client) -> None:
    hook = {"url": "https://hooks.example.com/x", "description": "shop", "events": ["batch.*"]}
    endpoint = (await client.post("/webhooks/endpoints", hook)).json()["id"]
    await client.patch(f"/webhooks/endpoints/{endpoint}", {"is_disabled": True})
    change = ("webhook.change", {"is_disabled": False}, {"is_disabled": True})
    assert await newest(client) == change
    await client.delete(f"/webhooks/endpoints/{endpoint}")
    before = {**hook, "is_disabled": True}
    assert await newest(client) == ("webhook.delete", before, {"is_deleted": True})

    meanings = {"Mobil": "contact_number"}
    await client.put("/mappings/call/crm", {"mapping": meanings})
    assert (await newest(client))[:2] == ("mapping.save", None)
    await client.put("/mappings/call/crm", {"mapping": {"Tlf": "contact_number"}})
    assert (await newest(client))[:2] == ("mapping.save", {"kind": "call", "mapping": meanings})
    await client.delete("/mappings/call/crm")
    last = {"kind": "call", "mapping": {"Tlf": "contact_number"}}
    assert await newest(client) == ("mapping.delete", last, {"is_deleted": True})


async def test_sender_is_told_as_the_place_it_was_and_is(client: Client) -> None:
    await client.put("/sender", SENDER)
    moved = {**SENDER, "address": {**SENDER["address"], "city": "Odense"}}  # type: ignore[dict-item]
    await client.put("/sender", moved)
    assert await newest(client) == (
        "sender.set",
        {"city": "Aarhus", "country": "DK"},
        {"city": "Odense", "country": "DK"},
    )


async def test_log_comes_in_pages_like_other_lists(client: Client) -> None:
    for name in "abcde":
        await client.post("/agents", {"name": name})
    seen: list[str] = []
    cursor = None
    while True:
        page = (await client.get("/audit", limit=2, cursor=cursor)).json()
        seen += [entry["after"]["name"] for entry in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == list("edcba")
    assert (await client.get("/audit", cursor="!!!")).status_code == 422

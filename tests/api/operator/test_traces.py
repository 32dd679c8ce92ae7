"""What the audit log tells of a change: how it was before, and how it is after."""

from datetime import UTC, datetime
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


async def test_retry_and_new_rows_tell_the_state_before_and_after(client: Client) -> None:
    batch_id, _ = await make(client, state=BatchState.COMPLETED, phase=Phase.DONE, status="failed")
    await client.post(f"/batches/{batch_id}/retry", {})
    assert await newest(client) == (
        "batch.retry",
        {"state": "completed"},
        {"state": "running", "items": 1, "statuses": None},
    )
    for deed, action in (("rows", "batch.add_rows"), ("mend", "batch.mend")):
        batch_id, _ = await make(
            client, state=BatchState.COMPLETED, phase=Phase.DONE, status="completed"
        )
        await client.post(
            f"/batches/{batch_id}/{deed}", {"rows": [{"contact_number": "+4520123457"}]}
        )
        assert await newest(client) == (
            action,
            {"state": "completed"},
            {"state": "running", "rows": 1, "accepted": 1, "refused": 0},
        )


async def test_change_of_a_batch_tells_only_what_is_another_now(client: Client) -> None:
    batch_id, _ = await make(client, state=BatchState.OPEN, phase=Phase.READY, status="waiting")
    change = {"reference": None, "has_brake": None, "limits": None, "priority": 7}
    await client.patch(f"/batches/{batch_id}", change)
    assert await newest(client) == ("batch.change", {"priority": 5}, {"priority": 7})
    await client.patch(f"/batches/{batch_id}", {"scheduled_at": "2099-01-01T00:00:00+01:00"})
    action, before, after = await newest(client)
    assert (action, before) == ("batch.change", {"scheduled_at": None})
    assert isinstance(after, dict)
    assert datetime.fromisoformat(after["scheduled_at"]) == datetime(2098, 12, 31, 23, tzinfo=UTC)
    await client.patch(f"/batches/{batch_id}", {"scheduled_at": None})
    assert await newest(client) == ("batch.change", after, {"scheduled_at": None})


async def test_numbers_tell_whose_they_were(client: Client) -> None:
    agent_id = str(await factories.make_agent(client.db, team=client.team))
    await client.post("/numbers", {"numbers": ["+4520000001"], "agent_id": agent_id})
    assert (await newest(client))[1] == {"numbers": []}
    known = {"number": "+4520000001", "agent_id": agent_id}
    both = {"numbers": ["+4520000001", "+4520000002"], "agent_id": None}
    await client.post("/numbers", both)
    assert await newest(client) == ("numbers.add", {"numbers": [known]}, both)
    await client.delete("/numbers/+4520000001")
    assert await newest(client) == (
        "numbers.remove",
        {**known, "agent_id": None},
        {"is_removed": True},
    )


async def test_wish_is_told_before_and_after_without_the_number(client: Client) -> None:
    off = {"is_listed": False}
    until = "2099-01-01T00:00:00+00:00"
    await client.post("/contacts/do-not-contact", {"number": "+4520123499"})
    on = {"is_listed": True, "until": None}
    assert await newest(client) == ("contact.block", off, on)
    await client.post("/contacts/do-not-contact", {"number": "+4520123499", "until": until})
    for_a_time = {"is_listed": True, "until": until}
    assert await newest(client) == ("contact.block", on, for_a_time)
    await client.delete("/contacts/do-not-contact/+4520123499")
    assert await newest(client) == ("contact.allow", for_a_time, off)
    assert "20123499" not in (await client.get("/audit")).text


async def test_webhooks_tell_what_had_become_of_a_delivery_and_how_many_sign(
    client: Client,
) -> None:
    hook = {"url": "https://hooks.example.com/x"}
    endpoint = (await client.post("/webhooks/endpoints", hook)).json()["id"]
    sent = (await client.post(f"/webhooks/endpoints/{endpoint}/test")).json()["delivery_id"]
    async with client.db.transaction() as conn:
        await conn.execute("UPDATE webhook_deliveries SET state = 'failed', ended_at = now()")
    await client.post(f"/webhooks/deliveries/{sent}/redeliver")
    assert await newest(client) == (
        "webhook.redeliver",
        {"state": "failed"},
        {"state": "pending"},
    )
    await client.post("/webhooks/deliveries/redeliver")
    assert await newest(client) == (
        "webhook.redeliver_failed",
        {"state": "failed", "deliveries": 0},
        {"state": "pending", "deliveries": 0},
    )
    await client.get("/webhooks/secret")
    await client.post("/webhooks/secret/rotate")
    assert await newest(client) == ("webhook.rotate_secret", {"secrets": 1}, {"secrets": 2})


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

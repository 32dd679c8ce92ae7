"""One person over HTTP: shown, erased, and how long things are kept."""

from typing import Any
from uuid import UUID

import pytest

from batchyard.models import BatchState, Kind, Phase
from batchyard.operations import privacy, retention
from tests import factories
from tests.api.operator.conftest import Client, Clients

NUMBER = "+4520000001"
OTHER = "+4520000002"
NAME = "Ingeborg Testesen"


async def make(client: Client, *, number: str = NUMBER, n: int = 1) -> UUID:
    batch_id = await factories.make_batch(
        client.db, team=client.team, kind=Kind.CALL, state=BatchState.COMPLETED
    )
    await factories.make_items(
        client.db,
        team=client.team,
        batch_id=batch_id,
        n=n,
        payload={"name": NAME},
        number=number,
        phase=Phase.DONE,
        status="completed",
    )
    return batch_id


async def listed(client: Client, batch_id: UUID) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = (await client.get("/items", batch_id=batch_id)).json()["data"]
    return rows


async def test_export_holds_everything_of_a_person_and_nobody_else(client: Client) -> None:
    await make(client)
    await make(client, number=OTHER)
    await client.post("/contacts/do-not-contact", {"number": NUMBER, "reason": "asked"})
    answer = await client.post("/privacy/export", {"number": "+45 20 00 00 01"})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert [one["number"] for one in found["items"]] == [NUMBER]
    assert [one["reason"] for one in found["do_not_contact"]] == ["asked"]
    assert OTHER not in answer.text
    entry = (await client.get("/audit")).json()["data"][0]
    assert entry["action"] == "privacy.export"
    assert NUMBER not in str(entry)


async def test_erased_person_is_gone_and_counts_stay(client: Client) -> None:
    batch_id = await make(client, n=2)
    other = await make(client, number=OTHER)
    await client.post("/contacts/do-not-contact", {"number": NUMBER})
    answer = await client.post("/privacy/erase", {"number": NUMBER, "keep_do_not_contact": True})
    assert answer.status_code == 200, answer.text
    assert (answer.json()["items"], answer.json()["pending"]) == (2, 0)
    shown = (await client.get(f"/batches/{batch_id}")).json()
    assert shown["counts"]["completed"] == 2
    for item in await listed(client, batch_id):
        assert NAME not in (await client.get(f"/items/{item['id']}")).text
    [kept] = await listed(client, other)
    assert NAME in (await client.get(f"/items/{kept['id']}")).text
    contacts = (await client.get("/contacts/do-not-contact")).json()["data"]
    assert [one["number"] for one in contacts] == [NUMBER]

    await client.post("/privacy/erase", {"number": NUMBER})
    assert (await client.get("/contacts/do-not-contact")).json()["data"] == []


async def test_what_names_any_of_many_erased_items_is_erased(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(privacy, "SLICE", 2)
    batch_id = await make(client, n=5)
    ids = [item["id"] for item in await listed(client, batch_id)]
    async with client.db.transaction() as conn:
        for item_id in ids:
            await conn.execute(
                "INSERT INTO idempotency (team_id, key, fingerprint, status, body, created_at)"
                " VALUES (%s, %s, 'f', 200, %s, now())",
                (client.team.id, f"key-{item_id}", f"item {item_id}".encode()),
            )
    answer = await client.post("/privacy/erase", {"number": NUMBER})
    assert answer.json()["items"] == 5
    assert answer.json()["others"]["idempotency_bodies"] == 5
    async with client.db.pool.connection() as conn:
        rows = await (await conn.execute("SELECT body FROM idempotency")).fetchall()
    left = b" ".join(bytes(body) for (body,) in rows if isinstance(body, bytes))
    assert [item_id for item_id in ids if str(item_id).encode() in left] == []


@pytest.mark.parametrize(
    "path,body",
    [
        ("/privacy/export", {}),
        ("/privacy/export", {"number": NUMBER, "email": "ann@example.com"}),
        ("/privacy/erase", {"number": "20000001"}),
        ("/privacy/erase", {"email": "nobody"}),
    ],
)
async def test_person_has_to_be_named_by_one_of_both(
    client: Client, path: str, body: dict[str, str]
) -> None:
    assert (await client.post(path, body)).status_code == 422


async def test_person_of_another_team_is_not_found(clients: Clients) -> None:
    owner = await clients.of(await factories.make_team(clients.db))
    other = await clients.of(await factories.make_team(clients.db))
    batch_id = await make(owner)
    assert not any((await other.post("/privacy/export", {"number": NUMBER})).json().values())
    assert (await other.post("/privacy/erase", {"number": NUMBER})).json()["items"] == 0
    [item] = await listed(owner, batch_id)
    assert NAME in (await owner.get(f"/items/{item['id']}")).text


async def test_days_are_shown_set_and_fall_back_to_the_defaults(client: Client) -> None:
    defaults = dict(retention.DEFAULT_DAYS)
    assert (await client.get("/retention")).json() == defaults
    days = {"items_days": 30, "webhooks_days": 7, "idempotency_days": 2}
    assert (await client.put("/retention", days)).json() == {**defaults, **days}
    entry = (await client.get("/audit")).json()["data"][0]
    assert (entry["before"], entry["after"]["idempotency_days"]) == (defaults, 2)
    for wrong in ({"items_days": 0}, {"webhooks_days": 31}, {"letters_days": 1}):
        assert (await client.put("/retention", wrong)).status_code == 422
    refused = await client.put("/retention", {"idempotency_days": 0})
    told = {
        "field": "body.idempotency_days",
        "detail": "Input should be greater than or equal to 1",
    }
    assert (refused.status_code, refused.json()["errors"]) == (422, [told])
    assert (await client.get("/retention")).json() == {**defaults, **days}
    assert (await client.put("/retention", {})).json() == defaults


async def test_some_days_are_changed_and_the_others_stay(client: Client) -> None:
    held = (await client.put("/retention", {"items_days": 30, "events_days": 7})).json()
    changed = await client.patch("/retention", {"events_days": None, "idempotency_days": 2})
    assert changed.json() == {**held, "events_days": 90, "idempotency_days": 2}
    entry = (await client.get("/audit")).json()["data"][0]
    assert (entry["action"], entry["before"], entry["after"]) == (
        "retention.set",
        {"events_days": 7, "idempotency_days": 1},
        {"events_days": None, "idempotency_days": 2},
    )
    for wrong in ({"items_days": 0}, {"webhooks_days": 31}, {"letters_days": 1}):
        assert (await client.patch("/retention", wrong)).status_code == 422
    assert (await client.get("/retention")).json() == changed.json()


async def test_rows_that_come_to_an_expired_batch_expire_as_well(client: Client) -> None:
    await client.put("/retention", {"items_days": 5})
    batch_id = await make(client)
    ended = "UPDATE batches SET state = 'completed', finished_at = now() - interval '10 days'"
    async with client.db.transaction() as conn:
        await conn.execute(ended.encode())
    await retention.expire(client.db)
    added = await client.post(
        f"/batches/{batch_id}/rows", {"rows": [{"contact_number": OTHER}, {"contact_number": "x"}]}
    )
    assert (added.json()["accepted"], added.json()["refused"]) == (1, 1)
    async with client.db.transaction() as conn:
        await conn.execute("UPDATE items SET phase = 'done', status = 'completed'")
        await conn.execute(ended.encode())
    await retention.expire(client.db)
    async with client.db.pool.connection() as conn:
        query = "SELECT count(*) FROM item_data WHERE number IS NOT NULL"
        assert await (await conn.execute(query)).fetchone() == (0,)
        query = "SELECT cells FROM rejected_rows"
        rows = await (await conn.execute(query)).fetchall()
    assert rows in ([([],)], [({"expired": True},)])

"""Batches and items are found by what is known of them; an item tells all it went through."""

from uuid import UUID

from batchyard.models import BatchState, Kind, Phase
from tests import factories
from tests.api.operator.conftest import Client
from tests.api.smartsend.conftest import make_shipment, until, working


async def execute(client: Client, statement: str, *values: object) -> None:
    async with client.db.transaction() as conn:
        await conn.execute(statement.encode(), values)


async def found(client: Client, **filters: object) -> list[str]:
    answer = await client.get("/batches", **filters)
    assert answer.status_code == 200, answer.text
    return [batch["id"] for batch in answer.json()["data"]]


async def test_batches_are_found_by_provider_agent_and_file(client: Client) -> None:
    agent_id = await factories.make_agent(client.db, team=client.team)
    of_agent = await factories.make_batch(
        client.db, team=client.team, kind=Kind.CALL, agent_id=agent_id
    )
    sent = await factories.make_batch(client.db, team=client.team, state=BatchState.COMPLETED)
    [item_id] = await factories.make_items(client.db, team=client.team, batch_id=sent)
    await execute(client, "UPDATE items SET provider_id = 1 WHERE id = %s", item_id)
    named = await factories.make_batch(client.db, team=client.team)
    await execute(client, "UPDATE batches SET file_name = 'Påske 50%%.csv' WHERE id = %s", named)
    await factories.make_batch(client.db, team=client.team, state=BatchState.STOPPED)

    assert await found(client, agent_id=agent_id) == [str(of_agent)]
    assert await found(client, provider="sandbox") == [str(named), str(sent), str(of_agent)]
    assert await found(client, provider="nobody") == []
    assert await found(client, text="PÅSKE 50%") == [str(named)]
    assert await found(client, text="50_") == []


async def test_batches_are_found_by_the_provider_their_route_leads_to(client: Client) -> None:
    [agent_id, other_id] = [
        await factories.make_agent(client.db, team=client.team, name=name) for name in ("a", "b")
    ]
    narrow, wide = [
        str(
            await factories.make_batch(
                client.db, team=client.team, kind=Kind.CALL, state=state, agent_id=agent
            )
        )
        for state, agent in ((BatchState.QUEUED, agent_id), (BatchState.OPEN, other_id))
    ]
    for name, agent in (("near", agent_id), ("far", None)):
        await execute(
            client,
            "WITH made AS (INSERT INTO providers (name, kind, created_at)"
            " VALUES (%s, 'http', now()) RETURNING id)"
            " INSERT INTO routes SELECT %s, 'call', %s::uuid, id FROM made",
            name,
            client.team.id,
            agent,
        )
    assert await found(client, provider="near") == [narrow]
    assert await found(client, provider="far") == [wide]
    assert await found(client, provider="sandbox") == []


async def test_batches_are_sorted_both_ways_through_all_pages(client: Client) -> None:
    made = [str(await factories.make_batch(client.db, team=client.team)) for _ in range(4)]
    changed = [made[2], made[0], made[3], made[1]]
    for n, batch_id in enumerate(changed):
        await execute(
            client,
            "UPDATE batches SET updated_at = %s::timestamptz + %s * interval '1 s' WHERE id = %s",
            client.db.clock(),
            n,
            UUID(batch_id),
        )
    for sort, expected in (
        ("created_at", made),
        ("-created_at", made[::-1]),
        ("updated_at", changed),
        ("-updated_at", changed[::-1]),
    ):
        first = (await client.get("/batches", sort=sort, limit=3)).json()
        rest = (
            await client.get("/batches", sort=sort, limit=3, cursor=first["next_cursor"])
        ).json()
        assert [one["id"] for one in first["data"] + rest["data"]] == expected, sort
        assert rest["next_cursor"] is None
    assert (await client.get("/batches", sort="name")).status_code == 422


async def test_listed_batches_have_their_counts(client: Client) -> None:
    batch_id = await factories.make_batch(client.db, team=client.team, state=BatchState.RUNNING)
    await factories.make_items(client.db, team=client.team, batch_id=batch_id, n=2)
    await factories.make_items(
        client.db, team=client.team, batch_id=batch_id, phase=Phase.DONE, status="booked"
    )
    [listed] = (await client.get("/batches")).json()["data"]
    assert (listed["total"], listed["counts"]) == (3, {"waiting": 2, "booked": 1})
    assert listed["phases"] == {"ready": 2, "done": 1}


async def test_items_are_found_by_why_they_failed(client: Client) -> None:
    batch_id = await factories.make_batch(client.db, team=client.team, state=BatchState.COMPLETED)
    items = await factories.make_items(
        client.db, team=client.team, batch_id=batch_id, n=3, phase=Phase.DONE, status="failed"
    )
    for item_id, code in zip(items, ("address_refused", "carrier_rejected", None), strict=True):
        await execute(
            client, "UPDATE item_data SET error_code = %s WHERE item_id = %s", code, item_id
        )
    for code, expected in (("carrier_rejected", [str(items[1])]), ("carrier", [])):
        answer = await client.get("/items", error_code=code)
        assert [one["id"] for one in answer.json()["data"]] == expected


async def test_item_tells_every_attempt_it_went_through(client: Client) -> None:
    """The sandbox refuses this postal code once, and books it then."""
    batch_id = await factories.make_batch(client.db, team=client.team)
    shipment = make_shipment(parties__receiver__address__postal_code="9807")
    [item_id] = await factories.make_items(
        client.db, team=client.team, batch_id=batch_id, payload=shipment
    )

    async def has_ended() -> bool:
        return bool((await client.get(f"/batches/{batch_id}")).json()["finished_at"])

    async with working(client.db):
        await client.post(f"/batches/{batch_id}/dispatch")
        await until(has_ended)
        assert (await client.get(f"/items/{item_id}")).json()["status"] == "failed"
        await client.post(f"/items/{item_id}/retry")
        await until(has_ended)
    shown = (await client.get(f"/items/{item_id}")).json()
    assert (shown["status"], shown["attempt"], shown["sends"]) == ("booked", 2, 2)
    first, second = shown["attempts"]
    assert (first["attempt"], first["error_code"]) == (1, "carrier_unavailable")
    assert second["attempt"] == 2
    assert first["key"] != second["key"]
    assert first["ended_at"] < second["ended_at"]
    assert shown["waiting"] is None
    assert (shown["provider"], shown["error_code"]) == ("sandbox", None)
    assert shown["payload"] == shipment

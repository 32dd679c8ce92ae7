"""Contract, section 3: create, read, dispatch and cancel, exchange by exchange."""

import asyncio

import pytest

from batchyard.models import BatchState, Phase
from batchyard.operations import control
from batchyard.store.db import Database
from tests.api.smartsend.conftest import Client, make_shipment
from tests.factories import make_batch, make_items

LIST = "/booking-batches"
NOT_FOUND = {"message": "There is no such resource."}
NOT_OPEN = {"message": "The batch is not open.", "errors": {"state": ["The batch is not open."]}}


@pytest.mark.parametrize(
    "options",
    [{}, {"json": {}}, {"json": None}, {"json": {"reference": None, "other": 1}}],
)
async def test_a_batch_may_be_made_of_nothing(client: Client, options: dict[str, object]) -> None:
    answer = await client.post(LIST, **options)

    assert answer.status_code == 201
    batch = answer.json()["data"]
    assert (batch["state"], batch["reference"], batch["identifier"]) == ("open", None, None)
    assert (await client.get(f"{LIST}/{batch['uuid']}")).json() == {"data": batch}


async def test_a_batch_keeps_its_names(client: Client) -> None:
    longest = "ø" * 255

    answer = await client.post(LIST, json={"reference": longest, "identifier": ""})

    assert answer.json()["data"]["reference"] == longest
    assert answer.json()["data"]["identifier"] == ""


async def test_names_too_long_are_422_both_at_once(client: Client) -> None:
    answer = await client.post(LIST, json={"reference": "x" * 256, "identifier": "x" * 256})

    assert answer.status_code == 422
    assert list(answer.json()["errors"]) == ["reference", "identifier"]
    assert (await client.get(LIST)).json()["meta"]["total"] == 0


async def test_dispatch_queues_the_batch_and_wakes_the_team(client: Client, db: Database) -> None:
    batch = await client.make_batch()
    await client.add(batch, make_shipment())

    answer = await client.post(f"{LIST}/{batch}/dispatch")

    assert answer.status_code == 200
    assert answer.json()["data"]["state"] == "queued"
    async with db.pool.connection() as connection:
        wakes = await connection.execute("SELECT team_id, wake_at <= %s FROM wakes", (db.clock(),))
        assert await wakes.fetchall() == [(client.team.id, True)]
        jobs = await connection.execute("SELECT args ->> 'team_id' FROM procrastinate_jobs")
        assert await jobs.fetchall() == [(str(client.team.id),)]


async def test_dispatch_of_an_empty_batch_is_422(client: Client, db: Database) -> None:
    told = "The batch has no shipments."
    batch = await make_batch(db, team=client.team)

    empty = await client.post(f"{LIST}/{batch}/dispatch")
    await make_items(db, team=client.team, batch_id=batch, phase=Phase.DONE, status="canceled")
    emptied = await client.post(f"{LIST}/{batch}/dispatch")

    assert [empty.status_code, emptied.status_code] == [422, 422]
    assert empty.json() == emptied.json() == {"message": told, "errors": {"shipments": [told]}}


@pytest.mark.parametrize(
    "state",
    [state for state in BatchState if state not in {"open", "importing", "cancelled"}],
)
async def test_only_an_open_batch_changes(client: Client, db: Database, state: BatchState) -> None:
    batch = await make_batch(db, team=client.team, state=state)
    await make_items(db, team=client.team, batch_id=batch)
    before = (await client.get(f"{LIST}/{batch}")).json()

    answers = [
        await client.post(f"{LIST}/{batch}/dispatch"),
        await client.delete(f"{LIST}/{batch}"),
        await client.add(str(batch), make_shipment()),
    ]

    assert [(answer.status_code, answer.json()) for answer in answers] == [(422, NOT_OPEN)] * 3
    assert (await client.get(f"{LIST}/{batch}")).json() == before


async def test_cancel_ends_the_batch_and_its_shipments(client: Client, db: Database) -> None:
    batch = await client.make_batch()
    shipment = (await client.add(batch, make_shipment())).json()["data"][0]["uuid"]

    answer = await client.delete(f"{LIST}/{batch}", headers={"Accept-Language": "da"})

    assert answer.status_code == 200
    assert answer.json() == {"message": "Batchen er annulleret."}
    assert (await client.get(f"{LIST}/{batch}")).status_code == 404
    assert (await client.get(f"{LIST}/{batch}/shipments")).status_code == 404
    assert (await client.delete(f"{LIST}/{batch}")).status_code == 404
    assert (await client.get(LIST)).json()["data"] == []
    assert (await client.get(f"/shipments/{shipment}")).json()["data"]["state"] == "cancelled"
    async with db.pool.connection() as connection:
        kept = await connection.execute("SELECT state FROM batches")
        assert await kept.fetchall() == [("cancelled",)]


async def test_shipments_of_a_large_cancelled_batch_are_cancelled_before_they_have_ended(
    client: Client, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "BLOCK", 2)
    batch = await client.make_batch()
    added = (await client.add(batch, *(make_shipment() for _ in range(5)))).json()["data"]

    assert (await client.delete(f"{LIST}/{batch}")).status_code == 200

    async def look() -> None:
        for word, n in (("cancelled", 5), ("failed", 0), ("open", 0)):
            found = (await client.get(f"/shipments?state={word}")).json()
            assert (found["meta"]["total"], len(found["data"])) == (n, n), word
        for shipment in added:
            path = f"/shipments/{shipment['uuid']}"
            assert (await client.get(path)).json()["data"]["state"] == "cancelled"
            assert (await client.delete(path)).status_code == 422
        assert (await client.get(f"{LIST}/{batch}")).status_code == 404

    await look()
    await control.end_stopped_items(db)
    await look()


@pytest.mark.parametrize(
    "batch",
    [
        "nonsense",
        "0",
        "%00",
        "{01a20349-ccf4-74cf-b957-708dc7804390}",
        "3c90c3cc-0d44-4b50-8888-8dd25736052a",
    ],
)
async def test_an_unknown_batch_is_404_on_every_call(client: Client, batch: str) -> None:
    answers = [
        await client.get(f"{LIST}/{batch}"),
        await client.delete(f"{LIST}/{batch}"),
        await client.post(f"{LIST}/{batch}/dispatch"),
        await client.get(f"{LIST}/{batch}/shipments"),
        await client.add(batch, make_shipment()),
        await client.get(f"/shipments/{batch}"),
    ]

    assert [(answer.status_code, answer.json()) for answer in answers] == [(404, NOT_FOUND)] * 6


async def test_another_teams_batch_is_404_and_untouched(client: Client, stranger: Client) -> None:
    batch = await client.make_batch()
    shipment = (await client.add(batch, make_shipment())).json()["data"][0]["uuid"]
    before = (await client.get(f"{LIST}/{batch}")).json()

    answers = [
        await stranger.get(f"{LIST}/{batch}"),
        await stranger.delete(f"{LIST}/{batch}"),
        await stranger.post(f"{LIST}/{batch}/dispatch"),
        await stranger.get(f"{LIST}/{batch}/shipments"),
        await stranger.add(batch, make_shipment()),
        await stranger.get(f"/shipments/{shipment}"),
        await stranger.http.get(client.path(f"{LIST}/{batch}")),
    ]

    assert [(answer.status_code, answer.json()) for answer in answers] == [(404, NOT_FOUND)] * 7
    assert (await client.get(f"{LIST}/{batch}")).json() == before


async def test_twenty_dispatches_at_once_have_one_outcome(client: Client, db: Database) -> None:
    batch = await client.make_batch()
    await client.add(batch, make_shipment())

    answers = await asyncio.gather(*(client.post(f"{LIST}/{batch}/dispatch") for _ in range(20)))

    assert sorted(answer.status_code for answer in answers) == [200] + [422] * 19
    async with db.pool.connection() as connection:
        jobs = await connection.execute("SELECT count(*) FROM procrastinate_jobs")
        assert await jobs.fetchone() == (1,)


async def test_cancel_against_dispatch_has_one_outcome(client: Client) -> None:
    for _ in range(10):
        batch = await client.make_batch()
        await client.add(batch, make_shipment())
        dispatched, cancelled = await asyncio.gather(
            client.post(f"{LIST}/{batch}/dispatch"), client.delete(f"{LIST}/{batch}")
        )
        after = await client.get(f"{LIST}/{batch}")
        if dispatched.status_code == 200:
            assert (cancelled.status_code, after.json()["data"]["state"]) == (422, "queued")
        else:
            outcome = (dispatched.status_code, cancelled.status_code, after.status_code)
            assert outcome == (404, 200, 404)


async def test_adds_at_once_keep_every_shipment_in_its_place(client: Client, db: Database) -> None:
    batch = await client.make_batch()

    answers = await asyncio.gather(
        *(client.add(batch, *[make_shipment(reference=str(n))] * 5) for n in range(10))
    )

    assert {answer.status_code for answer in answers} == {201}
    assert (await client.get(f"{LIST}/{batch}")).json()["data"]["total_count"] == 50
    async with db.pool.connection() as connection:
        places = await connection.execute("SELECT position FROM item_data ORDER BY position")
        assert await places.fetchall() == [(place,) for place in range(1, 51)]


async def test_add_against_dispatch_has_one_outcome(client: Client) -> None:
    for _ in range(10):
        batch = await client.make_batch()
        await client.add(batch, make_shipment())
        added, dispatched = await asyncio.gather(
            client.add(batch, make_shipment()), client.post(f"{LIST}/{batch}/dispatch")
        )
        assert dispatched.status_code == 200
        assert added.status_code in {201, 422}
        total = 2 if added.status_code == 201 else 1
        after = (await client.get(f"{LIST}/{batch}")).json()["data"]
        assert (after["state"], after["total_count"]) == ("queued", total)
        assert dispatched.json()["data"]["total_count"] == total

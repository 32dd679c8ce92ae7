"""Calls that meet: one outcome, never a 500, and the books balance."""

import asyncio
from collections import Counter
from collections.abc import Awaitable

import httpx
import pytest

from batchyard.api.smartsend import shipment_routes
from batchyard.store.db import Database
from tests.api.smartsend.conftest import Client, make_shipment, until, working

ROUNDS = range(4)


async def at_once(*calls: Awaitable[httpx.Response]) -> list[httpx.Response]:
    answers = list(await asyncio.gather(*calls))
    assert all(answer.status_code < 500 for answer in answers)
    return answers


async def read_batch(client: Client, batch: str) -> httpx.Response:
    return await client.get(f"/booking-batches/{batch}")


@pytest.mark.parametrize("_round", ROUNDS)
async def test_adds_at_once_are_all_there_once(client: Client, db: Database, _round: int) -> None:
    batch = await client.make_batch()

    answers = await at_once(
        *(client.add(batch, *[make_shipment(reference=f"{n}")] * 3) for n in range(6))
    )

    assert {answer.status_code for answer in answers} == {201}
    assert (await read_batch(client, batch)).json()["data"]["total_count"] == 18
    async with db.pool.connection() as connection:
        rows = await (
            await connection.execute("SELECT position FROM item_data ORDER BY position")
        ).fetchall()
    assert [row[0] for row in rows] == list(range(1, 19))


@pytest.mark.parametrize("_round", ROUNDS)
async def test_an_add_is_in_the_batch_or_refused_when_it_is_dispatched(
    client: Client, _round: int
) -> None:
    batch = await client.make_batch()
    await client.add(batch, make_shipment())

    dispatched, *added = await at_once(
        client.post(f"/booking-batches/{batch}/dispatch"),
        *(client.add(batch, make_shipment()) for _ in range(4)),
    )

    assert dispatched.status_code == 200
    taken = Counter(answer.status_code for answer in added)
    assert set(taken) <= {201, 422}
    assert (await read_batch(client, batch)).json()["data"]["total_count"] == 1 + taken[201]


@pytest.mark.parametrize("_round", ROUNDS)
async def test_one_of_two_dispatches_wins(client: Client, db: Database, _round: int) -> None:
    batch = await client.make_batch()
    await client.add(batch, *[make_shipment()] * 5)

    async with working(db):
        answers = await at_once(
            *(client.post(f"/booking-batches/{batch}/dispatch") for _ in range(5))
        )

        async def has_ended() -> bool:
            return bool((await read_batch(client, batch)).json()["data"]["finished_at"])

        await until(has_ended)

    assert sorted(answer.status_code for answer in answers) == [200, 422, 422, 422, 422]
    assert (await read_batch(client, batch)).json()["data"]["progress"] == 100


@pytest.mark.parametrize("_round", ROUNDS)
async def test_a_batch_is_cancelled_or_dispatched(client: Client, _round: int) -> None:
    batch = await client.make_batch()
    await client.add(batch, make_shipment())

    cancelled, dispatched = await at_once(
        client.delete(f"/booking-batches/{batch}"),
        client.post(f"/booking-batches/{batch}/dispatch"),
    )

    assert sorted((cancelled.status_code, dispatched.status_code)) in ([200, 404], [200, 422])
    read = await read_batch(client, batch)
    assert (read.status_code == 404) == (cancelled.status_code == 200)


@pytest.mark.parametrize("_round", ROUNDS)
async def test_a_shipment_is_cancelled_or_booked(
    client: Client, db: Database, monkeypatch: pytest.MonkeyPatch, _round: int
) -> None:
    monkeypatch.setattr(shipment_routes, "PATIENCE_SECONDS", 60.0)
    made = (await client.post("/shipments", json=make_shipment())).json()["data"]["uuid"]

    async with working(db):
        cancelled, booked, again = await at_once(
            client.delete(f"/shipments/{made}"),
            client.post(f"/shipments/{made}/booking"),
            client.post(f"/shipments/{made}/booking"),
        )

    state = (await client.get(f"/shipments/{made}")).json()["data"]["state"]
    assert (state == "cancelled") == (cancelled.status_code == 200)
    assert [booked.status_code, again.status_code].count(200) <= 1
    if state == "booked":
        assert [booked.status_code, again.status_code].count(200) == 1


@pytest.mark.parametrize("_round", ROUNDS)
async def test_a_shipment_leaves_its_batch_or_is_booked_with_it(
    client: Client, db: Database, _round: int
) -> None:
    batch = await client.make_batch()
    added = (await client.add(batch, *[make_shipment()] * 8)).json()["data"]

    async with working(db):
        dispatched, *cancelled = await at_once(
            client.post(f"/booking-batches/{batch}/dispatch"),
            *(client.delete(f"/shipments/{one['uuid']}") for one in added[:4]),
        )

        async def has_ended() -> bool:
            return bool((await read_batch(client, batch)).json()["data"]["finished_at"])

        await until(has_ended)

    gone = [answer.status_code for answer in cancelled].count(200)
    assert dispatched.status_code == 200
    read = (await read_batch(client, batch)).json()["data"]
    assert read["total_count"] == 8 - gone
    assert read["completed_count"] + read["failed_count"] == read["total_count"]

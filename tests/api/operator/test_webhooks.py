"""Webhooks of a team: kept, filtered, delivered, tried again, given up after days."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

import pytest
from standardwebhooks import Webhook

from batchyard.api.operator.letters import DOOR, render
from batchyard.config import Config
from batchyard.models import BatchState, Kind, Phase
from batchyard.store import deliveries
from batchyard.testing.server import HttpServer
from batchyard.webhooks import HOLD, ORDERED_ATTEMPTS, PER_ENDPOINT, run_webhooks
from tests import factories
from tests.api.operator.conftest import Client, Clients
from tests.clocks import SetClock
from tests.webhooks.conftest import Receiver

HOOK = "https://hooks.example.com/batchyard"


@asynccontextmanager
async def delivering(client: Client, receiver: Receiver) -> AsyncIterator[str]:
    """Deliver to a receiver while the block runs; lend its address."""
    stop = asyncio.Event()
    config = Config(webhook_allow_private=True)
    async with HttpServer(receiver.handle) as server:
        task = asyncio.create_task(
            run_webhooks(config, client.db, stop=stop, renderers={DOOR: render})
        )
        try:
            yield f"{server.url}/hook"
        finally:
            stop.set()
            await task


async def until_arrived(receiver: Receiver, n: int) -> None:
    """Wait until so much arrived."""
    async with asyncio.timeout(60):
        while len(receiver.arrived) < n:  # noqa: ASYNC110  # a list sends no signal
            await asyncio.sleep(0.02)


async def end_batch(client: Client) -> tuple[UUID, UUID]:
    """Let a batch of one call start, and end well."""
    batch_id = await factories.make_batch(
        client.db, team=client.team, kind=Kind.CALL, state=BatchState.QUEUED, reference="spring"
    )
    [item_id] = await factories.make_items(
        client.db, team=client.team, batch_id=batch_id, number="+4520123456"
    )
    async with client.db.transaction() as conn:
        now = client.db.clock()
        for state in ("running", "completed"):
            await conn.execute(
                "UPDATE batches SET state = %s, updated_at = %s, finished_at = %s WHERE id = %s",
                (state, now, now, batch_id),
            )
        await conn.execute(
            "UPDATE items SET phase = %s, status = 'completed', updated_at = %s WHERE id = %s",
            (Phase.DONE, now, item_id),
        )
    return batch_id, item_id


async def test_an_endpoint_is_made_read_changed_and_deleted(client: Client) -> None:
    made = await client.post("/webhooks/endpoints", {"url": HOOK, "events": ["batch.*"]})
    assert made.status_code == 201, made.text
    path = f"/webhooks/endpoints/{made.json()['id']}"
    assert (await client.get(path)).json() == made.json()
    changed = (await client.patch(path, {"events": None, "is_disabled": True})).json()
    assert (changed["url"], changed["events"]) == (HOOK, None)
    assert changed["disabled_at"] is not None
    assert (await client.post(f"{path}/test")).status_code == 409
    assert (await client.patch(path, {"is_disabled": False})).json()["disabled_at"] is None
    assert (await client.delete(path)).status_code == 204
    assert (await client.get(path)).status_code == 404
    assert (await client.get("/webhooks/endpoints")).json() == {"data": []}


@pytest.mark.parametrize(
    "body",
    [
        {"url": "ftp://example.com"},
        {"url": "https://"},
        {"url": "no address"},
        {"url": HOOK, "events": ["item.flown"]},
        {"url": HOOK, "events": []},
    ],
)
async def test_what_is_no_endpoint_is_refused(client: Client, body: object) -> None:
    answer = await client.post("/webhooks/endpoints", body)
    assert answer.status_code == 422
    assert answer.json()["errors"]


async def test_a_team_is_told_what_it_asked_for_signed(client: Client) -> None:
    receiver = Receiver()
    async with delivering(client, receiver) as url:
        await client.post("/webhooks/endpoints", {"url": url, "events": ["batch.ended", "item.*"]})
        batch_id, item_id = await end_batch(client)
        await until_arrived(receiver, 2)
    told = {str(body["type"]): body["data"] for body in receiver.bodies}
    assert set(told) == {"batch.ended", "item.completed"}
    batch, item = told["batch.ended"], told["item.completed"]
    assert isinstance(batch, dict)
    assert isinstance(item, dict)
    assert (batch["batch_id"], batch["state"]) == (str(batch_id), "completed")
    assert batch["reference"] == "spring"
    assert (item["item_id"], item["number"]) == (str(item_id), "+4520123456")
    assert item["status"] == "completed"
    [secret] = (await client.get("/webhooks/secret")).json()["secrets"]
    for one in receiver.arrived:
        headers = {name: one.headers[name] for name in one.headers if name.startswith("webhook-")}
        Webhook(secret).verify(one.body.decode(), headers)


async def test_nothing_is_told_to_others_nor_after_the_end(clients: Clients) -> None:
    owner = await clients.of(await factories.make_team(clients.db))
    other = await clients.of(await factories.make_team(clients.db))
    await other.post("/webhooks/endpoints", {"url": HOOK})
    made = await owner.post("/webhooks/endpoints", {"url": HOOK})
    await owner.delete(f"/webhooks/endpoints/{made.json()['id']}")
    await end_batch(owner)
    for one in (owner, other):
        assert (await one.get("/webhooks/deliveries")).json()["data"] == []


async def test_nothing_is_told_of_what_is_no_longer_kept(client: Client) -> None:
    await client.post("/webhooks/endpoints", {"url": HOOK, "events": ["batch.ended", "item.*"]})
    await end_batch(client)
    async with client.db.transaction() as conn:
        claimed = await deliveries.claim(
            conn,
            limit=10,
            per_endpoint=PER_ENDPOINT,
            ordered_attempts=ORDERED_ATTEMPTS,
            hold=HOLD,
            now=client.db.clock(),
        )
    assert len(await render(client.db, deliveries=claimed, base_url="")) == 2
    async with client.db.transaction() as conn:
        await conn.execute("UPDATE webhook_deliveries SET data = '{}'")
    assert await render(client.db, deliveries=claimed, base_url="") == {}


async def test_a_test_event_arrives_and_is_sent_again_under_its_id(client: Client) -> None:
    receiver = Receiver()
    async with delivering(client, receiver) as url:
        made = (await client.post("/webhooks/endpoints", {"url": url})).json()
        sent = await client.post(f"/webhooks/endpoints/{made['id']}/test")
        delivery_id = sent.json()["delivery_id"]
        await until_arrived(receiver, 1)
        log: list[dict[str, object]] = []
        async with asyncio.timeout(60):
            while not log:
                log = (await client.get("/webhooks/deliveries", state="delivered")).json()["data"]
        again = await client.post(f"/webhooks/deliveries/{delivery_id}/redeliver")
        assert again.status_code == 202
        await until_arrived(receiver, 2)
    assert receiver.bodies[0]["data"] == {"endpoint_id": made["id"]}
    assert {one.headers["webhook-id"] for one in receiver.arrived} == {delivery_id}
    assert (log[0]["id"], log[0]["batch_id"], log[0]["last_status"]) == (delivery_id, None, 200)
    tries = (await client.get(f"/webhooks/deliveries/{delivery_id}/attempts")).json()["data"]
    assert tries[0]["status"] == 200


async def test_the_log_comes_in_pages(client: Client) -> None:
    made = (await client.post("/webhooks/endpoints", {"url": HOOK})).json()
    for _ in range(3):
        await client.post(f"/webhooks/endpoints/{made['id']}/test")
    first = (await client.get("/webhooks/deliveries", limit=2)).json()
    rest = (await client.get("/webhooks/deliveries", limit=2, cursor=first["next_cursor"])).json()
    assert [row["number"] for row in first["data"] + rest["data"]] == [3, 2, 1]
    assert rest["next_cursor"] is None
    answer = await client.get("/webhooks/deliveries", cursor="WzEsMiwzXQ")
    assert answer.status_code == 422


async def test_both_secrets_sign_for_a_day_after_a_rotation(client: Client) -> None:
    client.db.clock = clock = SetClock(client.db.clock())
    [old] = (await client.get("/webhooks/secret")).json()["secrets"]
    [new, still] = (await client.post("/webhooks/secret/rotate")).json()["secrets"]
    assert still == old != new
    clock.shift += timedelta(hours=25)
    assert (await client.get("/webhooks/secret")).json()["secrets"] == [new]


async def test_an_endpoint_that_fails_for_days_is_disabled_with_a_notice(client: Client) -> None:
    client.db.clock = clock = SetClock(client.db.clock())
    receiver = Receiver()
    receiver.answer = lambda _: 500
    async with delivering(client, receiver) as url:
        made = (await client.post("/webhooks/endpoints", {"url": url})).json()
        path = f"/webhooks/endpoints/{made['id']}"
        for n in (1, 2):
            await client.post(f"{path}/test")
            await until_arrived(receiver, n)
            async with asyncio.timeout(60):
                while (await client.get(path)).json()["failures"] < n:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            clock.shift += timedelta(days=4) if n == 1 else timedelta()
    assert (await client.get(path)).json()["disabled_at"] is not None
    async with client.db.transaction() as conn:
        told = await (await conn.execute("SELECT type, data FROM events")).fetchall()
    assert [row[0] for row in told] == ["webhook.disabled"]
    assert json.loads(json.dumps(told[0][1]))["endpoint_id"] == made["id"]


async def test_first_fault_after_a_quiet_time_disables_no_endpoint(client: Client) -> None:
    client.db.clock = clock = SetClock(client.db.clock())
    receiver = Receiver()
    receiver.answer = lambda _: 500
    async with delivering(client, receiver) as url:
        made = (await client.post("/webhooks/endpoints", {"url": url})).json()
        path = f"/webhooks/endpoints/{made['id']}"
        async with client.db.transaction() as conn:
            # What failed then was given up, and nothing was sent since.
            await conn.execute(
                "UPDATE webhook_endpoints SET failing_since = %s, failures = 1",
                (clock() - timedelta(days=4),),
            )
        await client.post(f"{path}/test")
        await until_arrived(receiver, 1)
        async with asyncio.timeout(60):
            while (await client.get(path)).json()["failures"] < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert (await client.get(path)).json()["disabled_at"] is None
        receiver.answer = lambda _: 200
        clock.shift += timedelta(hours=1)
        await until_arrived(receiver, 2)


async def test_endpoints_and_deliveries_of_another_team_are_not_found(clients: Clients) -> None:
    owner = await clients.of(await factories.make_team(clients.db))
    other = await clients.of(await factories.make_team(clients.db))
    made = (await owner.post("/webhooks/endpoints", {"url": HOOK})).json()
    path = f"/webhooks/endpoints/{made['id']}"
    sent = (await owner.post(f"{path}/test")).json()["delivery_id"]
    assert (await other.get(path)).status_code == 404
    assert (await other.patch(path, {"url": HOOK})).status_code == 404
    assert (await other.delete(path)).status_code == 404
    assert (await other.post(f"{path}/test")).status_code == 404
    assert (await other.post(f"/webhooks/deliveries/{sent}/redeliver")).status_code == 404
    assert (await other.get(f"/webhooks/deliveries/{sent}/attempts")).status_code == 404
    assert (await other.get("/audit")).json()["data"] == []

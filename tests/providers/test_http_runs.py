"""Whole batches through the http provider, over a bad line, before a server that counts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx
import orjson
import pytest

from batchyard.config import Config
from batchyard.encryption import Vault
from batchyard.engine.inbox import open_inbox
from batchyard.engine.worker import run_worker
from batchyard.errors import BatchyardError
from batchyard.models import Kind, Policy
from batchyard.operations.providers import add_provider, set_route
from batchyard.operations.teams import find_team
from batchyard.providers.base import Callback
from batchyard.store.db import Database
from batchyard.testing import Arrived, HttpServer, Line
from tests.engine.conftest import Yard, make_team
from tests.providers.judge import Judge, counting

FAULTS = {"busy": 0.05, "bad_gateway": 0.05, "reset": 0.05, "garbage": 0.05, "hang": 0.01}


@pytest.fixture
async def yard(db: Database) -> Yard:
    return Yard(db, await make_team(db))


async def lead_to(yard: Yard, judge: Judge, policy: Policy, **settings: object) -> None:
    """Lead the yard's items to the judge."""
    looked_up = {"result_url": f"{judge.url}/results"} if policy is Policy.ASKABLE else {}
    await add_provider(
        yard.db,
        Vault(None),
        name="judge",
        kind="http",
        settings={
            "url": f"{judge.url}/do",
            "policy": policy,
            "timeout_seconds": 1,
            "look_up_after_seconds": 1,
            **looked_up,
            **settings,
        },
        secret=None,
        allow_private=True,
    )
    slug = str(await yard.value("SELECT slug FROM teams WHERE id = %s", [yard.team_id]))
    team = await find_team(yard.db, slug_or_uuid=slug)
    assert team is not None
    for kind in Kind:
        await set_route(yard.db, team=team, kind=kind, agent_id=None, provider="judge")


@asynccontextmanager
async def working(yard: Yard) -> AsyncIterator[None]:
    """Run a worker, and a server that takes callbacks."""
    async with open_inbox(Config(), yard.db) as inbox:

        async def take(arrived: Arrived, line: Line) -> None:
            callback = Callback(url=arrived.path, headers=arrived.headers, body=arrived.body)
            status = 422
            with suppress(BatchyardError):
                await inbox.take(arrived.path.rsplit("/", 1)[-1], callback)
                status = 200
            await line.reply(status)

        async with HttpServer(take) as server:
            stop = asyncio.Event()
            config = Config(public_url=server.url, stop_seconds=2)
            worker = asyncio.create_task(run_worker(config, yard.db, stop=stop))
            try:
                yield
            finally:
                stop.set()
                await worker


async def test_askable_batch_ends_with_one_effect_an_item(yard: Yard) -> None:
    with counting(seed="a", honours_keys=False, **FAULTS, closed=0.05) as judge:
        await lead_to(yard, judge, Policy.ASKABLE, timeout_seconds=0.5)
        batch_id = await yard.make_batch(items=300)
        async with working(yard):
            await yard.until_ended(batch_id, seconds=60)
        assert await yard.counts(batch_id) == {"booked": 300}
        assert len(judge.per_item()) == 300
        assert set(judge.per_item().values()) == {1}
        assert {"busy", "bad_gateway", "reset", "garbage", "closed"} <= set(judge.faults())


async def test_repeatable_batch_ends_with_one_effect_an_item(yard: Yard) -> None:
    with counting(seed="r", **FAULTS, closed=0.05) as judge:
        await lead_to(yard, judge, Policy.REPEATABLE, timeout_seconds=0.5)
        batch_id = await yard.make_batch(items=300)
        async with working(yard):
            await yard.until_ended(batch_id, seconds=60)
        assert await yard.counts(batch_id) == {"booked": 300}
        assert set(judge.per_item().values()) == {1}
        assert judge.summary()["requests"] > 300


async def test_neither_leaves_each_lost_answer_to_a_person(yard: Yard) -> None:
    with counting(seed="n", honours_keys=False, **FAULTS) as judge:
        await lead_to(yard, judge, Policy.NEITHER)
        batch_id = await yard.make_batch(items=300)
        async with working(yard):
            await yard.until(
                "SELECT count(*) = 300 FROM items WHERE phase IN ('done', 'unknown')", seconds=60
            )
        counts, faults = await yard.counts(batch_id), judge.faults()
        lost = sum(n for name, n in faults.items() if name not in {"none", "busy"})
        assert counts == {"booked": 300 - lost, "unknown": lost}
        assert lost > 0
        assert set(judge.per_item().values()) == {1}


async def test_live_calls_end_by_callbacks_lost_doubled_and_early(yard: Yard) -> None:
    plan = {"callback_lost": 0.2, "callback_doubled": 0.3, "callback_early": 0.2}
    with counting(seed="c", accept=0.9, callback_seconds=0.1, **plan) as judge:
        await lead_to(yard, judge, Policy.ASKABLE)
        batch_id = await yard.make_batch(items=200, kind=Kind.CALL)
        async with working(yard):
            await yard.until_ended(batch_id, seconds=60)
        assert await yard.counts(batch_id) == {"completed": 200}
        assert set(judge.per_item().values()) == {1}
        told = orjson.loads(orjson.dumps(judge.summary()["callbacks"]))
        assert told["lost"] > 0
        assert set(told) == {"200", "lost"}


async def test_booking_waits_for_a_label_and_is_made_once(yard: Yard) -> None:
    posts: list[str] = []
    labels = iter([503, 404, 200])

    async def carrier(arrived: Arrived, line: Line) -> None:
        if arrived.method == "GET":
            await line.reply(next(labels), b"%PDF a label")
            return
        posts.append(arrived.headers["idempotency-key"])
        label = {"kind": "label", "format": "pdf", "url": f"http://{arrived.headers['host']}/l"}
        result = {"parcels": [{"tracking_code": "T1"}], "documents": [label]}
        await line.reply(200, orjson.dumps({"status": "booked", "result": result}))

    async with HttpServer(carrier) as server:
        await lead_to(yard, Judge(server.url), Policy.NEITHER)
        batch_id = await yard.make_batch(items=1)
        async with working(yard):
            await yard.until_ended(batch_id, seconds=30)
    assert len(posts) == 1
    assert await yard.counts(batch_id) == {"booked": 1}
    assert await yard.value("SELECT content FROM documents") == b"%PDF a label"
    assert await yard.value("SELECT result FROM item_data") == {
        "parcels": [{"tracking_code": "T1"}]
    }


async def test_label_told_by_callback_is_fetched_by_a_worker(yard: Yard) -> None:
    async def carrier(arrived: Arrived, line: Line) -> None:
        if arrived.method == "GET":
            await line.reply(200, b"%PDF a label")
            return
        await line.reply(202, b'{"reference": "r"}')
        label = {"kind": "label", "format": "pdf", "url": f"http://{arrived.headers['host']}/l"}
        news = {"status": "booked", "result": {"documents": [label]}}
        told.put_nowait((orjson.loads(arrived.body)["callback_url"], orjson.dumps(news)))

    told: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
    async with HttpServer(carrier) as server:
        await lead_to(yard, Judge(server.url), Policy.NEITHER)
        batch_id = await yard.make_batch(items=1)
        async with working(yard):
            url, news = await told.get()
            await yard.until("SELECT phase = 'live' FROM items")
            await post(url, news)
            await yard.until_ended(batch_id, seconds=30)
    assert await yard.counts(batch_id) == {"booked": 1}
    assert await yard.value("SELECT content FROM documents") == b"%PDF a label"


async def post(url: str, body: bytes) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        (await client.post(url, content=body)).raise_for_status()

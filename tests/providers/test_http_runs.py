"""Whole batches through the http provider whose documents come late; `tests/chaos` has the rest."""

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


@pytest.fixture
async def yard(db: Database) -> Yard:
    return Yard(db, await make_team(db))


async def lead_to(
    yard: Yard, url: str, *, policy: Policy = Policy.NEITHER, timeout_seconds: float = 10
) -> None:
    """Lead the yard's shipments to a carrier that cannot be asked."""
    await add_provider(
        yard.db,
        Vault(None),
        name="carrier",
        kind="http",
        settings={
            "url": f"{url}/do",
            "policy": policy,
            "timeout_seconds": timeout_seconds,
            "look_up_after_seconds": 1,
        },
        secret=None,
        allow_private=True,
    )
    slug = str(await yard.value("SELECT slug FROM teams WHERE id = %s", [yard.team_id]))
    team = await find_team(yard.db, slug_or_uuid=slug)
    assert team is not None
    await set_route(yard.db, team=team, kind=Kind.SHIPMENT, agent_id=None, provider="carrier")


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
        await lead_to(yard, server.url)
        batch_id = await yard.make_batch(items=1)
        async with working(yard):
            await yard.until_ended(batch_id)
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
        await lead_to(yard, server.url)
        batch_id = await yard.make_batch(items=1)
        async with working(yard):
            url, news = await told.get()
            await yard.until("SELECT phase = 'live' FROM items")
            await post(url, news)
            await yard.until_ended(batch_id)
    assert await yard.counts(batch_id) == {"booked": 1}
    assert await yard.value("SELECT content FROM documents") == b"%PDF a label"


async def test_booking_whose_repetition_meets_a_404_is_not_failed(yard: Yard) -> None:
    """The carrier books and is too slow to say so; then its proxy knows no such place for once."""
    posts: list[str] = []

    async def carrier(arrived: Arrived, line: Line) -> None:
        posts.append(arrived.headers["idempotency-key"])
        match len(posts):
            case 1:
                await line.hang()
            case 2:
                await line.reply(404, b"<h1>no such service</h1>")
            case _:
                await line.reply(200, b'{"status": "booked", "result": {}}')

    async with HttpServer(carrier) as server:
        await lead_to(yard, server.url, policy=Policy.REPEATABLE, timeout_seconds=1)
        batch_id = await yard.make_batch(items=1)
        async with working(yard):
            await yard.until_ended(batch_id)
    assert await yard.counts(batch_id) == {"booked": 1}
    assert len(set(posts)) == 1


async def post(url: str, body: bytes) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        (await client.post(url, content=body)).raise_for_status()

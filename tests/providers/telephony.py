"""A worker and a server that calls through a fake of a vendor, for tests."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from psycopg.types.json import Jsonb

from batchyard import lifecycle
from batchyard.api.callbacks import build_door
from batchyard.config import Config
from batchyard.encryption import Vault
from batchyard.engine import runner
from batchyard.engine.failpoints import Step
from batchyard.engine.inbox import Inbox, open_inbox
from batchyard.engine.worker import run_worker
from batchyard.models import Kind, RetryPolicy, Team
from batchyard.operations.providers import add_provider, set_route
from batchyard.operations.teams import find_team
from batchyard.providers import call_endings, telnyx
from batchyard.providers import telnyx_settings as telnyx_module
from batchyard.providers import twilio_settings as twilio_module
from batchyard.testing import Arrived, HttpServer, Line
from tests.cli.commands import running
from tests.engine.calls import make_calls
from tests.engine.conftest import Yard
from tests.ports import kept_port
from tests.providers.fakes.process import Fake
from tests.providers.fakes.telnyx_legs import API_KEY, CONNECTION, PUBLIC_KEY
from tests.providers.fakes.twilio_calls import ACCOUNT, OWNED, TOKEN

KEY = "a key for the secrets of tests"
SILENT = "UPDATE workers SET beat_at = beat_at - interval '1 minute' WHERE ended_at IS NULL"

PATIENT_SECONDS = 10
"""Timeout where every answer comes, however slow the machine."""

TWILIO_SECRET = json.dumps({"auth_token": TOKEN})
TELNYX_SECRET = json.dumps({"api_key": API_KEY})


def twilio_settings(fake: Fake, **changes: object) -> Mapping[str, object]:
    """Return settings that are fast enough for tests."""
    return {
        "account_sid": ACCOUNT,
        "base_url": fake.url,
        "from_number": OWNED,
        "say": "Hello {n}.",
        "timeout_seconds": 0.4,
        "look_up_after_seconds": 0.5,
        "look_after_seconds": [0.8, 1.0, 1.4],
        "price_wait_seconds": 0,
        "calls_per_second": 100,
    } | changes


def telnyx_settings(fake: Fake, **changes: object) -> Mapping[str, object]:
    """Return settings that are fast enough for tests."""
    return {
        "connection_id": CONNECTION,
        "public_key": PUBLIC_KEY,
        "base_url": f"{fake.url}/v2",
        "from_number": OWNED,
        "say": "Hello {n}.",
        "timeout_seconds": 0.4,
        "key_ttl_seconds": 40,
        "look_up_after_seconds": 0.5,
        "price_wait_seconds": 60,
        "concurrency": 100,
    } | changes


async def change_settings(yard: Yard, **changes: object) -> None:
    """Change settings of the provider; for before it works."""
    async with yard.db.transaction() as conn:
        await conn.execute(
            "UPDATE providers SET settings = settings || %s WHERE name = 'phone'",
            (Jsonb(changes),),
        )


async def forget_rate(yard: Yard) -> None:
    """Let calls start at the pace that the provider has of itself; for before it works."""
    async with yard.db.transaction() as conn:
        await conn.execute("DELETE FROM rates WHERE key LIKE 'provider:%'")


async def statuses(yard: Yard) -> dict[str, str]:
    """Return the status of each item by its key."""
    async with yard.db.pool.connection() as conn:
        rows = await (
            await conn.execute("SELECT id || '.' || try, status FROM items ORDER BY id")
        ).fetchall()
    return {str(key): str(status) for key, status in rows}


def told(fake: Fake) -> dict[str, str]:
    """Return how the fake ended each key."""
    deeds = fake.ledger()["deeds"]
    assert isinstance(deeds, dict)
    return {key: deed["status"] for key, deed in deeds.items()}


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the engine's own seconds be tenths."""
    monkeypatch.setattr(lifecycle, "SEND_WITHIN", timedelta(milliseconds=300))
    monkeypatch.setattr(lifecycle, "SAME_NUMBER_PAUSE", timedelta(milliseconds=100))
    monkeypatch.setattr(twilio_module, "SLACK", timedelta(milliseconds=50))
    monkeypatch.setattr(telnyx_module, "SLACK", timedelta(milliseconds=50))
    monkeypatch.setattr(telnyx, "GONE_PAUSE", timedelta(seconds=4))
    monkeypatch.setattr(call_endings, "FIRST_PAUSE", timedelta(milliseconds=100))
    monkeypatch.setattr(runner, "STOPPED_HERE", timedelta(milliseconds=200))


async def lead_to(yard: Yard, kind: str, settings: Mapping[str, object], secret: str) -> None:
    """Lead the yard's calls to a provider of a kind, without a rate of its own."""
    await add_provider(
        yard.db,
        Vault(KEY),
        name="phone",
        kind=kind,
        settings=settings,
        secret=secret,
        allow_private=True,
    )
    await set_route(
        yard.db, team=await team_of(yard), kind=Kind.CALL, agent_id=None, provider="phone"
    )
    # Tests of faults need many calls at once; the pace has a test of its own.
    async with yard.db.transaction() as conn:
        await conn.execute(
            "INSERT INTO limits (key) SELECT 'provider:' || id FROM providers WHERE name = 'phone'"
        )
        await conn.execute(
            "INSERT INTO rates SELECT 'provider:' || id, 1, 1000, 1000, 1000, %s"
            "  FROM providers WHERE name = 'phone'",
            (yard.db.clock(),),
        )


async def team_of(yard: Yard) -> Team:
    """Return the yard's team."""
    slug = str(await yard.value("SELECT slug FROM teams WHERE id = %s", [yard.team_id]))
    team = await find_team(yard.db, slug_or_uuid=slug)
    assert team is not None
    return team


def numbers(count: int, *, first: int = 0) -> list[str]:
    """Return different numbers that may be called."""
    return [f"+45201{first + n:05}" for n in range(count)]


async def call(yard: Yard, to: Sequence[str], *, retry_policy: RetryPolicy | None = None) -> UUID:
    """Make a batch of calls and dispatch it."""
    return await make_calls(yard, to, guardrails=None, retry_policy=retry_policy)


@asynccontextmanager
async def working(yard: Yard, *, workers: int = 1, port: int | None = None) -> AsyncIterator[Inbox]:
    """Run workers, and a server that takes callbacks; lend what takes them."""
    with kept_port() as spare:
        public = port or spare
        config = Config(public_url=f"http://127.0.0.1:{public}", secret_key=KEY, stop_seconds=1)
        async with _working(yard, config, workers=workers, port=public) as inbox:
            yield inbox


@asynccontextmanager
async def _working(yard: Yard, config: Config, *, workers: int, port: int) -> AsyncIterator[Inbox]:
    async with open_inbox(config, yard.db) as inbox:
        door = httpx.ASGITransport(app=build_door(lambda: inbox))

        async def take(arrived: Arrived, line: Line) -> None:
            # As a proxy would pass it on: the host is not the one that the caller knows.
            headers = {**arrived.headers, "host": "elsewhere"}
            answer = await proxy.post(arrived.path, content=arrived.body, headers=headers)
            await line.reply(answer.status_code, answer.content)

        async with (
            httpx.AsyncClient(transport=door, base_url="http://elsewhere") as proxy,
            HttpServer(take, port=port),
        ):
            stop = asyncio.Event()
            running = [
                asyncio.create_task(run_worker(config, yard.db, stop=stop)) for _ in range(workers)
            ]
            try:
                yield inbox
            finally:
                stop.set()
                await asyncio.gather(*running)


async def kill_a_worker(yard: Yard, *, port: int, log: Path) -> None:
    """Let a worker of its own take calls, and kill it when the first was placed."""
    settings = {
        "BATCHYARD_DATABASE_URL": yard.db.url,
        "BATCHYARD_SECRET_KEY": KEY,
        "BATCHYARD_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "BATCHYARD_TESTING": "true",
        "BATCHYARD_FAILPOINT": Step.AFTER_SEND,
    }
    with running("worker", log=log, **settings) as worker:
        await asyncio.to_thread(worker.wait, 60)
    assert worker.returncode == -signal.SIGKILL, f"see {log}"
    # The next worker takes it for dead at once.
    await yard.value(f"{SILENT} RETURNING id")

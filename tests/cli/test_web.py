"""How the web server ends: what still runs is broken off, and nothing looks like a fault."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from batchyard import config as configuring
from batchyard.cli import web
from batchyard.config import Config
from batchyard.dashboard.visitors import COOKIE, PREFIX
from batchyard.errors import ConfigError
from batchyard.operations import rehearsals, sessions
from batchyard.store.db import Database
from tests import factories

PATIENCE_SECONDS = 10
SIGNING_IN = {"trusted_proxy_header": "X-User", "port": 0}


@asynccontextmanager
async def served(db: Database) -> AsyncIterator[tuple[httpx.AsyncClient, Callable[[], None]]]:
    """Lend a client who is signed in, and what stops its server; the server has to end."""
    team = await factories.make_team(db, slug="served")
    token = await factories.make_token(db, team=team)
    secret = await sessions.sign_in_with_token(db, token=token, address=None)
    stop = asyncio.Event()
    with web.listening(Config(host="127.0.0.1", port=0, intake_processes=0)) as (config, serve):
        serving = asyncio.create_task(serve(config, db, stop))
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{config.port}{PREFIX}",
            cookies={COOKIE: secret},
            trust_env=False,
            timeout=30,
        ) as client:
            yield client, stop.set
            async with asyncio.timeout(PATIENCE_SECONDS):
                await serving


async def test_rehearsal_is_broken_off_by_the_end_of_the_server(
    db: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    begun = asyncio.Event()

    async def play_for_ever(*_: object, **__: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(rehearsals, "rehearse_batch", play_for_ever)
    monkeypatch.setattr(web, "WEB_STOP_SECONDS", 0.1)
    async with served(db) as (client, stop):
        batch_id = await factories.make_batch(db, team=await factories.make_team(db))
        asking = asyncio.create_task(client.get(f"/batches/{batch_id}/rehearsal/result"))
        await begun.wait()
        stop()
        answer = await asking

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert [record for record in caplog.records if record.exc_info] == []
    assert "Exception in ASGI" not in caplog.text


async def test_followed_page_ends_with_the_server_at_once(
    db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(db) as (client, stop), client.stream("GET", "/batches/live") as answer:
        lines = answer.aiter_lines()
        while "pieces" not in await anext(lines):
            """It has begun."""
        stop()
        # To its very end: a stream that was cut off would raise.
        assert [line async for line in lines if line.startswith("event: ")] == []

    assert [record for record in caplog.records if record.exc_info] == []
    # Nobody had to wait until it was broken off.
    assert "graceful shutdown exceeded" not in caplog.text


@pytest.mark.parametrize(
    "given", [{"host": "127.0.0.1"}, {"host": "0.0.0.0", "trusted_proxies": "192.0.2.1"}]
)
def test_header_of_a_proxy_that_is_known_is_taken(given: dict[str, str]) -> None:
    with web.listening(configuring.load(**SIGNING_IN, **given)):
        pass


def test_header_of_a_proxy_that_nobody_named_is_refused_at_the_start() -> None:
    settings = configuring.load(**SIGNING_IN, host="0.0.0.0")
    with (
        pytest.raises(ConfigError, match="Name the proxy there"),
        web.listening(settings),
    ):
        raise AssertionError("it listens")

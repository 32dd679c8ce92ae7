"""Secrets go to whom they are for, and into no log."""

import asyncio
import base64
from itertools import cycle
from pathlib import Path

import pytest

from batchyard.models import Kind
from batchyard.operations.providers import set_route
from batchyard.operations.teams import find_team
from batchyard.store.db import Database
from batchyard.testing import Arrived, HttpServer, Line
from tests.cli.commands import call_with_input, running
from tests.engine.conftest import Yard, make_team

pytestmark = pytest.mark.acceptance

RAW = bytes(range(32))
SECRET = base64.b64encode(RAW).decode()
KEY = "a-key-of-this-test-that-nobody-may-read"
TOKEN = "by_a-token-of-this-test-that-nobody-may-read"
ITEMS = 20

KEPT_SILENT = (SECRET, RAW.hex(), repr(RAW), KEY, TOKEN)


@pytest.fixture
async def yard(db: Database) -> Yard:
    return Yard(db, await make_team(db))


async def test_no_log_names_a_secret_however_the_provider_behaves(
    yard: Yard, tmp_path: Path
) -> None:
    ways = cycle(["books", "fails", "garbles", "resets", "refuses"])
    signed = 0

    async def carrier(arrived: Arrived, line: Line) -> None:
        nonlocal signed
        signed += arrived.headers["webhook-signature"].startswith("v1,")
        match next(ways):
            case "books":
                await line.reply(200, b'{"status": "booked"}')
            case "fails":
                await line.reply(500, b"<html>Traceback</html>")
            case "garbles":
                await line.reply(200, b"\xff\xfe")
            case "resets":
                line.reset()
            case _:
                await line.reply(400, b'{"message": "No such street"}')

    settings = {
        "BATCHYARD_DATABASE_URL": yard.db.url,
        "BATCHYARD_SECRET_KEY": KEY,
        "BATCHYARD_BOOTSTRAP_TOKEN": TOKEN,
        "BATCHYARD_LOG_LEVEL": "debug",
    }
    log = tmp_path / "log"
    async with HttpServer(carrier) as server:
        added = await asyncio.to_thread(
            call_with_input,
            f"whsec_{SECRET}\n",
            *("provider", "add", "carrier", "--kind", "http", "--url", f"{server.url}/do"),
            *("--secret-file", "-", "--allow-private"),
            **settings,
        )
        assert added.returncode == 0, added.stderr
        await lead_shipments(yard)
        await yard.make_batch(items=ITEMS)
        with running("worker", log=log, **settings):
            await yard.until(
                "SELECT count(*) = %s FROM items WHERE phase IN ('done', 'unknown')", [ITEMS]
            )
        # A key that opens nothing is complained of, and not named either.
        other = {**settings, "BATCHYARD_SECRET_KEY": f"another-{KEY}"}
        with running("worker", log=log, **other):
            async with asyncio.timeout(30):
                while "provider.unusable" not in log.read_text():  # noqa: ASYNC110  # a file sends no signal
                    await asyncio.sleep(0.02)

    assert signed == ITEMS
    said = added.stdout + added.stderr + log.read_text()
    assert "worker.started" in said
    assert "carrier" in said
    for secret in KEPT_SILENT:
        assert secret not in said


async def lead_shipments(yard: Yard) -> None:
    slug = str(await yard.value("SELECT slug FROM teams WHERE id = %s", [yard.team_id]))
    team = await find_team(yard.db, slug_or_uuid=slug)
    assert team is not None
    await set_route(yard.db, team=team, kind=Kind.SHIPMENT, agent_id=None, provider="carrier")

"""How often PostgreSQL is asked: as often for a thousand shipments as for ten."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from batchyard.api.smartsend import catalogue
from batchyard.api.smartsend.routes import build_door
from batchyard.config import Config
from batchyard.store import db as databases
from batchyard.store.db import Database
from tests.api.smartsend.conftest import Client, make_shipment, open_client
from tests.factories import make_team

STATEMENT = re.compile(rb" LOG:  (?:statement|execute [^:]+): \s*(\w+)")
"""As the server writes it down, with the first word."""


@pytest.fixture
async def writing(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Database]:
    """A database whose server writes down what it is asked."""
    # Only that: nothing is asked for the sake of the clock or the connections.
    monkeypatch.setattr(databases, "CLOCK_SECONDS", 3600)
    monkeypatch.setattr(databases, "FRESH_SECONDS", 3600)
    db = Database(f"{database_url}&options=-c%20log_statement%3Dall")
    await db.open()
    yield db
    await db.close()


def read(log: Path) -> bytes:
    return log.read_bytes()


async def statements(client: Client, batch: str, *, shipments: int, log: Path) -> list[bytes]:
    """Add so many shipments in one call, and return what PostgreSQL was asked meanwhile."""
    begin = len(read(log))
    added = await client.add(
        batch, *(make_shipment(reference=f"order-{number}") for number in range(shipments))
    )
    assert added.status_code == 201
    assert len(added.json()["data"]) == shipments
    return STATEMENT.findall(read(log)[begin:])


async def test_a_thousand_shipments_take_as_many_statements_as_ten(
    writing: Database, postgres_folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "BELIEVED_SECONDS", 0)
    log = Path(postgres_folder) / "log"
    team = await make_team(writing)
    async with open_client(build_door(Config(), writing), writing, team=team) as client:
        batch = await client.make_batch()
        ten = await statements(client, batch, shipments=10, log=log)
        thousand = await statements(client, batch, shipments=1000, log=log)

        assert thousand == ten
        assert ten.count(b"COPY") == 2
        assert (await client.get(f"/booking-batches/{batch}")).json()["data"]["total_count"] == 1010

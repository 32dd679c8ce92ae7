"""Health and metrics: what an orchestrator and a monitor see."""

from collections.abc import AsyncIterator

import httpx
import pytest

from batchyard.api.health import build_door
from batchyard.models import BatchState
from batchyard.store.db import Database
from tests import factories


@pytest.fixture
async def http(db: Database) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=build_door(db))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


async def test_server_with_its_database_is_ready(http: httpx.AsyncClient) -> None:
    assert (await http.get("/health/live")).status_code == 200
    assert (await http.get("/health/ready")).json() == {"status": "ok"}


async def test_server_whose_database_is_gone_lives_but_is_not_ready(
    http: httpx.AsyncClient, db: Database
) -> None:
    await db.close()

    answer = await http.get("/health/ready")

    assert answer.status_code == 503
    assert answer.json()["reason"] == "The database does not answer."
    assert (await http.get("/health/live")).status_code == 200
    assert "batchyard_database_up 0.0" in (await http.get("/metrics")).text


async def test_server_without_the_schema_says_what_helps(empty_database_url: str) -> None:
    empty = Database(empty_database_url)
    await empty.open()
    transport = httpx.ASGITransport(app=build_door(empty))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        answer = await http.get("/health/ready")
    await empty.close()

    assert answer.status_code == 503
    assert "batchyard migrate" in answer.json()["reason"]


async def test_metrics_count_due_items_that_nobody_took(
    http: httpx.AsyncClient, db: Database
) -> None:
    team = await factories.make_team(db)
    for state, n in ((BatchState.QUEUED, 3), (BatchState.OPEN, 2)):
        batch_id = await factories.make_batch(db, team=team, state=state)
        await factories.make_items(db, team=team, batch_id=batch_id, n=n)

    told = (await http.get("/metrics")).text

    assert 'batchyard_items{status="waiting"} 5.0' in told
    assert "batchyard_due_items 3.0" in told
    assert "batchyard_imports_running 0.0" in told

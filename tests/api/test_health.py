"""Health and metrics: what an orchestrator and a monitor see."""

import re
from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest

from batchyard.api.health import build_door
from batchyard.models import BatchState, Kind, Rate
from batchyard.operations import batches, endpoints, limits
from batchyard.store import gauges
from batchyard.store.db import Database
from tests import factories
from tests.api.smartsend.conftest import make_shipment, until, working


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


async def test_oldest_due_item_counts_also_where_not_all_are_counted(
    http: httpx.AsyncClient, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gauges, "COUNTED_AT_MOST", 2)
    team = await factories.make_team(db)
    for hours in (0, 5, 0):
        batch_id = await factories.make_batch(db, team=team, state=BatchState.QUEUED)
        await factories.make_items(db, team=team, batch_id=batch_id, n=3)
        async with db.transaction() as conn:
            await conn.execute(
                "UPDATE items SET due_at = %s WHERE batch_id = %s",
                (db.clock() - timedelta(hours=hours), batch_id),
            )

    told = (await http.get("/metrics")).text

    assert "batchyard_due_items 2.0" in told
    age = re.search(r"^batchyard_queue_age_seconds (\S+)$", told, re.MULTILINE)
    assert age is not None
    assert 5 * 3600 <= float(age[1]) < 6 * 3600


async def test_metrics_of_a_worker_that_ran_tell_all_that_is_watched(
    http: httpx.AsyncClient, db: Database
) -> None:
    team = await factories.make_team(db)
    await endpoints.create_endpoint(db, team=team, url="https://hooks.example.com/x")
    limited, free = [await factories.make_batch(db, team=team) for _ in range(2)]
    shipment = make_shipment()
    for batch_id in (limited, free):
        await factories.make_items(db, team=team, batch_id=batch_id, n=3, payload=shipment)
    rate = Rate(count=1, seconds=86_400)
    await limits.set_limit(db, scope=f"batch:{limited}", concurrency=None, rates=[rate])
    for batch_id in (limited, free):
        await batches.dispatch_batch(db, team=team, kind=Kind.SHIPMENT, batch_id=batch_id)

    async def is_over() -> bool:
        async with db.pool.connection() as conn:
            cursor = await conn.execute(
                "SELECT count(*) = 2 FROM batches"
                " WHERE id = %s AND finished_at IS NOT NULL OR id = %s AND wait_reason IS NOT NULL",
                (free, limited),
            )
            return await cursor.fetchone() == (True,)

    async with working(db):
        await until(is_over)
    told = (await http.get("/metrics")).text

    for line in (
        r'items\{status="booked"\}',
        r'items\{status="waiting"\}',
        r"turn_seconds_count",
        r'admission_waits_total\{reason="\w+"\}',
        r'provider_seconds_count\{provider="sandbox"\}',
        r'provider_answers_total\{answer="\w+",provider="sandbox"\}',
        r'journal_flush_size_count\{kind="\w+"\}',
        r'webhook_deliveries\{state="\w+"\}',
    ):
        assert re.search(rf"^batchyard_{line} [1-9]", told, re.MULTILINE), line
    for line in ("due_items", "queue_age_seconds", "imports_running", "workers"):
        assert re.search(rf"^batchyard_{line} \d", told, re.MULTILINE), line
    asked = [line for line in told.splitlines() if line.startswith("# HELP batchyard_")]
    assert len(asked) == len({line.split()[2] for line in asked})

"""`booked` commits together with its label: processes are killed where it would show."""

import asyncio
from pathlib import Path

import pytest

from batchyard.store.db import Database
from tests.api.smartsend.conftest import Client, make_shipment, until
from tests.cli.commands import running

SHIPMENTS = 30

BOOKED_WITHOUT = """
SELECT count(*) FROM items i
 WHERE i.status = 'booked'
   AND (SELECT count(*) FROM documents d WHERE d.item_id = i.id) <> 4
"""
LABELS_OF_OTHERS = """
SELECT count(*) FROM documents d JOIN items i ON i.id = d.item_id WHERE i.status <> 'booked'
"""


async def count(db: Database, query: str) -> int:
    async with db.pool.connection() as connection:
        row = await (await connection.execute(query.encode())).fetchone()
    assert row is not None
    return int(str(row[0]))


@pytest.mark.acceptance
@pytest.mark.parametrize("store", ["postgresql", "directory"])
@pytest.mark.parametrize("step", ["in_counting", "after_outcome:2"])
async def test_what_is_booked_has_its_labels_after_a_crash(
    client: Client, db: Database, tmp_path: Path, step: str, store: str
) -> None:
    settings = {
        "BATCHYARD_DATABASE_URL": db.url,
        "BATCHYARD_SANDBOX_SPEED": "20",
        "BATCHYARD_TESTING": "true",
        "BATCHYARD_DOCUMENT_STORE": (
            "postgresql" if store == "postgresql" else f"file://{tmp_path}/labels"
        ),
    }
    parcels = [{"gross_weight": 100}, {"gross_weight": 200}]
    batch = await client.make_batch()
    await client.add(batch, *[make_shipment(parcels=parcels)] * SHIPMENTS)
    await client.post(f"/booking-batches/{batch}/dispatch")

    with running("worker", log=tmp_path / "log", BATCHYARD_FAILPOINT=step, **settings) as killed:
        code = await asyncio.to_thread(killed.wait, 60)
        assert code < 0, (tmp_path / "log").read_text()

    assert await count(db, BOOKED_WITHOUT) == 0
    assert await count(db, LABELS_OF_OTHERS) == 0

    async def has_ended() -> bool:
        read = await client.get(f"/booking-batches/{batch}")
        return bool(read.json()["data"]["finished_at"])

    with running("worker", log=tmp_path / "log", **settings):
        await until(has_ended, seconds=60)
    assert await count(db, "SELECT count(*) FROM items WHERE status = 'booked'") > 0
    assert await count(db, BOOKED_WITHOUT) == 0
    assert await count(db, LABELS_OF_OTHERS) == 0

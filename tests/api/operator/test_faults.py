"""What went wrong through the operator API: unknown outcomes, and the last failures."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from batchyard.models import BatchState, Phase
from tests import factories
from tests.api.operator.conftest import Client


@pytest.fixture
async def batch_id(client: Client) -> UUID:
    return await factories.make_batch(client.db, team=client.team, state=BatchState.RUNNING)


async def make(
    client: Client, batch_id: UUID, *, phase: Phase, status: str, hours_ago: int, n: int = 1
) -> Sequence[UUID]:
    return await factories.make_items(
        client.db,
        team=client.team,
        batch_id=batch_id,
        n=n,
        phase=phase,
        status=status,
        updated_at=client.db.clock() - timedelta(hours=hours_ago),
    )


async def test_unknown_outcomes_are_told_the_oldest_first(client: Client, batch_id: UUID) -> None:
    newer = await make(client, batch_id, phase=Phase.UNKNOWN, status="unknown", hours_ago=1, n=2)
    (oldest,) = await make(client, batch_id, phase=Phase.UNKNOWN, status="unknown", hours_ago=2)
    await make(client, batch_id, phase=Phase.DONE, status="failed", hours_ago=3)

    told = (await client.get("/items/unknown", limit=2)).json()

    assert told["total"] == 3
    assert [row["item_id"] for row in told["data"]] == [str(oldest), str(newer[0])]
    assert told["data"][0]["key"] == f"{oldest}.1"
    elsewhere = await client.get("/items/unknown", batch_id=str(uuid4()))
    assert elsewhere.json() == {"data": [], "total": 0}


async def test_failures_are_told_the_latest_first(client: Client, batch_id: UUID) -> None:
    first, second = [
        (await make(client, batch_id, phase=Phase.DONE, status=status, hours_ago=hours))[0]
        for status, hours in (("failed", 2), ("failed", 1))
    ]
    await make(client, batch_id, phase=Phase.DONE, status="booked", hours_ago=0)

    path = f"/batches/{batch_id}/failures"
    told = (await client.get(path)).json()["data"]

    assert [row["id"] for row in told] == [str(second), str(first)]
    assert len((await client.get(path, limit=1)).json()["data"]) == 1

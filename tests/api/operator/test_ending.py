"""A live call is broken off through the operator API, by a token that may."""

from collections.abc import AsyncIterator
from uuid import UUID

import httpx
import pytest

from batchyard.api.operator.routes import build_door
from batchyard.config import Config
from batchyard.engine.inbox import open_inbox
from batchyard.models import Kind, Phase
from batchyard.operations import access
from batchyard.store.db import Database
from tests import factories
from tests.api.operator.conftest import Client

NUMBER = "+4520123456"


@pytest.fixture
async def client(db: Database) -> AsyncIterator[Client]:
    """Lend a client of a door that can speak to providers."""
    team = await factories.make_team(db)
    token = await access.create_token(db, team=team, name="test", scopes=["batches:write"])
    async with open_inbox(Config(), db) as inbox:
        door = build_door(Config(), db, inbox=lambda: inbox)
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=door),
            base_url="http://test",
            headers={"Authorization": f"Bearer {token}"},
        ) as http:
            yield Client(db, team, http)


async def make(client: Client, *, kind: Kind, phase: Phase, status: str) -> UUID:
    """Make an item that the sandbox has."""
    batch_id = await factories.make_batch(client.db, team=client.team, kind=kind)
    [item_id] = await factories.make_items(
        client.db, team=client.team, batch_id=batch_id, phase=phase, status=status, number=NUMBER
    )
    async with client.db.transaction() as conn:
        await conn.execute("UPDATE items SET provider_id = 1")
    return item_id


async def read(client: Client, query: str) -> object:
    async with client.db.pool.connection() as conn:
        row = await (await conn.execute(query.encode())).fetchone()
    return row[0] if row else None


async def test_live_call_is_ended_and_the_audit_log_says_by_whom(client: Client) -> None:
    item_id = await make(client, kind=Kind.CALL, phase=Phase.LIVE, status="ringing")
    answer = await client.post(f"/items/{item_id}/end")
    assert answer.status_code == 204, answer.text
    assert await read(client, "SELECT status FROM items") == "stopped"
    assert await read(client, "SELECT result ->> 'hangup_by' FROM item_data") == "operator"
    assert await read(client, "SELECT result ? 'batchyard' FROM item_data") is False
    assert await read(client, "SELECT action || ' ' || subject FROM audit_log") == (
        f"item.end {item_id}"
    )


@pytest.mark.parametrize(
    "kind,phase,status,told",
    [
        (Kind.CALL, Phase.READY, "waiting", "not sent yet"),
        (Kind.CALL, Phase.CALLING, "sending", "just sent"),
        (Kind.CALL, Phase.UNKNOWN, "unknown", "Nobody knows"),
        (Kind.CALL, Phase.DONE, "completed", "has ended"),
        (Kind.SHIPMENT, Phase.LIVE, "processing", "cannot break off a shipment"),
    ],
)
async def test_what_is_no_live_call_stays_as_it_is(
    kind: Kind, phase: Phase, status: str, told: str, client: Client
) -> None:
    item_id = await make(client, kind=kind, phase=phase, status=status)
    answer = await client.post(f"/items/{item_id}/end")
    assert answer.status_code == 409
    assert told in answer.json()["detail"]
    assert await read(client, "SELECT status FROM items") == status


async def test_server_that_is_starting_says_so(db: Database) -> None:
    team = await factories.make_team(db)
    token = await access.create_token(db, team=team, name="test", scopes=["admin"])
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=build_door(Config(), db)),
        base_url="http://test",
        headers={"Authorization": f"Bearer {token}"},
    ) as http:
        client = Client(db, team, http)
        item_id = await make(client, kind=Kind.CALL, phase=Phase.LIVE, status="ringing")
        answer = await client.post(f"/items/{item_id}/end")
    assert answer.status_code == 429
    assert "Retry-After" in answer.headers

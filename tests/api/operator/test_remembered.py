"""Whoever is remembered is still asked for a token that holds: by the statement of the list."""

from uuid import UUID

import pytest
from fastapi.routing import iter_route_contexts

from batchyard.api.operator import access
from batchyard.api.operator.access import ProvingRoute
from batchyard.api.operator.routes import build_door
from batchyard.config import Config
from batchyard.models import Kind
from batchyard.store.db import Database
from tests import factories
from tests.api.operator.conftest import Client, Clients


@pytest.fixture
async def batch_id(client: Client) -> UUID:
    """Lend a batch of a client who has read its items before."""
    made = await factories.make_batch(client.db, team=client.team, kind=Kind.CALL)
    await factories.make_items(client.db, team=client.team, batch_id=made, n=3)
    assert (await client.get("/items", batch_id=made)).status_code == 200
    return made


async def test_who_is_remembered_is_answered_by_one_statement(
    client: Client, batch_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def authenticate(*_: object, **__: object) -> None:
        raise AssertionError

    told = (await client.get("/items", batch_id=batch_id)).content
    monkeypatch.setattr(access, "authenticate", authenticate)
    answer = await client.get("/items", batch_id=batch_id)
    assert (answer.status_code, answer.content) == (200, told)


@pytest.mark.parametrize(
    "change", ["revoked_at = created_at", "expires_at = created_at + interval '1 microsecond'"]
)
async def test_token_that_ended_is_refused_at_once(
    client: Client, batch_id: UUID, change: str
) -> None:
    async with client.db.transaction() as conn:
        await conn.execute(f"UPDATE tokens SET {change}".encode())
    asked: list[dict[str, object]] = [
        {"batch_id": batch_id},
        {},
        {"limit": 0},
        {"batch_id": "none"},
        {"batch_id": batch_id, "status": "unheard of"},
    ]
    for given in asked:
        assert (await client.get("/items", **given)).status_code == 401, given


async def test_answers_are_those_of_who_is_not_remembered(client: Client, batch_id: UUID) -> None:
    assert (await client.get("/items", batch_id=batch_id, limit=0)).status_code == 422
    empty = await client.get("/items", batch_id=batch_id, status="completed")
    assert (empty.status_code, empty.json()["data"]) == (200, [])
    everywhere = await client.get("/items")
    assert len(everywhere.json()["data"]) == 3


async def test_items_of_another_team_stay_unknown(clients: Clients, batch_id: UUID) -> None:
    stranger = await clients.of(await factories.make_team(clients.db))
    for _ in range(2):
        answer = await stranger.get("/items", batch_id=batch_id)
        assert answer.json()["data"] == []


async def test_scope_is_asked_for_as_before(clients: Clients, client: Client) -> None:
    auditor = await clients.of(client.team, scopes=["audit:read"])
    assert (await auditor.get("/audit")).status_code == 200
    assert (await auditor.get("/items")).status_code == 403


def test_no_other_route_answers_who_is_remembered(db: Database) -> None:
    contexts = iter_route_contexts(build_door(Config(), db).routes)
    routes = [context.original_route for context in contexts]
    assert [r.name for r in routes if isinstance(r, ProvingRoute)] == ["list_items"]

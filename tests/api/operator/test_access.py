"""Tokens of the operator API: known, scoped, revoked; a matrix over every route."""

from datetime import datetime, timedelta

import pytest
from fastapi.routing import APIRoute

from batchyard.api.operator.routes import PREFIX, ROUTERS
from batchyard.operations.access import ADMIN_SCOPE, SCOPES
from batchyard.store.db import Database
from tests import factories
from tests.api.operator.conftest import Client, Clients
from tests.clocks import SetClock


def scope_of(route: APIRoute) -> str:
    """Return the scope a route asks for; every route must ask for one."""
    for dependency in route.dependant.dependencies:
        scope = getattr(dependency.call, "scope", None)
        if scope is not None:
            return str(scope)
    raise AssertionError(f"{route.path} asks for no scope")


async def test_every_route_wants_its_scope_and_no_other(clients: Clients, db: Database) -> None:
    team = await factories.make_team(db)
    routes = [r for router in ROUTERS for r in router.routes if isinstance(r, APIRoute)]
    assert len(routes) > 15
    for scope in SCOPES:
        client = await clients.of(team, scopes=[scope])
        for route in routes:
            path = PREFIX + route.path_format
            for name in route.param_convertors:
                fill = "1" if name == "token_id" else "0194d2a5-0000-7000-8000-000000000000"
                path = path.replace(f"{{{name}}}", fill)
            method = next(iter(route.methods or ()))
            answer = await client.http.request(method, path, json={})
            allowed = scope in {scope_of(route), ADMIN_SCOPE}
            assert (answer.status_code != 403) == allowed, (scope, method, path, answer.text)


async def test_request_without_token_is_unauthorized(client: Client) -> None:
    client.http.headers.pop("Authorization")
    answer = await client.get("/batches")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["status"] == 401


async def test_token_is_made_listed_and_revoked(client: Client) -> None:
    made = await client.post("/tokens", {"name": "reader", "scopes": ["batches:read"]})
    assert made.status_code == 201
    token = made.json()["token"]
    listed = (await client.get("/tokens")).json()["data"]
    assert [row["name"] for row in listed] == ["reader", "test"]
    assert token not in str(listed)
    reader = {"Authorization": f"Bearer {token}"}
    path = "/api/v1/batches"
    assert (await client.http.get(path, headers=reader)).status_code == 200
    assert (await client.delete(f"/tokens/{listed[0]['id']}")).status_code == 204
    assert (await client.http.get(path, headers=reader)).status_code == 401


async def test_expired_token_is_unknown(client: Client) -> None:
    body = {"name": "old", "scopes": ["batches:read"], "expires_at": "2020-01-01T00:00:00Z"}
    token = (await client.post("/tokens", body)).json()["token"]
    answer = await client.http.get("/api/v1/batches", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401


async def test_unknown_scope_is_refused(client: Client) -> None:
    answer = await client.post("/tokens", {"name": "x", "scopes": ["fly"]})
    assert answer.status_code == 422
    assert "Known: admin" in answer.json()["detail"]


async def test_audit_log_cannot_be_rewritten(client: Client, db: Database) -> None:
    await client.post("/tokens", {"name": "x"})
    for change in ("UPDATE audit_log SET actor = 'nobody'", "DELETE FROM audit_log"):
        with pytest.raises(Exception, match="append-only"):
            async with db.transaction() as conn:
                await conn.execute(change.encode())


async def test_last_use_of_a_token_moves_with_its_uses(client: Client) -> None:
    clock = SetClock(client.db.clock())
    client.db.clock = clock

    async def last_used_at() -> datetime:
        [row] = (await client.get("/tokens")).json()["data"]
        return datetime.fromisoformat(row["last_used_at"])

    first = await last_used_at()
    assert abs(first - clock()) < timedelta(minutes=1)
    clock.shift += timedelta(hours=1)
    assert await last_used_at() >= first + timedelta(hours=1)

"""Bodies have an end, and are not read of strangers; lists have limits of their own."""

from collections.abc import AsyncIterator

import httpx
import pytest

from batchyard.api.operator.access import KnownRoute
from batchyard.api.operator.routes import PREFIX, ROUTERS, build_door
from batchyard.config import Config
from batchyard.store.db import Database
from tests import factories

LIMIT = 10_000
PIECE = b"a" * 1000


class Endless:
    """A body that says no length; counts what was taken of it."""

    def __init__(self) -> None:
        self.taken = 0

    async def pieces(self) -> AsyncIterator[bytes]:
        yield b'{"name": "'
        while self.taken < 1000 * LIMIT:
            self.taken += len(PIECE)
            yield PIECE


@pytest.fixture
async def http(db: Database) -> AsyncIterator[httpx.AsyncClient]:
    """Lend somebody whom nobody knows."""
    door = build_door(Config(max_body_bytes=LIMIT), db)
    transport = httpx.ASGITransport(app=door, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        yield http


@pytest.mark.parametrize("path", ["/users", "/items/resolve", "/tokens"])
async def test_body_without_end_is_refused(
    http: httpx.AsyncClient, db: Database, path: str
) -> None:
    token = await factories.make_token(db, team=await factories.make_team(db))
    answer = await http.post(
        f"{PREFIX}{path}",
        content=Endless().pieces(),
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {token}"},
    )
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/users", "/items/resolve", "/privacy/erase", "/agents"])
async def test_nothing_is_read_of_a_stranger(http: httpx.AsyncClient, path: str) -> None:
    body = Endless()
    answer = await http.post(
        f"{PREFIX}{path}",
        content=body.pieces(),
        headers={"Content-Type": "application/json", "Idempotency-Key": "key-of-a-stranger"},
    )
    assert (answer.status_code, body.taken) == (401, 0)


def test_every_route_recognises_its_caller_first() -> None:
    routes = [route for router in ROUTERS for route in router.routes]
    assert [route for route in routes if not isinstance(route, KnownRoute)] == []


async def test_list_may_be_larger_than_other_bodies(http: httpx.AsyncClient, db: Database) -> None:
    token = await factories.make_token(db, team=await factories.make_team(db))
    rows = [{"contact_number": "+4520123456", "name": "x" * 100}] * 200
    answer = await http.post(
        f"{PREFIX}/rehearsals",
        json={"kind": "call", "rows": rows},
        headers={"Authorization": f"Bearer {token}"},
    )
    assert answer.status_code == 200, answer.text

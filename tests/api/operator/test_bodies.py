"""Bodies have an end before it is known who sends them; lists have limits of their own."""

from collections.abc import AsyncIterator

import httpx
import pytest

from batchyard.api.operator.routes import PREFIX, build_door
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
async def test_body_without_end_is_refused(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.post(
        f"{PREFIX}{path}",
        content=Endless().pieces(),
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"


async def test_list_may_be_larger_than_other_bodies(http: httpx.AsyncClient, db: Database) -> None:
    token = await factories.make_token(db, team=await factories.make_team(db))
    rows = [{"contact_number": "+4520123456", "name": "x" * 100}] * 200
    answer = await http.post(
        f"{PREFIX}/rehearsals",
        json={"kind": "call", "rows": rows},
        headers={"Authorization": f"Bearer {token}"},
    )
    assert answer.status_code == 200, answer.text

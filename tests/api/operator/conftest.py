"""A client of the operator API, over the real application and a real database."""

from collections.abc import AsyncIterator, Sequence

import httpx
import pytest

from batchyard.api.operator.routes import build_door
from batchyard.config import Config
from batchyard.models import Team
from batchyard.operations import access
from batchyard.store.db import Database
from tests import factories


class Client:
    """Speaks for one team."""

    def __init__(self, db: Database, team: Team, http: httpx.AsyncClient) -> None:
        self.db = db
        self.team = team
        self.http = http

    async def get(self, path: str, **params: object) -> httpx.Response:
        given = {key: value for key, value in params.items() if value is not None}
        return await self.http.get(f"/api/v1{path}", params=given)  # type: ignore[arg-type]

    async def post(self, path: str, body: object = None) -> httpx.Response:
        return await self.http.post(f"/api/v1{path}", json=body)

    async def put(self, path: str, body: object) -> httpx.Response:
        return await self.http.put(f"/api/v1{path}", json=body)

    async def patch(self, path: str, body: object) -> httpx.Response:
        return await self.http.patch(f"/api/v1{path}", json=body)

    async def delete(self, path: str) -> httpx.Response:
        return await self.http.delete(f"/api/v1{path}")


class Clients:
    """Makes clients of new teams, or of scopes."""

    def __init__(self, db: Database, config: Config | None = None) -> None:
        self.db = db
        self._door = build_door(config or Config(), db)
        self._open: list[httpx.AsyncClient] = []

    async def of(self, team: Team, *, scopes: Sequence[str] = ("admin",)) -> Client:
        token = await access.create_token(self.db, team=team, name="test", scopes=scopes)
        transport = httpx.ASGITransport(app=self._door, raise_app_exceptions=False)
        http = httpx.AsyncClient(
            transport=transport,
            base_url="http://test",
            headers={"Authorization": f"Bearer {token}"},
        )
        self._open.append(http)
        return Client(self.db, team, http)

    async def close(self) -> None:
        for http in self._open:
            await http.aclose()


@pytest.fixture
async def clients(db: Database) -> AsyncIterator[Clients]:
    """Lend a maker of clients."""
    made = Clients(db)
    yield made
    await made.close()


@pytest.fixture
async def client(clients: Clients) -> Client:
    """Lend a client that may everything in its own team."""
    return await clients.of(await factories.make_team(clients.db))

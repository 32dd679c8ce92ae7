"""A Bolna door over a fresh database, and clients of two teams and both versions."""

from dataclasses import dataclass, field
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI

from batchyard.api.bolna.routes import build_door
from batchyard.config import Config
from batchyard.models import Team
from batchyard.operations.access import create_token
from batchyard.operations.teams import create_team
from batchyard.store.db import Database

AGENT = "3c90c3cc-0d44-4b50-8888-8dd25736052a"
NOBODY = "00000000-0000-4000-8000-000000000000"
"""An id that nothing has."""
CSV = "contact_number,first_name\n+4520123456,Ane\n+4520123457,Bo\n"


@dataclass(kw_only=True)
class Caller:
    """A client with a token of one team."""

    app: FastAPI
    team: Team
    token: str
    headers: dict[str, str] = field(default_factory=dict)

    async def send(self, method: str, path: str, **given: object) -> httpx.Response:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        headers = {"Authorization": f"Bearer {self.token}", **self.headers}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://door", headers=headers
        ) as client:
            return await client.request(method, path, **given)  # type: ignore[arg-type]

    async def get(self, path: str, **given: object) -> httpx.Response:
        return await self.send("GET", path, **given)

    async def post(self, path: str, **given: object) -> httpx.Response:
        return await self.send("POST", path, **given)

    async def upload(
        self, content: str | bytes = CSV, *, file_name: str = "customers.csv", **fields: object
    ) -> httpx.Response:
        return await self.post(
            "/batches",
            data={"agent_id": AGENT, **fields},
            files={"file": (file_name, content, "text/csv")},
        )

    async def upload_batch(
        self, content: str | bytes = CSV, *, file_name: str = "customers.csv", **fields: object
    ) -> UUID:
        answer = await self.upload(content, file_name=file_name, **fields)
        assert answer.status_code in {200, 201}, answer.text
        return UUID(answer.json()["batch_id"])


@pytest.fixture
def config() -> Config:
    return Config()


@pytest.fixture
def door(config: Config, db: Database) -> FastAPI:
    return build_door(config, db)


@pytest.fixture
async def caller(door: FastAPI, db: Database) -> Caller:
    team = await create_team(db, name="Acme", slug="acme")
    return Caller(app=door, team=team, token=await create_token(db, team=team, name="old"))


@pytest.fixture
async def modern(door: FastAPI, db: Database, caller: Caller) -> Caller:
    """Today's client: another token of the same team."""
    token = await create_token(db, team=caller.team, name="new", bolna_version="2026-08")
    return Caller(app=door, team=caller.team, token=token)


@pytest.fixture
async def stranger(door: FastAPI, db: Database) -> Caller:
    team = await create_team(db, name="Other", slug="other")
    return Caller(app=door, team=team, token=await create_token(db, team=team, name="theirs"))

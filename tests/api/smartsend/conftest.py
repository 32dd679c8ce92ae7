"""A Smart Send door over a fresh database, and clients of two teams."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from batchyard.api.smartsend.routes import build_door
from batchyard.config import Config
from batchyard.engine.worker import run_worker
from batchyard.models import Team
from batchyard.store.db import Database
from tests.factories import make_team, make_token

SHIPMENT: dict[str, Any] = {
    "currency": "DKK",
    "reference": "order-1001",
    "delivery": {"carrier": "postnord", "service": "home"},
    "parties": {
        "receiver": {
            "address": {
                "address_lines": ["Åboulevarden 1"],
                "postal_code": "8000",
                "city": "Aarhus C",
                "country": "DK",
            },
            "contact": {"name_lines": ["Søren Ørsted"], "phone": "+4520123456"},
        }
    },
    "parcels": [{"gross_weight": 1200, "items": [{"description": "Kop", "quantity": 2}]}],
}


def make_shipment(**changes: object) -> dict[str, Any]:
    """Return a valid shipment; a change names its place by dots written as `__`."""
    shipment = deepcopy(SHIPMENT)
    for name, value in changes.items():
        *way, last = name.split("__")
        place: Any = shipment
        for step in way:
            place = place[int(step) if step.isdecimal() else step]
        place[last] = value
    return shipment


@dataclass(frozen=True, kw_only=True)
class Client:
    """One who knows a token, and the team it belongs to."""

    http: httpx.AsyncClient
    team: Team
    token: str

    def path(self, path: str) -> str:
        return f"/api/v2/team/{self.team.slug}{path}"

    async def get(self, path: str, **options: Any) -> httpx.Response:  # noqa: ANN401  # httpx's own
        return await self.http.get(self.path(path), **options)

    async def post(self, path: str, **options: Any) -> httpx.Response:  # noqa: ANN401  # httpx's own
        return await self.http.post(self.path(path), **options)

    async def delete(self, path: str, **options: Any) -> httpx.Response:  # noqa: ANN401  # httpx's own
        return await self.http.delete(self.path(path), **options)

    async def make_batch(self, **fields: object) -> str:
        answer = await self.post("/booking-batches", json=fields)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["data"]["uuid"])

    async def add(self, batch: str, *shipments: Mapping[str, Any]) -> httpx.Response:
        return await self.post(
            f"/booking-batches/{batch}/shipments", json={"data": list(shipments)}
        )


@asynccontextmanager
async def working(db: Database, **settings: Any) -> AsyncIterator[None]:  # noqa: ANN401  # Config's own
    """Run a worker whose sandbox does everything at once."""
    stop = asyncio.Event()
    config = Config(**{"sandbox_speed": 0, "stop_seconds": 2, **settings})
    worker = asyncio.create_task(run_worker(config, db, stop=stop))
    try:
        yield
    finally:
        stop.set()
        await worker


async def until(condition: Callable[[], Awaitable[bool]], *, seconds: float = 20) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110  # rows send no signal
            await asyncio.sleep(0.02)


@asynccontextmanager
async def open_client(door: FastAPI, db: Database, *, team: Team) -> AsyncIterator[Client]:
    """Open a client with a new token of the team."""
    token = await make_token(db, team=team)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(door),
        base_url="http://door",
        headers={"Authorization": f"Bearer {token}"},
    ) as http:
        yield Client(http=http, team=team, token=token)


@pytest.fixture
def door(db: Database) -> FastAPI:
    return build_door(Config(max_body_bytes=1024 * 1024), db)


@pytest.fixture
async def client(door: FastAPI, db: Database) -> AsyncIterator[Client]:
    """A client of the team `north`."""
    async with open_client(door, db, team=await make_team(db, slug="north")) as client:
        yield client


@pytest.fixture
async def stranger(door: FastAPI, db: Database) -> AsyncIterator[Client]:
    """A client of another team."""
    async with open_client(door, db, team=await make_team(db, slug="south")) as client:
        yield client

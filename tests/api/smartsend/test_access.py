"""Who is let in: generated from the route table, so that no route can be forgotten."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi.routing import APIRoute, iter_route_contexts

from batchyard.api.smartsend.routes import build_door
from batchyard.config import Config
from batchyard.operations.access import create_token
from batchyard.store.db import Database
from tests.api.smartsend.conftest import Client, make_shipment, until, working

SECRET = "secret-reference"
LINKS = "/api/v2/documents/{token}"
"""Proves itself: whoever has such an address needs no token, whoever has not gets 404."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A route, and a body that would do something."""

    method: str
    path: str

    @property
    def name(self) -> str:
        return f"{self.method} {self.path.removeprefix('/api/v2/team/{team}')}"

    @property
    def has_id(self) -> bool:
        return self.path.count("{") > 1

    @property
    def body(self) -> dict[str, Any] | None:
        if self.method != "POST":
            return None
        if self.path.endswith("/booking-batches"):
            return {"reference": "mine"}
        if "booking-batches" in self.path:
            return {"data": [make_shipment()]}
        return make_shipment()


def routes() -> Iterator[Target]:
    door = build_door(Config(), Database("postgresql://nowhere"))
    for context in iter_route_contexts(door.routes):
        if isinstance(context.original_route, APIRoute) and context.path != LINKS:
            for method in sorted(context.original_route.methods or ()):
                yield Target(method=method, path=str(context.path))


TARGETS = list(routes())
every_route = pytest.mark.parametrize("target", TARGETS, ids=[one.name for one in TARGETS])


@pytest.fixture
async def ids(client: Client, db: Database) -> dict[str, str]:
    """Ids of things of the team `north`, booked so that they have documents."""
    batch = await client.make_batch(reference=SECRET)
    await client.add(batch, make_shipment(reference=SECRET))
    await client.post(f"/booking-batches/{batch}/dispatch")
    single = await client.post("/shipments", json=make_shipment(reference=SECRET))
    shipment = single.json()["data"]["uuid"]
    begun = await client.post(f"/shipments/{shipment}/booking", headers={"Prefer": "respond-async"})

    async def is_booked() -> bool:
        listed = await client.get("/shipments?state=booked")
        return bool(listed.json()["meta"]["total"] == 2)

    async with working(db):
        await until(is_booked)
    return {
        "batch": batch,
        "shipment": shipment,
        "operation": begun.json()["data"]["uuid"],
    }


async def send(
    client: Client, target: Target, *, team: str, ids: dict[str, str], **headers: str
) -> httpx.Response:
    return await client.http.request(
        target.method,
        target.path.format(team=team, **ids),
        json=target.body,
        headers={"Request-ID": "the-same", **headers},
    )


@every_route
async def test_without_a_token_nobody_is_let_in(
    client: Client, target: Target, ids: dict[str, str]
) -> None:
    answer = await send(client, target, team=client.team.slug, ids=ids, Authorization="")

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "scope,reads,writes",
    [
        ("admin", True, True),
        ("batches:read", True, False),
        ("batches:write", False, True),
        ("webhooks", False, False),
        ("contacts", False, False),
        ("audit:read", False, False),
    ],
)
async def test_token_may_do_what_its_scope_allows(
    client: Client, db: Database, *, scope: str, reads: bool, writes: bool
) -> None:
    token = await create_token(db, team=client.team, name="scoped", scopes=[scope])
    ids = {name: str(uuid4()) for name in ("batch", "shipment", "operation")}
    for target in TARGETS:
        answer = await send(
            client, target, team=client.team.slug, ids=ids, Authorization=f"Bearer {token}"
        )
        if reads if target.method == "GET" else writes:
            assert answer.status_code in {200, 201, 404}, target
        else:
            told = (answer.status_code, answer.json())
            assert told == (403, {"message": "This is not allowed."}), target


@every_route
async def test_another_team_cannot_be_told_from_none(
    client: Client, stranger: Client, target: Target, ids: dict[str, str]
) -> None:
    theirs = await send(stranger, target, team=client.team.slug, ids=ids)
    by_uuid = await send(stranger, target, team=str(client.team.uuid), ids=ids)
    nobodys = await send(stranger, target, team="nobody", ids=ids)

    assert theirs.status_code == by_uuid.status_code == nobodys.status_code == 404
    assert theirs.content == by_uuid.content == nobodys.content
    assert theirs.headers == by_uuid.headers == nobodys.headers


@pytest.mark.parametrize(
    "target",
    [one for one in TARGETS if one.has_id],
    ids=[one.name for one in TARGETS if one.has_id],
)
async def test_things_of_another_team_cannot_be_told_from_none(
    client: Client, stranger: Client, target: Target, ids: dict[str, str]
) -> None:
    before = await everything(client)
    unknown = {name: str(uuid4()) for name in ids}

    theirs = await send(stranger, target, team=stranger.team.slug, ids=ids)
    nobodys = await send(stranger, target, team=stranger.team.slug, ids=unknown)

    assert theirs.status_code == nobodys.status_code == 404
    assert theirs.content == nobodys.content
    assert theirs.headers == nobodys.headers
    assert await everything(client) == before


@pytest.mark.parametrize(
    "target",
    [one for one in TARGETS if not one.has_id],
    ids=[one.name for one in TARGETS if not one.has_id],
)
async def test_lists_have_nothing_of_another_team(
    client: Client, stranger: Client, target: Target, ids: dict[str, str]
) -> None:
    before = await everything(client)

    answer = await send(stranger, target, team=stranger.team.slug, ids=ids)
    narrowed = await stranger.get("/shipments", params={"batch": ids["batch"]})

    assert answer.is_success
    told = answer.text + narrowed.text
    assert not [one for one in (*ids.values(), SECRET) if one in told]
    assert await everything(client) == before


async def everything(client: Client) -> list[bytes]:
    return [(await client.get(path)).content for path in ("/booking-batches", "/shipments")]

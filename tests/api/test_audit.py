"""Every route that changes something leaves its trace: compared with the routes of all doors."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from batchyard.api.bolna.routes import build_door as build_bolna
from batchyard.api.operator.routes import PREFIX
from batchyard.api.operator.routes import build_door as build_operator
from batchyard.api.smartsend.routes import build_door as build_smartsend
from batchyard.config import Config
from batchyard.engine.inbox import Inbox, open_inbox
from batchyard.models import Kind, Team
from batchyard.operations import access
from batchyard.store.db import Database
from tests import factories
from tests.api.audit_deeds import BOLNA, LISTED, NUMBER, OPERATOR, PASSWORD, SMARTSEND, Deed
from tests.api.test_dependencies import no_inbox, routes

TEAM_PATH = "/api/v2/team/{team}"
DEEDS = {"operator": OPERATOR, "bolna": BOLNA, "smartsend": SMARTSEND}
PREFIXES = {"operator": PREFIX, "bolna": "", "smartsend": ""}

UNTRACED = {
    "operator": {
        ("POST", "/mappings/propose"): "keeps nothing",
        ("POST", "/rehearsals"): "keeps nothing",
        ("POST", "/batches/{batch_id}/rehearsal"): "keeps nothing",
        ("POST", "/items/{item_id}/void"): "wants a carrier; tests/providers/test_karrio_runs.py",
    },
    "bolna": {
        ("DELETE", "/batches/schedule"): "is refused",
        ("DELETE", "/v2/agent/all"): "is refused",
        ("PATCH", "/v2/agent/all"): "is refused",
        ("PUT", "/v2/agent/all"): "is refused",
    },
    "smartsend": {},
}
"""Callbacks of providers are no door of a team: what they tell is in the history of the item."""


def build(name: str, db: Database, inbox: Inbox | None = None) -> FastAPI:
    config = Config()
    if name == "operator":
        return build_operator(config, db, inbox=no_inbox if inbox is None else lambda: inbox)
    return (build_bolna if name == "bolna" else build_smartsend)(config, db)


def changing(name: str) -> set[tuple[str, str]]:
    """Return what a door offers beside reading, by method and path."""
    return {
        (method, route.path_format.removeprefix(TEAM_PATH))
        for route in routes(build(name, Database("postgresql://nowhere")))
        for method in (route.methods or set()) - {"GET", "HEAD"}
    }


@pytest.mark.parametrize("name", DEEDS)
def test_every_route_reads_or_is_asked_here(name: str) -> None:
    assert changing(name) == {*DEEDS[name], *UNTRACED[name]}


class Asker:
    """Speaks for a team that has one of everything."""

    def __init__(self, db: Database, team: Team, http: httpx.AsyncClient, prefix: str) -> None:
        self.db = db
        self.ids: dict[str, str] = {"team": team.slug, "number": LISTED}
        self._team = team
        self._http = http
        self._prefix = prefix

    async def do(self, method: str, path: str, deed: Deed) -> httpx.Response:
        """Make what the route needs, and ask for it."""
        agent_id = await factories.make_agent(self.db, team=self._team)
        batch_id = await factories.make_batch(
            self.db,
            team=self._team,
            kind=deed.kind,
            state=deed.state,
            is_single=deed.is_single,
            agent_id=agent_id if deed.kind is Kind.CALL else None,
        )
        [item_id] = await factories.make_items(
            self.db,
            team=self._team,
            batch_id=batch_id,
            phase=deed.phase,
            status=deed.status,
            number=NUMBER if deed.kind is Kind.CALL else None,
        )
        async with self.db.transaction() as conn:
            await conn.execute("UPDATE items SET provider_id = 1 WHERE phase = 'live'")
        ids = {
            **self.ids,
            **dict.fromkeys(("batch_id", "batch"), str(batch_id)),
            **dict.fromkeys(("item_id", "execution_id", "shipment"), str(item_id)),
            "agent_id": str(agent_id),
            "tomorrow": (self.db.clock() + timedelta(days=1)).isoformat(),
        }
        given = filled(deed.given, ids)
        return await self._http.request(method, self._prefix + path.format(**ids), **given)

    async def read(self) -> tuple[int, str, str | None]:
        """Return how many traces there are, and whose and from where the last one is."""
        async with self.db.pool.connection() as conn:
            cursor = await conn.execute(
                "SELECT count(*) OVER (), actor, source FROM audit_log WHERE team_id = %s"
                " ORDER BY id DESC LIMIT 1",
                (self._team.id,),
            )
            row = await cursor.fetchone()
        return (0, "", None) if row is None else (int(str(row[0])), str(row[1]), str(row[2]))


def filled(given: Any, ids: Mapping[str, str]) -> Any:  # noqa: ANN401  # any JSON
    """Put ids in the place of their names."""
    if isinstance(given, dict):
        return {key: filled(value, ids) for key, value in given.items()}
    if isinstance(given, str) and given.startswith("{"):
        return given.format(**ids)
    return given


@asynccontextmanager
async def asking(name: str, db: Database) -> AsyncIterator[Asker]:
    team = await factories.make_team(db)
    token = await access.create_token(db, team=team, name="till")
    async with (
        open_inbox(Config(), db) as inbox,
        httpx.AsyncClient(
            transport=httpx.ASGITransport(build(name, db, inbox)),
            base_url="http://door",
            headers={"Authorization": f"Bearer {token}"},
        ) as http,
    ):
        prefix = TEAM_PATH.format(team=team.slug) if name == "smartsend" else PREFIXES[name]
        asker = Asker(db, team, http, prefix)
        if name == "operator":
            asker.ids |= await furnish(http)
        yield asker


async def furnish(http: httpx.AsyncClient) -> dict[str, str]:
    """Make one of everything that is no batch; return the ids by the names of the routes."""

    async def post(path: str, content: object = None) -> Any:  # noqa: ANN401  # any JSON
        return (await http.post(f"{PREFIX}{path}", json=content)).json()

    hook = {"url": "https://hooks.example.com/batchyard"}
    endpoint = (await post("/webhooks/endpoints", hook))["id"]
    sent = await post(f"/webhooks/endpoints/{endpoint}/test")
    await post("/contacts/do-not-contact", {"number": LISTED})
    await post("/numbers", {"numbers": [LISTED]})
    user = {"name": "Ann", "email": "ann@example.com", "password": PASSWORD}
    await post("/tokens", {"name": "other"})
    tokens = (await http.get(f"{PREFIX}/tokens")).json()["data"]
    return {
        "kind": "call",
        "name": "crm",
        "endpoint_id": endpoint,
        "delivery_id": sent["delivery_id"],
        "user_id": (await post("/users", user))["id"],
        "token_id": next(str(one["id"]) for one in tokens if one["name"] == "other"),
    }


@pytest.mark.parametrize("name", DEEDS)
async def test_every_changing_route_leaves_one_trace(name: str, db: Database) -> None:
    async with asking(name, db) as asker:
        for (method, path), deed in DEEDS[name].items():
            before, _, _ = await asker.read()
            answer = await asker.do(method, path, deed)
            assert answer.is_success, (method, path, answer.status_code, answer.text)
            after, actor, source = await asker.read()
            assert after == before + 1, (method, path)
            assert actor.startswith("token till ("), (method, path)
            assert source == "127.0.0.1", (method, path)


@pytest.mark.parametrize("name", DEEDS)
async def test_refused_request_leaves_no_trace(name: str, db: Database) -> None:
    nothing = "0194d2a5-0000-7000-8000-000000000000"
    async with asking(name, db) as asker:
        before, _, _ = await asker.read()
        for (method, path), deed in DEEDS[name].items():
            if "_id}" not in path and "{batch}" not in path and "{shipment}" not in path:
                continue
            named = path.replace("{token_id}", "999999")
            for part in ("batch", "shipment"):
                named = named.replace(f"{{{part}}}", nothing)
            while "_id}" in named:
                start = named.index("{")
                named = named[:start] + nothing + named[named.index("}") + 1 :]
            answer = await asker.do(method, named, deed)
            assert answer.status_code == 404, (method, named, answer.text)
        assert (await asker.read())[0] == before

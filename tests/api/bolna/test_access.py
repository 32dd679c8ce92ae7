"""Who is let in: generated from the route table, so that no route can be forgotten."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from fastapi.routing import APIRoute, iter_route_contexts

from batchyard.api.bolna.routes import build_door
from batchyard.config import Config
from batchyard.operations.access import create_token
from batchyard.store.db import Database
from tests.api.bolna.conftest import CSV, NOBODY, Caller
from tests.api.bolna.test_agents import make, place

SECRETS = ("Alfred", "Hej", "customers.csv", "+4520123456", "+4520000009")


@dataclass(frozen=True, kw_only=True)
class Target:
    """A route, and the ids it is called with."""

    method: str
    path: str

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    def fill(self, ids: dict[str, str]) -> str:
        return self.path.format(**ids)


def routes() -> Iterator[Target]:
    app = build_door(Config(), Database("postgresql://nowhere"))
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        if isinstance(route, APIRoute) and context.path != "/docs":
            for method in sorted(route.methods or ()):
                yield Target(method=method, path=str(context.path))


TARGETS = list(routes())
NAMES = [target.name for target in TARGETS]
OWN = {
    "GET /v2/agent/all",
    "GET /user/me",
    "GET /phone-numbers/all",
    "POST /v2/agent",
}
"""Routes that speak of nothing but the team of the token."""
WRONG_METHODS = {
    *(f"{method} /batches/schedule" for method in ("GET", "DELETE")),
    *(f"{method} /v2/agent/all" for method in ("DELETE", "PATCH", "PUT")),
}


def given(target: Target, ids: dict[str, str]) -> dict[str, object]:
    """Return a body that would do something."""
    agent = {"agent_config": {"agent_name": "Mallory"}}
    form = {"scheduled_at": "2020-01-01T00:00:00Z"}
    bodies: dict[str, dict[str, object]] = {
        "POST /batches": {
            "data": {"agent_id": ids["agent_id"]},
            "files": {"file": ("a.csv", CSV)},
        },
        "POST /batches/schedule": {"data": {**form, "batch_id": ids["batch_id"]}},
        "POST /batches/{batch_id}/schedule": {"data": form},
        "POST /call": {
            "json": {"agent_id": ids["agent_id"], "recipient_phone_number": "+4520123456"}
        },
        "POST /v2/agent": {"json": agent},
        "PUT /v2/agent/{agent_id}": {"json": agent},
        "PATCH /v2/agent/{agent_id}": {"json": agent},
    }
    return bodies.get(target.name, {})


@pytest.fixture
def config() -> Config:
    """Let any time be scheduled, and no agent be made by its id."""
    return Config(bolna_schedule_lead_seconds=0, bolna_create_agents=False)


@pytest.fixture
async def ids(caller: Caller, db: Database) -> dict[str, str]:
    agent_id = await make(caller)
    batch_id = await caller.upload_batch(agent_id=agent_id)
    async with db.transaction() as conn:
        await conn.execute(
            "INSERT INTO numbers (id, team_id, number, created_at, updated_at)"
            " VALUES (gen_random_uuid(), %s, '+4520000009', now(), now())",
            (caller.team.id,),
        )
    return {
        "agent_id": agent_id,
        "batch_id": batch_id.hex,
        "execution_id": await place(caller, agent_id),
    }


def test_every_route_of_the_door_is_in_the_table() -> None:
    assert {*OWN, *WRONG_METHODS} < set(NAMES)
    assert len(TARGETS) == len(set(NAMES)) == 27


async def test_another_teams_token_learns_nothing(
    caller: Caller, stranger: Caller, ids: dict[str, str], db: Database
) -> None:
    unknown = dict.fromkeys(ids, NOBODY)
    for target in TARGETS:
        theirs = await stranger.send(target.method, target.fill(ids), **given(target, ids))
        assert not any(secret in theirs.text for secret in (*SECRETS, *ids.values())), target
        if target.name in WRONG_METHODS:
            assert theirs.status_code == 405, target
        elif target.name in OWN:
            assert theirs.status_code in {200, 201}, target
        else:
            nothing = await stranger.send(
                target.method, target.fill(unknown), **given(target, unknown)
            )
            assert theirs.status_code == nothing.status_code == 404, target
            assert theirs.content == nothing.content, target
    async with db.pool.connection() as conn:
        cursor = await conn.execute(
            "SELECT (SELECT count(*) FROM batches WHERE state IN ('open', 'queued')),"
            " (SELECT count(*) FROM agents WHERE name = 'Alfred' AND deleted_at IS NULL),"
            " (SELECT count(*) FROM items WHERE phase = 'ready')"
        )
        assert await cursor.fetchone() == (2, 1, 3)
    assert (await caller.get(f"/batches/{ids['batch_id']}")).json()["status"] == "created"


async def test_id_of_another_teams_agent_is_taken_and_tells_nothing_more(
    stranger: Caller, ids: dict[str, str], db: Database
) -> None:
    outsider = replace(stranger, app=build_door(Config(), db))
    taken = await outsider.upload(agent_id=ids["agent_id"])
    fresh = await outsider.upload(agent_id=NOBODY)
    assert (taken.status_code, fresh.status_code) == (404, 200)
    assert taken.json() == {"error": 404, "message": "There is no such agent."}
    assert [agent["id"] for agent in (await outsider.get("/v2/agent/all")).json()] == [NOBODY]


@pytest.mark.parametrize("version", ["2024-01", "2026-08"])
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
    caller: Caller,
    ids: dict[str, str],
    db: Database,
    *,
    version: str,
    scope: str,
    reads: bool,
    writes: bool,
) -> None:
    token = await create_token(db, team=caller.team, name="scoped", scopes=[scope])
    client = replace(caller, token=token, headers={"Bolna-Version": version})
    for target in TARGETS:
        is_read = target.method == "GET"
        answer = await client.send(target.method, target.fill(ids), **given(target, ids))
        if reads if is_read else writes:
            assert answer.status_code in {200, 201, 400, 404, 405}, target
            continue
        lacked = "batches:read" if is_read else "batches:write"
        message = f"This token lacks the scope {lacked}."
        assert (answer.status_code, answer.json()) == (403, {"error": 403, "message": message})
    if not writes:
        assert (await caller.get(f"/batches/{ids['batch_id']}")).json()["status"] == "created"
        assert (await caller.get(f"/executions/{ids['execution_id']}")).json()["status"] == "queued"


async def test_nobody_gets_in_without_a_token(caller: Caller, ids: dict[str, str]) -> None:
    for target in TARGETS:
        for version, status, body in (
            ("2024-01", 401, {"error": 401, "message": "Access denied"}),
            ("2026-08", 403, {"detail": "Unrecognized access token"}),
        ):
            headers = {"Authorization": "Bearer by_nobody", "Bolna-Version": version}
            answer = await caller.send(
                target.method, target.fill(ids), headers=headers, **given(target, ids)
            )
            assert (answer.status_code, answer.json()) == (status, body), target

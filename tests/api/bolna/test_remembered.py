"""Whoever is remembered is still asked for a token that holds: by the statement of the list."""

from datetime import timedelta

import pytest
from fastapi.routing import APIRoute, iter_route_contexts

from batchyard.api.bolna import speaker
from batchyard.api.bolna.gate import ProvingRoute
from batchyard.store.db import Database
from tests.api.bolna.conftest import AGENT, NOBODY, Caller
from tests.clocks import SetClock

LIST = f"/batches/{AGENT}/all"
ENDS = pytest.mark.parametrize(
    "change", ["revoked_at = created_at", "expires_at = created_at + interval '1 microsecond'"]
)


@pytest.fixture
async def known(caller: Caller) -> Caller:
    """Lend a client who has a list and was told it before."""
    await caller.upload_batch()
    assert (await caller.get(LIST)).status_code == 200
    return caller


def forbid_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    async def authenticate(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(speaker, "authenticate", authenticate)


async def test_who_is_remembered_is_answered_by_one_statement(
    known: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = (await known.get(LIST)).content
    forbid_to_ask(monkeypatch)
    answer = await known.get(LIST)
    assert (answer.status_code, answer.content) == (200, told)


@ENDS
async def test_token_that_ended_is_refused_at_once(
    known: Caller, db: Database, change: str
) -> None:
    async with db.transaction() as conn:
        await conn.execute(f"UPDATE tokens SET {change}".encode())
    for path in (LIST, f"{LIST}?page_size=0", "/batches/none/all", f"/batches/{NOBODY}/all"):
        assert (await known.get(path)).status_code == 401


@pytest.mark.parametrize("path,status", [(f"{LIST}?page_size=0", 400), ("/batches/none/all", 404)])
async def test_refusals_are_those_of_who_is_not_remembered(
    known: Caller, path: str, status: int
) -> None:
    assert (await known.get(path)).status_code == status


async def test_agent_of_another_team_stays_unknown(known: Caller, stranger: Caller) -> None:
    await stranger.get("/user/me")
    for _ in range(2):
        assert (await stranger.get(LIST)).status_code == 404
    assert (await known.get(LIST)).status_code == 200


async def test_use_is_noted_as_before(known: Caller, db: Database) -> None:
    clock = db.clock = SetClock(db.clock())
    clock.shift += timedelta(hours=1)
    assert (await known.get(LIST)).status_code == 200
    async with db.transaction() as conn:
        cursor = await conn.execute(
            "SELECT max(last_used_at) > max(created_at) + interval '50 minutes' FROM tokens"
        )
        assert await cursor.fetchone() == (True,)


def test_no_other_route_answers_who_is_remembered(caller: Caller) -> None:
    routes = [context.original_route for context in iter_route_contexts(caller.app.routes)]
    proving = [route.name for route in routes if isinstance(route, ProvingRoute)]
    assert proving == ["list_batches"]
    assert len([route for route in routes if isinstance(route, APIRoute)]) > 20

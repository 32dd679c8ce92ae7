"""Rehearsals through the operator API: a list or a batch, what it would do, and nothing kept."""

import json
from datetime import timedelta

import httpx
import pytest

from batchyard.models import BatchState, Kind
from batchyard.store.db import Database
from tests import factories
from tests.api.operator.conftest import Client, Clients
from tests.api.operator.test_uploads import CALLS, upload

TABLES = ("batches", "items", "item_data", "rejected_rows", "row_warnings", "uploads", "agents")
MORE = ("audit_log", "events", "idempotency", "wakes", "mappings", "limits")


async def contents(db: Database) -> list[object]:
    async with db.pool.connection() as conn:
        return [
            (await (await conn.execute(f"SELECT count(*) FROM {table}".encode())).fetchone())
            for table in (*TABLES, *MORE)
        ]


async def rehearse(client: Client, content: bytes = CALLS, **fields: str) -> httpx.Response:
    return await upload(client, "/rehearsals", content, kind="call", **fields)


async def test_file_is_rehearsed_and_nothing_is_left(client: Client) -> None:
    start_at = (client.db.clock() + timedelta(days=1)).replace(microsecond=0)
    before = await contents(client.db)
    answer = await rehearse(
        client,
        start_at=start_at.isoformat(),
        retries=json.dumps({"statuses": ["busy"], "max_retries": 2}),
    )
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["upload"]["rows"], told["upload"]["accepted"]) == (3, 2)
    (refused,) = told["upload"]["first_refusals"]
    assert (refused["line"], refused["cells"]) == (3, ["12", "Bo"])
    assert (told["items"], told["sampled"], told["basis"]) == (2, 2, "exact")
    assert told["starts_at"] == start_at.isoformat()
    assert told["ends_at"]["low"] <= told["ends_at"]["expected"] <= told["ends_at"]["high"]
    assert sum(told["ended"].values()) == 2
    assert await contents(client.db) == before


async def test_rows_of_json_are_rehearsed_with_assumptions(client: Client) -> None:
    async with client.db.transaction() as conn:
        await conn.execute(
            "INSERT INTO providers (name, kind, settings, created_at)"
            " VALUES ('voice', 'http',"
            ' \'{"url": "https://voice.example.com", "concurrency": 1}\', now())'
        )
        await conn.execute(
            "INSERT INTO routes (team_id, kind, provider_id)"
            " SELECT %s, 'call', id FROM providers WHERE name = 'voice'",
            (client.team.id,),
        )
    rows = [{"contact_number": f"+452012345{n}"} for n in range(5)]
    assumed = {"duration_seconds": 10, "failure_rate": 0, "price_minor": 7, "currency": "EUR"}
    answer = await client.post(
        "/rehearsals", {"kind": "call", "rows": rows, "assumptions": assumed}
    )
    told = answer.json()
    assert (told["basis"], told["provider"], told["ended"]) == (
        "assumed",
        "voice",
        {"completed": 5},
    )
    assert told["costs"]["EUR"]["expected"] == 35
    assert told["limited_by"] == "provider_cap"
    assert told["limit_sentence"] == "The provider has as many items in flight as it may."


async def test_batch_that_was_not_started_is_rehearsed(client: Client) -> None:
    agent_id = await factories.make_agent(client.db, team=client.team)
    made = await upload(client, "/batches", CALLS, kind="call", agent_id=str(agent_id))
    path = f"/batches/{made.json()['batch_id']}"
    before = await contents(client.db)
    told = (await client.post(f"{path}/rehearsal")).json()
    assert (told["items"], told["upload"]["rows"], told["upload"]["refused"]) == (2, 3, 1)
    assert await contents(client.db) == before
    await client.patch(path, {"limits": {"rates": [{"count": 1, "seconds": 60}]}})
    slower = (await client.post(f"{path}/rehearsal", {"assumptions": {}})).json()
    assert slower["limited_by"] == "batch_rate"
    await client.post(f"{path}/dispatch")
    answer = await client.post(f"{path}/rehearsal")
    assert (answer.status_code, "started already" in answer.json()["detail"]) == (409, True)


@pytest.mark.parametrize(
    "fields,named",
    [
        ({"start_at": "noon"}, "start_at"),
        ({"start_at": "9999-12-31T23:59:59Z"}, "start_at"),
        ({"assumptions": '{"failure_rate": 2}'}, "assumptions.failure_rate"),
        ({"assumptions": '{"price_minor": 2}'}, "assumptions"),
        ({"retries": '{"statuses": ["flying"]}'}, ""),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_what_is_said_wrongly_is_named(
    client: Client, fields: dict[str, str], named: str
) -> None:
    answer = await rehearse(client, CALLS, **fields)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [named]


async def test_rehearsal_sees_its_own_team_only(clients: Clients) -> None:
    owner = await factories.make_team(clients.db)
    batch_id = await factories.make_batch(
        clients.db, team=owner, kind=Kind.CALL, state=BatchState.OPEN
    )
    agent_id = await factories.make_agent(clients.db, team=owner)
    other = await clients.of(await factories.make_team(clients.db), scopes=["batches:read"])
    assert (await other.post(f"/batches/{batch_id}/rehearsal")).status_code == 404
    assert (await rehearse(other, agent_id=str(agent_id))).status_code == 404
    assert (await rehearse(other)).status_code == 200

"""`Idempotency-Key`: what was done and what was answered commit together, or neither does."""

from collections.abc import AsyncIterator, Iterator, Mapping
from uuid import UUID

import httpx
import pytest
from fastapi.routing import APIRoute
from structlog.testing import capture_logs

from batchyard.api.operator.keyed import KeyedRoute, LongRoute
from batchyard.api.operator.routes import PREFIX, ROUTERS
from batchyard.models import BatchState, Kind, Phase
from batchyard.operations import changes, control, outcomes
from batchyard.store import idempotency, resolutions
from batchyard.store.db import Connection, Database
from batchyard.store.resolutions import Unknowns
from tests import factories
from tests.api.operator.conftest import Client, Clients

KEY = "the-key-of-this-test"
NUMBER = "+4520123456"
BODIES: Mapping[str, object] = {
    "/contacts/do-not-contact": {"number": NUMBER},
    "/webhooks/endpoints": {"url": "https://hooks.example.com/batchyard"},
    "/agents": {"name": "Ane"},
    "/numbers": {"numbers": [NUMBER]},
}
STATES = {"pause": BatchState.RUNNING, "resume": BatchState.PAUSED, "stop": BatchState.RUNNING}
"""In which state of a batch something can be asked; all others ask for an open one."""

KEYED = [
    route
    for router in ROUTERS
    for route in router.routes
    if isinstance(route, KeyedRoute) and "POST" in (route.methods or ())
]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Keep the log from drawing each lost connection with all its frames."""
    with capture_logs():
        yield


@pytest.fixture
async def narrow(database_url: str) -> AsyncIterator[Clients]:
    """Lend clients of a door with one connection: who takes a second one waits for ever."""
    db = Database(database_url, max_connections=1)
    await db.open()
    made = Clients(db)
    yield made
    await made.close()
    await db.close()


async def ids_for(client: Client, route: APIRoute) -> dict[str, str]:
    """Make what a route asks for, in a state that allows it."""
    action = route.path.rpartition("/")[2]
    state = STATES.get(action, BatchState.OPEN)
    state = BatchState.RUNNING if route.path.endswith("item_id}/retry") else state
    batch_id = await factories.make_batch(client.db, team=client.team, kind=Kind.CALL, state=state)
    phase, status = (Phase.DONE, "failed") if action == "retry" else (Phase.READY, "waiting")
    [item_id] = await factories.make_items(
        client.db, team=client.team, batch_id=batch_id, phase=phase, status=status, number=NUMBER
    )
    made = {"batch_id": str(batch_id), "item_id": str(item_id)}
    if "webhooks" in route.path:
        url = {"url": "https://hooks.example.com/elsewhere"}
        made["endpoint_id"] = (await client.post("/webhooks/endpoints", url)).json()["id"]
        sent = await client.post(f"/webhooks/endpoints/{made['endpoint_id']}/test")
        made["delivery_id"] = sent.json()["delivery_id"]
    return made


async def keyed(
    client: Client, path: str, body: object = None, *, key: str = KEY
) -> httpx.Response:
    return await client.http.post(path, json=body, headers={"Idempotency-Key": key})


async def rows(db: Database, statement: str) -> list[tuple[object, ...]]:
    async with db.pool.connection() as conn:
        return await (await conn.execute(statement.encode())).fetchall()


CHANGED = (
    "batches",
    "items",
    "webhook_deliveries",
    "webhook_endpoints",
    "webhook_secrets",
    "do_not_contact",
    "agents",
    "numbers",
    "audit_log",
    "idempotency",
    "events",
)


async def everything(db: Database) -> list[object]:
    """Return what a request could change: enough of every table to see that it did not."""
    found: list[object] = []
    for table in CHANGED:
        found += await rows(db, f"SELECT {table}::text FROM {table} ORDER BY 1")
    return found


async def lose_connection(conn: Connection) -> None:
    """End this connection as a crash would: nothing of its transaction commits."""
    await conn.execute("SELECT pg_terminate_backend(pg_backend_pid())")


@pytest.mark.parametrize("route", KEYED, ids=lambda route: route.name)
async def test_every_keyed_call_commits_with_its_answer(
    narrow: Clients, monkeypatch: pytest.MonkeyPatch, route: APIRoute
) -> None:
    client = await narrow.of(await factories.make_team(narrow.db))
    path = PREFIX + route.path.format(**await ids_for(client, route))
    body = BODIES.get(route.path)
    before = await everything(client.db)
    insert_answer = idempotency.insert_answer

    async def crash(conn: Connection, **values: object) -> None:
        await insert_answer(conn, **values)  # type: ignore[arg-type]  # as it was called
        await lose_connection(conn)

    monkeypatch.setattr(idempotency, "insert_answer", crash)
    assert (await keyed(client, path, body)).status_code == 500
    monkeypatch.undo()
    assert await everything(client.db) == before

    first = await keyed(client, path, body)
    assert first.status_code < 300, first.text
    done = await everything(client.db)
    assert done != before
    again = await keyed(client, path, body)
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert await everything(client.db) == done


def test_every_post_that_changes_something_knows_keys() -> None:
    without = {
        route.path
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute)
        and "POST" in (route.methods or ())
        and not isinstance(route, LongRoute)
    }
    assert without == {
        "/tokens",  # its answer is kept nowhere
        "/users",  # a password is kept nowhere; the e-mail address tells who is there already
        "/privacy/export",  # changes nothing
        "/privacy/erase",  # the same, however often it is done
        "/mappings/propose",  # changes nothing
        "/rehearsals",  # changes nothing
        "/batches/{batch_id}/rehearsal",  # changes nothing
        "/items/{item_id}/end",  # the provider does it, and does it once
        "/items/{item_id}/void",  # as above
    }
    assert len(KEYED) > 12


async def failed_batch(client: Client, *, items: int = 5) -> UUID:
    batch_id = await factories.make_batch(client.db, team=client.team, state=BatchState.RUNNING)
    await factories.make_items(
        client.db,
        team=client.team,
        batch_id=batch_id,
        n=items,
        phase=Phase.DONE,
        status="failed",
    )
    return batch_id


async def break_at(monkeypatch: pytest.MonkeyPatch, slice_: int) -> None:
    """Lose the connection in one of the slices of a long work."""
    advance, seen = idempotency.advance, [0]

    async def crash(conn: Connection, **values: object) -> bool:
        seen[0] += 1
        if seen[0] == slice_:
            await lose_connection(conn)
        return await advance(conn, **values)  # type: ignore[arg-type]  # as it was called

    monkeypatch.setattr(idempotency, "advance", crash)


async def test_retry_that_broke_off_goes_on_and_takes_nothing_twice(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "BLOCK", 2)
    batch_id = await failed_batch(client)
    path = f"{PREFIX}/batches/{batch_id}/retry"
    await break_at(monkeypatch, 2)
    assert (await keyed(client, path, {})).status_code == 500
    tries = "SELECT try, count(*) FROM items GROUP BY 1 ORDER BY 1"
    assert await rows(client.db, tries) == [(1, 3), (2, 2)]
    assert (await client.get("/audit")).json()["data"] == []
    # What was tried again meanwhile has failed anew: that is not for this request.
    async with client.db.transaction() as conn:
        await conn.execute(
            "UPDATE items SET phase = 'done', status = 'failed', updated_at = %s WHERE try = 2",
            (client.db.clock(),),
        )

    answer = await keyed(client, path, {})

    assert answer.json() == {"items": 5}
    assert await rows(client.db, tries) == [(2, 5)]
    (entry,) = (await client.get("/audit")).json()["data"]
    assert (entry["action"], entry["after"]["items"]) == ("batch.retry", 5)
    again = await keyed(client, path, {})
    assert again.json() == {"items": 5}
    assert again.headers["idempotency-replayed"] == "true"
    assert await rows(client.db, tries) == [(2, 5)]


async def test_another_request_does_not_go_on_with_what_broke_off(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "BLOCK", 2)
    batch_id = await failed_batch(client)
    path = f"{PREFIX}/batches/{batch_id}/retry"
    await break_at(monkeypatch, 2)
    assert (await keyed(client, path, {})).status_code == 500
    assert (await keyed(client, path, {"statuses": ["failed"]})).json() == {"items": 3}
    assert (await keyed(client, path, {})).status_code == 422


async def test_decision_that_broke_off_goes_on(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcomes, "BLOCK", 2)
    batch_id = await factories.make_batch(client.db, team=client.team, state=BatchState.RUNNING)
    lost = {"phase": Phase.UNKNOWN, "status": "unknown"}
    await factories.make_items(
        client.db,
        team=client.team,
        batch_id=batch_id,
        n=5,
        **lost,  # type: ignore[arg-type]
    )
    path, body = f"{PREFIX}/items/resolve", {"as": "done", "batch_id": str(batch_id)}
    await break_at(monkeypatch, 2)
    assert (await keyed(client, path, body)).status_code == 500
    assert (await keyed(client, path, body)).json() == {"items": 5}
    assert await rows(client.db, "SELECT status, count(*) FROM items GROUP BY 1") == [("booked", 5)]
    (entry,) = (await client.get("/audit")).json()["data"]
    assert entry["after"] == {"as": "done", "items": 5}


async def test_decision_leaves_out_a_batch_that_is_stopped_meanwhile_and_is_told_and_traced(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcomes, "BLOCK", 2)
    made = [
        await factories.make_batch(client.db, team=client.team, state=BatchState.RUNNING)
        for _ in range(2)
    ]
    for batch_id, n in zip(made, (3, 1), strict=True):
        await factories.make_items(
            client.db,
            team=client.team,
            batch_id=batch_id,
            n=n,
            phase=Phase.UNKNOWN,
            status="unknown",
        )
    # A worker holds it, so the batch cannot run again at once when it was stopped.
    await factories.make_items(
        client.db, team=client.team, batch_id=made[1], phase=Phase.CLAIMED, status="waiting"
    )
    lock_batches, slices = resolutions.lock_batches, [0]

    async def stop_before_the_second(conn: Connection, chosen: Unknowns) -> list[UUID]:
        slices[0] += 1
        if slices[0] == 2:
            await control.mark_stopped(
                client.db, team=client.team, kind=Kind.SHIPMENT, batch_id=made[1]
            )
        return await lock_batches(conn, chosen)

    monkeypatch.setattr(resolutions, "lock_batches", stop_before_the_second)
    path, body = f"{PREFIX}/items/resolve", {"as": "retry", "all": True}

    first = await keyed(client, path, body)
    again = await keyed(client, path, body)

    assert (first.status_code, first.json()) == (200, {"items": 3})
    assert again.headers["idempotency-replayed"] == "true"
    (entry,) = (await client.get("/audit")).json()["data"]
    assert entry["after"] == {"as": "retry", "items": 3}
    tries = "SELECT batch_id, try, count(*) FROM items GROUP BY 1, 2"
    assert set(await rows(client.db, tries)) == {(made[0], 2, 3), (made[1], 1, 2)}
    assert (await client.get(f"/batches/{made[1]}")).json()["state"] == "stopped"


async def test_refusal_is_not_remembered(client: Client) -> None:
    batch_id = await factories.make_batch(client.db, team=client.team)
    await factories.make_items(client.db, team=client.team, batch_id=batch_id)
    path = f"{PREFIX}/batches/{batch_id}/resume"
    assert (await keyed(client, path)).status_code == 409
    async with client.db.transaction() as conn:
        await conn.execute("UPDATE batches SET state = 'paused'")
    assert (await keyed(client, path)).status_code == 200


async def test_key_of_another_request_is_refused(client: Client) -> None:
    batch_id = await factories.make_batch(client.db, team=client.team)
    await factories.make_items(client.db, team=client.team, batch_id=batch_id)
    assert (await keyed(client, f"{PREFIX}/batches/{batch_id}/dispatch")).status_code == 200
    answer = await keyed(client, f"{PREFIX}/batches/{batch_id}/pause")
    assert answer.status_code == 422
    assert "another request" in answer.json()["detail"]
    short = await keyed(client, f"{PREFIX}/batches/{batch_id}/pause", key="short")
    assert short.status_code == 422


@pytest.mark.parametrize("deed", ["rows", "mend", "retry"])
async def test_answer_is_given_again_though_the_batch_is_gone(client: Client, deed: str) -> None:
    batch_id = await factories.make_batch(
        client.db, team=client.team, kind=Kind.CALL, state=BatchState.COMPLETED
    )
    await factories.make_items(
        client.db, team=client.team, batch_id=batch_id, phase=Phase.DONE, status="failed"
    )
    path = f"{PREFIX}/batches/{batch_id}/{deed}"
    body = {} if deed == "retry" else {"rows": [{"contact_number": NUMBER}]}
    first = await keyed(client, path, body)
    assert first.status_code == 200, first.text
    await client.delete(f"/batches/{batch_id}")
    again = await keyed(client, path, body)
    assert (again.status_code, again.content) == (200, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert (await client.post(f"/batches/{batch_id}/{deed}", body)).status_code == 404


async def test_rows_of_json_are_taken_once(client: Client) -> None:
    agent_id = await factories.make_agent(client.db, team=client.team)
    body = {
        "kind": "call",
        "agent_id": str(agent_id),
        "rows": [{"contact_number": NUMBER}],
    }
    first = await keyed(client, f"{PREFIX}/batches", body)
    again = await keyed(client, f"{PREFIX}/batches", body)
    assert (first.status_code, again.content) == (201, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert await rows(client.db, "SELECT count(*) FROM batches") == [(1,)]
    other = await keyed(client, f"{PREFIX}/batches", {**body, "reference": "x"})
    assert other.status_code == 422


async def test_upload_commits_with_its_trace_and_its_answer(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent_id = await factories.make_agent(client.db, team=client.team)
    body = {"kind": "call", "agent_id": str(agent_id), "rows": [{"contact_number": NUMBER}]}
    complete = idempotency.complete

    async def crash(conn: Connection, **values: object) -> bool:
        await complete(conn, **values)  # type: ignore[arg-type]  # as it was called
        await lose_connection(conn)
        return True

    monkeypatch.setattr(idempotency, "complete", crash)
    assert (await keyed(client, f"{PREFIX}/batches", body)).status_code == 500
    monkeypatch.undo()
    assert (await client.get("/audit")).json()["data"] == []
    assert (await client.get("/batches")).json()["data"] == []
    assert (await keyed(client, f"{PREFIX}/batches", body)).status_code == 201
    (entry,) = (await client.get("/audit")).json()["data"]
    assert entry["after"] == {"rows": 1, "accepted": 1, "refused": 0}

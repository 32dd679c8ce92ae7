"""`Idempotency-Key`: what is sent twice is done once."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta

import httpx
import pytest

from batchyard.operations import retention
from batchyard.operations.idempotency import HOLD
from batchyard.store import queue
from batchyard.store.db import Database
from tests.api.bolna.conftest import AGENT, CSV, NOBODY, Caller
from tests.api.bolna.test_agents import make
from tests.api.bolna.test_control import run
from tests.clocks import SetClock

KEY = {"Idempotency-Key": "order-1001.retry_1"}
TAKEN = {"error": 422, "message": "This Idempotency-Key was used for another request."}
BUSY = {
    "error": 409,
    "message": "The first request with this Idempotency-Key is still running.",
}
AGENT_BODY = {"agent_config": {"agent_name": "A"}}


async def count(db: Database, table: str) -> int:
    ((n,),) = await run(db, f"SELECT count(*) FROM {table}")
    return int(str(n))


def multipart(boundary: str, content: str = CSV) -> dict[str, object]:
    body = httpx.Request(
        "POST",
        "http://x",
        data={"agent_id": AGENT},
        files={"file": ("a.csv", content)},
        headers={"Content-Type": f"multipart/form-data; boundary={boundary}"},
    )
    return {
        "content": body.read(),
        "headers": {**KEY, "Content-Type": body.headers["content-type"]},
    }


def assert_replayed(first: httpx.Response, again: httpx.Response) -> None:
    assert again.status_code == first.status_code
    assert again.content == first.content
    assert again.headers["content-type"] == first.headers["content-type"]
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers


async def test_call_is_placed_once(caller: Caller, db: Database) -> None:
    body = {"agent_id": await make(caller), "recipient_phone_number": "+4520123456"}
    first = await caller.post("/call", json=body, headers=KEY)
    again = await caller.post("/call", json=body, headers=KEY)
    assert_replayed(first, again)
    assert await count(db, "items") == 1


async def test_agent_is_made_once(caller: Caller, db: Database) -> None:
    first = await caller.post("/v2/agent", json=AGENT_BODY, headers=KEY)
    again = await caller.post("/v2/agent", json=AGENT_BODY, headers=KEY)
    assert first.status_code == 201
    assert_replayed(first, again)
    assert await count(db, "agents") == 1


async def test_upload_is_imported_once_whatever_its_boundary(caller: Caller, db: Database) -> None:
    first = await caller.post("/batches", **multipart("one"))
    again = await caller.post("/batches", **multipart("two"))
    assert_replayed(first, again)
    assert (await count(db, "batches"), await count(db, "items")) == (1, 2)
    other = await caller.post("/batches", **multipart("one", CSV + "+4520123458,Cy\n"))
    assert (other.status_code, other.json()) == (422, TAKEN)
    assert await count(db, "batches") == 1


async def test_upload_of_the_very_same_file_says_so_again(caller: Caller) -> None:
    batch_id = (await caller.upload(content=CSV)).json()["batch_id"]
    first = await caller.post("/batches", **multipart("one"))
    again = await caller.post("/batches", **multipart("two"))
    assert_replayed(first, again)
    assert first.headers["batchyard-duplicate-of"] == batch_id
    assert again.headers["batchyard-duplicate-of"] == batch_id


async def test_refused_upload_is_read_again(caller: Caller, db: Database) -> None:
    for _ in range(2):
        refused = await caller.post("/batches", **multipart("x", "phone\n1\n"))
        assert refused.status_code == 400
        assert "idempotency-replayed" not in refused.headers
    assert await count(db, "idempotency") == 0
    assert (await caller.post("/batches", **multipart("x"))).status_code == 200


async def test_schedule_stop_and_agent_stop_are_done_once(caller: Caller, db: Database) -> None:
    batch_id = await caller.upload_batch()
    at = (db.clock() + timedelta(hours=1)).isoformat()
    key = {"Idempotency-Key": "schedule-000000001"}
    path = f"/batches/{batch_id}/schedule"
    first = await caller.post(path, data={"scheduled_at": at}, headers=key)
    again = await caller.post(path, files={"scheduled_at": (None, at)}, headers=key)
    assert_replayed(first, again)
    for name, path in (("stop-batch-0000001", f"/batches/{batch_id}/stop"),):
        first = await caller.post(path, headers={"Idempotency-Key": name})
        again = await caller.post(path, headers={"Idempotency-Key": name})
        assert first.status_code == 200
        assert_replayed(first, again)
        # Without the key the batch is stopped already.
        assert (await caller.post(path)).status_code == 404
    key = {"Idempotency-Key": "stop-agent-0000001"}
    other = await caller.upload_batch()
    await run(db, "UPDATE batches SET state = 'running' WHERE id = %(id)s", id=other)
    first = await caller.post(f"/v2/agent/{AGENT}/stop", headers=key)
    again = await caller.post(f"/v2/agent/{AGENT}/stop", headers=key)
    assert_replayed(first, again)
    assert len(first.json()["stopped_executions"]) == 2


async def test_schedule_is_answered_alike_though_its_batch_is_gone(
    caller: Caller, db: Database
) -> None:
    batch_id = await caller.upload_batch()
    tomorrow = (db.clock() + timedelta(days=1)).isoformat()
    path, form = f"/batches/{batch_id}/schedule", {"scheduled_at": tomorrow}
    first = await caller.post(path, data=form, headers=KEY)
    assert first.status_code == 200, first.text
    await caller.send("DELETE", f"/batches/{batch_id}")
    assert_replayed(first, await caller.post(path, data=form, headers=KEY))
    assert (await caller.post(path, data=form)).status_code == 404


async def test_replayed_stop_does_not_stop_what_runs_again(caller: Caller, db: Database) -> None:
    batch_id = await caller.upload_batch()
    await run(db, "UPDATE batches SET state = 'running'")
    await caller.post(f"/batches/{batch_id}/stop", headers=KEY)
    await run(db, "UPDATE batches SET state = 'running'")
    await run(db, "UPDATE items SET phase = 'ready', status = 'retrying'")
    replayed = await caller.post(f"/batches/{batch_id}/stop", headers=KEY)
    assert replayed.status_code == 200
    assert await run(db, "SELECT DISTINCT status FROM items") == [("retrying",)]


async def test_call_is_stopped_once(caller: Caller) -> None:
    body = {"agent_id": await make(caller), "recipient_phone_number": "+4520123456"}
    execution_id = (await caller.post("/call", json=body)).json()["execution_id"]
    first = await caller.post(f"/call/{execution_id}/stop", headers=KEY)
    again = await caller.post(f"/call/{execution_id}/stop", headers=KEY)
    assert first.status_code == 200
    assert_replayed(first, again)


async def test_refusal_by_the_operation_is_remembered(caller: Caller, db: Database) -> None:
    body = {"agent_id": NOBODY, "recipient_phone_number": "+4520123456"}
    first = await caller.post("/call", json=body, headers=KEY)
    assert first.status_code == 404
    assert_replayed(first, await caller.post("/call", json=body, headers=KEY))
    batch_id = await caller.upload_batch()
    key = {"Idempotency-Key": "too-soon-000000001"}
    path, form = f"/batches/{batch_id}/schedule", {"scheduled_at": "2020-01-01T00:00:00Z"}
    first = await caller.post(path, data=form, headers=key)
    assert first.status_code == 400
    assert_replayed(first, await caller.post(path, data=form, headers=key))
    assert await count(db, "idempotency") == 2


@pytest.mark.parametrize("change", ["body", "path", "query"])
async def test_key_of_another_request_is_refused(caller: Caller, db: Database, change: str) -> None:
    await caller.post("/v2/agent", json=AGENT_BODY, headers=KEY)
    path = {"path": f"/v2/agent/{NOBODY}/stop", "query": "/v2/agent?x=1"}.get(change, "/v2/agent")
    body = {"agent_config": {"agent_name": "B"}} if change == "body" else AGENT_BODY
    answer = await caller.post(path, json=body, headers=KEY)
    assert (answer.status_code, answer.json()) == (422, TAKEN)
    assert await count(db, "agents") == 1


async def test_keys_belong_to_their_team(caller: Caller, stranger: Caller, db: Database) -> None:
    for client in (caller, stranger):
        answer = await client.post("/v2/agent", json=AGENT_BODY, headers=KEY)
        assert "idempotency-replayed" not in answer.headers
    assert await count(db, "agents") == 2


@pytest.mark.parametrize("key", ["short", "x" * 129, "spaces are not good", "ключ-ключ-ключ-ключ"])
async def test_malformed_key_is_refused(caller: Caller, db: Database, key: str) -> None:
    for path, given in (
        ("/v2/agent", {"json": AGENT_BODY}),
        ("/batches", {"data": {"agent_id": AGENT}, "files": {"file": ("a.csv", CSV)}}),
    ):
        headers = {"Idempotency-Key": key.encode()}
        answer = await caller.post(path, headers=headers, **given)
        assert (answer.status_code, answer.json()["error"]) == (422, 422)
        assert "idempotency-key" in answer.json()["message"].lower()
    assert await count(db, "agents") == 0


async def test_denied_request_is_not_remembered(caller: Caller, db: Database) -> None:
    headers = {**KEY, "Authorization": "Bearer nonsense"}
    assert (await caller.post("/v2/agent", json=AGENT_BODY, headers=headers)).status_code == 401
    assert await count(db, "idempotency") == 0


async def test_key_is_forgotten_after_a_day(caller: Caller, db: Database) -> None:
    clock = SetClock(db.clock())
    db.clock = clock
    await caller.post("/v2/agent", json=AGENT_BODY, headers=KEY)
    clock.shift += timedelta(hours=23)
    await retention.expire(db)
    again = await caller.post("/v2/agent", json=AGENT_BODY, headers=KEY)
    assert again.headers["idempotency-replayed"] == "true"
    clock.shift += timedelta(hours=2)
    anew = await caller.post("/v2/agent", json=AGENT_BODY, headers=KEY)
    assert "idempotency-replayed" not in anew.headers
    clock.shift += timedelta(hours=25)
    await retention.expire(db)
    assert await count(db, "idempotency") == 0


async def test_key_is_remembered_as_many_days_as_the_team_says(
    caller: Caller, db: Database
) -> None:
    await retention.set_days(db, team=caller.team, days={"idempotency_days": 3})
    clock = SetClock(db.clock())
    db.clock = clock
    await caller.post("/v2/agent", json=AGENT_BODY, headers=KEY)
    clock.shift += timedelta(hours=71)
    await retention.expire(db)
    again = await caller.post("/v2/agent", json=AGENT_BODY, headers=KEY)
    assert again.headers["idempotency-replayed"] == "true"
    # Whatever was kept longer is not given any more as soon as the team says less.
    await retention.set_days(db, team=caller.team, days={})
    anew = await caller.post("/v2/agent", json=AGENT_BODY, headers=KEY)
    assert anew.status_code == 201
    assert "idempotency-replayed" not in anew.headers


async def test_the_same_key_twenty_times_at_once_is_done_once(caller: Caller, db: Database) -> None:
    body = {"agent_id": await make(caller), "recipient_phone_number": "+4520123456"}
    answers = await asyncio.gather(
        *(caller.post("/call", json=body, headers=KEY) for _ in range(20))
    )
    assert {answer.status_code for answer in answers} <= {200, 409}
    done = {answer.content for answer in answers if answer.status_code == 200}
    assert len(done) == 1
    for answer in answers:
        if answer.status_code == 409:
            assert (answer.json(), answer.headers["retry-after"]) == (BUSY, "1")
    assert await count(db, "items") == 1


async def test_more_keys_at_once_than_connections_are_all_served(
    caller: Caller, db: Database
) -> None:
    body = {"agent_id": await make(caller), "recipient_phone_number": "+4520123456"}
    async with asyncio.timeout(25):
        answers = await asyncio.gather(
            *(
                caller.post("/call", json=body, headers={"Idempotency-Key": f"call-{n:012}"})
                for n in range(3 * db.pool.max_size)
            )
        )
    assert {answer.status_code for answer in answers} == {200}
    assert await count(db, "items") == 3 * db.pool.max_size


async def test_the_same_upload_ten_times_at_once_is_imported_once(
    caller: Caller, db: Database
) -> None:
    answers = await asyncio.gather(
        *(caller.post("/batches", **multipart(f"b{n}")) for n in range(10))
    )
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert len({answer.content for answer in answers if answer.status_code == 200}) == 1
    assert await count(db, "batches") == 1


async def test_fault_of_ours_leaves_neither_call_nor_key(
    caller: Caller, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"agent_id": await make(caller), "recipient_phone_number": "+4520123456"}

    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(queue, "wake", broken)
        assert (await caller.post("/call", json=body, headers=KEY)).status_code == 500
    assert (await count(db, "items"), await count(db, "idempotency")) == (0, 0)
    answer = await caller.post("/call", json=body, headers=KEY)
    assert answer.status_code == 200
    assert "idempotency-replayed" not in answer.headers


async def test_upload_of_a_dead_server_blocks_its_key_for_a_minute(
    caller: Caller, db: Database
) -> None:
    clock = SetClock(db.clock())
    db.clock = clock
    await run(
        db,
        "INSERT INTO idempotency (team_id, key, holder, held_until, created_at)"
        " VALUES (%(team)s, %(key)s, gen_random_uuid(), %(until)s, %(now)s)",
        team=caller.team.id,
        key=KEY["Idempotency-Key"],
        until=clock() + HOLD,
        now=clock(),
    )
    busy = await caller.post("/batches", **multipart("x"))
    assert (busy.status_code, busy.json()) == (409, BUSY)
    clock.shift += HOLD
    assert (await caller.post("/batches", **multipart("x"))).status_code == 200


async def test_upload_whose_key_was_taken_away_does_not_commit(
    caller: Caller, db: Database
) -> None:
    content = multipart("x")["content"]
    assert isinstance(content, bytes)

    async def body() -> object:
        yield content[:-10]
        await run(db, "UPDATE idempotency SET holder = gen_random_uuid()")
        yield content[-10:]

    headers = {**KEY, "Content-Type": "multipart/form-data; boundary=x"}
    answer = await caller.post("/batches", content=body(), headers=headers)
    assert (answer.status_code, answer.json()) == (409, BUSY)
    assert await count(db, "batches") == 0


async def test_answer_is_kept_byte_for_byte(caller: Caller, modern: Caller) -> None:
    """The version of the first answer is the version of the replay."""
    sends: list[Callable[[], Awaitable[httpx.Response]]] = [
        lambda: caller.post("/batches", **multipart("a")),
        lambda: modern.post("/batches", **multipart("b")),
    ]
    first, again = [await send() for send in sends]
    assert (first.status_code, again.status_code) == (200, 200)
    assert json.loads(first.content) == json.loads(again.content)

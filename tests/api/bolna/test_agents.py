"""Agents keep and give back what a client sends; their calls in pages."""

import json
from uuid import UUID, uuid4

import pytest

from batchyard.operations import control
from batchyard.operations.numbers import put_numbers
from batchyard.store.db import Database
from tests.api.bolna.conftest import AGENT, NOBODY, Caller
from tests.api.bolna.test_control import run

CONFIG = {
    "agent_name": "Alfred",
    "agent_welcome_message": "Hej {first_name}",
    "webhook_url": "https://example.com/calls",
    "calling_guardrails": {"call_start_hour": 9, "call_end_hour": 17, "kind": "soft"},
    "tasks": [{"task_type": "conversation", "tools_config": {"temperature": 0.1, "n": 2**53}}],
}
BODY = {
    "agent_config": CONFIG,
    "agent_prompts": {"task_1": {"system_prompt": "Vær venlig. 你好"}},
    "beside": {"kept": [1, None, "x"]},
}
MISSING = {"error": 404, "message": "There is no such agent."}


async def make(caller: Caller, body: object = BODY) -> str:
    answer = await caller.post("/v2/agent", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["agent_id"])


async def test_agent_comes_back_as_it_was_sent(caller: Caller, modern: Caller) -> None:
    answer = await caller.post("/v2/agent", json=BODY)
    assert answer.status_code == 201
    agent_id = answer.json()["agent_id"]
    assert answer.json() == {"agent_id": str(UUID(agent_id)), "state": "created"}
    read = await modern.get(f"/v2/agent/{agent_id}")
    assert read.status_code == 200
    agent = read.json()
    assert agent.pop("created_at") == agent.pop("updated_at")
    assert agent == {
        **CONFIG,
        "id": agent_id,
        "agent_type": "other",
        "agent_status": "processed",
        "agent_prompts": BODY["agent_prompts"],
        "beside": BODY["beside"],
    }


async def test_agents_are_listed_newest_first(caller: Caller, stranger: Caller) -> None:
    made = [await make(caller, {"agent_config": {"agent_name": f"A{n}"}}) for n in range(3)]
    listed = (await caller.get("/v2/agent/all")).json()
    assert [agent["id"] for agent in listed] == made[::-1]
    assert (await stranger.get("/v2/agent/all")).json() == []


async def test_agent_made_on_first_use_can_be_read(caller: Caller) -> None:
    await caller.upload()
    agent = (await caller.get(f"/v2/agent/{AGENT}")).json()
    assert (agent["id"], agent["agent_name"]) == (AGENT, "Agent 3c90c3cc")


async def test_patch_changes_what_is_given_only(caller: Caller) -> None:
    agent_id = await make(caller)
    change = {
        "agent_config": {"agent_name": "Bo", "tasks": []},
        "agent_prompts": {"task_2": {}},
        "new": 1,
    }
    answer = await caller.send("PATCH", f"/v2/agent/{agent_id}", json=change)
    assert (answer.status_code, answer.json()) == (200, {"message": "success", "state": "updated"})
    agent = (await caller.get(f"/v2/agent/{agent_id}")).json()
    assert (agent["agent_name"], agent["tasks"], agent["new"]) == ("Bo", [], 1)
    assert agent["agent_welcome_message"] == CONFIG["agent_welcome_message"]
    assert agent["agent_prompts"].keys() == {"task_1", "task_2"}
    assert agent["beside"] == BODY["beside"]


async def test_put_leaves_nothing_of_before(caller: Caller) -> None:
    agent_id = await make(caller)
    body = {"agent_config": {"agent_name": "Bo"}}
    answer = await caller.send("PUT", f"/v2/agent/{agent_id}", json=body)
    assert (answer.status_code, answer.json()) == (200, {"message": "success", "state": "updated"})
    agent = (await caller.get(f"/v2/agent/{agent_id}")).json()
    assert (agent["agent_name"], agent["agent_prompts"]) == ("Bo", {})
    assert "tasks" not in agent
    assert "beside" not in agent


async def test_webhook_follows_the_configuration(caller: Caller, db: Database) -> None:
    agent_id = await make(caller)

    async def listening() -> list[tuple[object, ...]]:
        return await run(db, "SELECT url, format, removed_at IS NULL FROM webhook_endpoints")

    assert await listening() == [("https://example.com/calls", "bolna/2024-01", True)]
    for url, expected in (
        ("https://example.com/2", ("https://example.com/2", "bolna/2024-01", True)),
        (None, ("https://example.com/2", "bolna/2024-01", False)),
        ("http://example.com/3", ("http://example.com/3", "bolna/2024-01", True)),
        ("", ("http://example.com/3", "bolna/2024-01", False)),
    ):
        change = {"agent_config": {"webhook_url": url}}
        answer = await caller.send("PATCH", f"/v2/agent/{agent_id}", json=change)
        assert answer.status_code == 200
        assert await listening() == [expected]


@pytest.mark.parametrize(
    "body,what",
    [
        ({}, "agent_config: Field required"),
        ({"agent_config": {}}, "agent_config.agent_name: Field required"),
        ({"agent_config": {"agent_name": ""}}, "agent_config.agent_name"),
        ({"agent_config": {"agent_name": 7}}, "agent_config.agent_name"),
        ({"agent_config": {"agent_name": "A", "webhook_url": "ftp://x"}}, "webhook_url"),
        ({"agent_config": {"agent_name": "A", "webhook_url": 1}}, "webhook_url"),
        (
            {"agent_config": {"agent_name": "A", "calling_guardrails": {"call_start_hour": 9}}},
            "call_end_hour",
        ),
        (
            {
                "agent_config": {
                    "agent_name": "A",
                    "calling_guardrails": {"call_start_hour": 9, "call_end_hour": 24},
                }
            },
            "call_end_hour",
        ),
        ({"agent_config": {"agent_name": "A"}, "agent_prompts": []}, "agent_prompts"),
        ([], "body"),
    ],
)
async def test_wrong_agent_is_refused(caller: Caller, body: object, what: str) -> None:
    answer = await caller.post("/v2/agent", json=body)
    assert (answer.status_code, answer.json()["error"]) == (400, 400)
    assert what in answer.json()["message"]
    assert (await caller.get("/v2/agent/all")).json() == []


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"\xff\xfe",
        b'{"agent_config": {"agent_name": "A", "x": NaN}}',
        b'{"agent_config": {"agent_name": "A", "x": 1e999}}',
        b'{"agent_config": {"agent_name": "A", "x": 123456789012345678901}}',
        b'{"agent_config": {"agent_name": "A", "x": "\\u0000"}}',
        b'{"agent_config": {"agent_name": "A", "\\ud800": 1}}',
        b'{"agent_config": {"agent_name": "A", "x": ' + b"[" * 5000 + b"]" * 5000 + b"}}",
        b'{"agent_config": {"agent_name": "A", "x": ' + b"9" * 5000 + b"}}",
    ],
    ids=range(9),
)
async def test_json_that_cannot_be_kept_is_refused(caller: Caller, content: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await caller.post("/v2/agent", content=content, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (400, 400)


async def test_body_that_is_too_large_is_refused(caller: Caller) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await caller.post("/v2/agent", content=b" " * 5_000_000, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (413, 413)


async def test_deleted_agent_takes_its_batches_along(caller: Caller, db: Database) -> None:
    agent_id = await make(caller)
    batches = [await caller.upload_batch(agent_id=agent_id) for _ in range(3)]
    kept = await caller.upload_batch()
    await put_numbers(db, team=caller.team, texts=["+4520000001"], agent_id=UUID(agent_id))
    answer = await caller.send("DELETE", f"/v2/agent/{agent_id}")
    assert (answer.status_code, answer.json()) == (200, {"message": "success", "state": "deleted"})
    for path in (f"/v2/agent/{agent_id}", f"/batches/{agent_id}/all"):
        assert (await caller.get(path)).json() == MISSING
    for batch_id in batches:
        assert (await caller.get(f"/batches/{batch_id}")).status_code == 404
    assert (await caller.get(f"/batches/{kept}")).status_code == 200
    assert (await caller.upload(agent_id=agent_id)).json() == MISSING
    (number,) = (await caller.get("/phone-numbers/all")).json()
    assert number["agent_id"] is None


async def test_stop_of_an_agent_names_what_will_not_be_called(caller: Caller, db: Database) -> None:
    agent_id = await make(caller)
    single = await place(caller, agent_id)
    batch_id = await caller.upload_batch(agent_id=agent_id)
    prepared = await caller.upload_batch(agent_id=agent_id)
    other = await caller.upload_batch()
    await run(
        db, "UPDATE batches SET state = 'running' WHERE id = ANY (%(ids)s)", ids=[batch_id, other]
    )
    calls = (await caller.get(f"/batches/{batch_id}/executions")).json()
    await run(
        db,
        "UPDATE items SET phase = 'live', status = 'ringing', intent_at = now() WHERE id = %(id)s",
        id=calls[0]["id"],
    )
    answer = await caller.post(f"/v2/agent/{agent_id}/stop")
    assert answer.status_code == 200
    assert answer.json().keys() == {"stopped_executions"}
    assert set(answer.json()["stopped_executions"]) == {single, calls[1]["id"]}
    for execution_id, status in ((single, "stopped"), (calls[0]["id"], "ringing")):
        assert (await caller.get(f"/executions/{execution_id}")).json()["status"] == status
    for batch, status in ((batch_id, "executed"), (prepared, "created"), (other, "queued")):
        assert (await caller.get(f"/batches/{batch}")).json()["status"] == status
    again = await caller.post(f"/v2/agent/{agent_id}/stop")
    assert again.json() == {"stopped_executions": []}


async def test_call_that_was_just_taken_is_not_named_and_ends_stopped_when_handed_back(
    caller: Caller, db: Database
) -> None:
    agent_id = await make(caller)
    taken, waiting = await place(caller, agent_id), await place(caller, agent_id)
    await run(db, "UPDATE items SET phase = 'claimed', worker_id = 1 WHERE id = %(id)s", id=taken)
    answer = await caller.post(f"/v2/agent/{agent_id}/stop")
    assert answer.json() == {"stopped_executions": [waiting]}
    await run(db, "UPDATE items SET phase = 'ready', worker_id = NULL WHERE id = %(id)s", id=taken)
    await control.end_stopped_items(db)
    assert (await caller.get(f"/executions/{taken}")).json()["status"] == "stopped"


async def place(caller: Caller, agent_id: str, **more: object) -> str:
    body = {"agent_id": agent_id, "recipient_phone_number": "+4520123456", **more}
    answer = await caller.post("/call", json=body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["execution_id"])


async def test_calls_of_an_agent_come_in_pages(caller: Caller, db: Database) -> None:
    agent_id = await make(caller)
    rows = "".join(f"+4520{number:06d}\n" for number in range(25))
    batch_id = await caller.upload_batch("contact_number\n" + rows, agent_id=agent_id)
    single = await place(caller, agent_id)
    path = f"/v2/agent/{agent_id}/executions"
    first = (await caller.get(path)).json()
    assert list(first) == ["page_number", "page_size", "total", "has_more", "data"]
    assert {**first, "data": len(first["data"])} == {
        "page_number": 1,
        "page_size": 20,
        "total": 26,
        "has_more": True,
        "data": 20,
    }
    assert first["data"][0]["id"] == single
    second = (await caller.get(f"{path}?page_number=2")).json()
    assert (second["has_more"], len(second["data"])) == (False, 6)
    seen = [call["id"] for call in [*first["data"], *second["data"]]]
    assert len(set(seen)) == 26
    of_batch = (await caller.get(f"{path}?batch_id={batch_id.hex}&page_size=50")).json()
    assert of_batch["total"] == len(of_batch["data"]) == 25
    whole = (await caller.get(f"/batches/{batch_id}/executions")).json()
    assert of_batch["data"] == whole
    await run(
        db,
        "UPDATE items SET phase = 'done', status = 'completed' WHERE id = ANY (%(ids)s)",
        ids=[call["id"] for call in whole[:3]],
    )
    await run(
        db,
        "UPDATE item_data SET result = %(result)s WHERE item_id = %(id)s",
        result=json.dumps({"answered_by_voice_mail": True}),
        id=whole[0]["id"],
    )
    for query, total in (
        ("status=completed", 3),
        ("status=prepared", 22),
        ("status=queued", 1),
        ("status=busy", 0),
        ("answered_by_voice_mail=true", 1),
        ("answered_by_voice_mail=false", 0),
        ("from=2020-01-01T00:00:00Z", 26),
        ("from=2999-01-01T00:00:00Z", 0),
        ("to=2020-01-01T00:00:00Z", 0),
        ("to=2999-01-01T00:00:00%2B02:00", 26),
        (f"batch_id={uuid4()}", 0),
        (f"batch_id={batch_id}&status=completed", 3),
    ):
        page = (await caller.get(f"{path}?{query}&page_size=50")).json()
        assert (page["total"], len(page["data"])) == (total, total), query


@pytest.mark.parametrize(
    "query",
    [
        "page_size=51",
        "page_size=0",
        "page_number=0",
        "status=done",
        "batch_id=x",
        "from=yesterday",
        "to=1",
        "answered_by_voice_mail=maybe",
    ],
)
async def test_filter_that_is_none_is_refused(caller: Caller, query: str) -> None:
    agent_id = await make(caller)
    answer = await caller.get(f"/v2/agent/{agent_id}/executions?{query}")
    assert (answer.status_code, answer.json()["error"]) == (400, 400)


@pytest.mark.parametrize("agent", ["nobody", NOBODY])
async def test_unknown_agent_is_404_everywhere(caller: Caller, agent: str) -> None:
    body = {"agent_config": {"agent_name": "A"}}
    for method, path, content in (
        ("GET", "", None),
        ("PUT", "", body),
        ("PATCH", "", body),
        ("DELETE", "", None),
        ("POST", "/stop", None),
        ("GET", "/executions", None),
    ):
        answer = await caller.send(method, f"/v2/agent/{agent}{path}", json=content)
        assert (answer.status_code, answer.json()) == (404, MISSING), (method, path)

"""Single calls: placed, scheduled, read, stopped."""

from datetime import timedelta
from uuid import UUID

import pytest

from batchyard.api.bolna.routes import build_door
from batchyard.config import Config
from batchyard.operations.numbers import put_numbers
from batchyard.store.db import Database
from tests.api.bolna.conftest import AGENT, NOBODY, Caller
from tests.api.bolna.test_agents import make, place
from tests.api.bolna.test_control import run
from tests.clocks import StandingClock

NUMBER = "+4520123456"
WAITS_NO_MORE = {"error": 400, "message": "The call is not waiting any more."}
UNKNOWN = {"error": 404, "message": "There is no such execution."}


async def test_call_is_queued_at_once(caller: Caller, db: Database) -> None:
    agent_id = await make(caller)
    body = {
        "agent_id": agent_id,
        "recipient_phone_number": "+45 20 12 34 56",
        "from_phone_number": "+19876543007",
        "user_data": {"first_name": "Ane", "n": 1, "deep": {"x": [None]}},
        "unknown": "ignored",
    }
    answer = await caller.post("/call", json=body)
    execution_id = answer.json()["execution_id"]
    assert answer.status_code == 200
    assert answer.json() == {
        "message": "done",
        "status": "queued",
        "execution_id": str(UUID(execution_id)),
    }
    call = (await caller.get(f"/executions/{execution_id}")).json()
    assert (call["id"], call["agent_id"], call["batch_id"]) == (execution_id, agent_id, None)
    assert (call["status"], call["batch_run_details"]) == ("queued", None)
    assert call["telephony_data"]["to_number"] == NUMBER
    assert call["telephony_data"]["from_number"] == "+19876543007"
    assert call["context_details"] == {
        "recipient_data": body["user_data"],
        "recipient_phone_number": NUMBER,
    }
    assert await run(db, "SELECT state, is_single, total_rows FROM batches") == [
        ("queued", True, 1)
    ]
    assert await run(db, "SELECT count(*) FROM procrastinate_jobs") == [(1,)]


async def test_single_call_is_in_no_list(caller: Caller, db: Database) -> None:
    agent_id = await make(caller)
    await place(caller, agent_id)
    assert (await caller.get(f"/batches/{agent_id}/all")).json() == []
    ((batch_id,),) = await run(db, "SELECT id FROM batches")
    for path in ("", "/executions", "/errors.csv"):
        assert (await caller.get(f"/batches/{batch_id}{path}")).status_code == 404
    assert (await caller.post(f"/batches/{batch_id}/stop")).status_code == 404
    assert (await caller.send("DELETE", f"/batches/{batch_id}")).status_code == 404


async def test_call_at_a_time_is_scheduled_to_the_second(caller: Caller, db: Database) -> None:
    agent_id = await make(caller)
    at = (db.clock() + timedelta(minutes=3, seconds=7)).replace(microsecond=0)
    execution_id = await place(
        caller,
        agent_id,
        scheduled_at=at.isoformat(),
        retry_config={"enabled": True},
        bypass_call_guardrails=True,
    )
    call = (await caller.get(f"/executions/{execution_id}")).json()
    assert (call["status"], call["scheduled_at"]) == ("scheduled", f"{at:%Y-%m-%dT%H:%M:%SZ}")
    assert (call["retry_count"], call["retry_history"]) == (0, [])
    kept = await run(
        db,
        "SELECT state, scheduled_at, bypass_windows, retry_policy ->> 'max_retries' FROM batches",
    )
    assert kept == [("scheduled", at, True, "3")]


async def test_call_whose_time_has_passed_is_made_now(caller: Caller, db: Database) -> None:
    agent_id = await make(caller)
    await place(caller, agent_id, scheduled_at="2020-01-01T00:00:00Z")
    assert await run(db, "SELECT state, scheduled_at FROM batches") == [("queued", None)]


@pytest.mark.parametrize(
    "change,status,what",
    [
        ({"recipient_phone_number": "20123456"}, 400, "does not start with +"),
        ({"recipient_phone_number": ""}, 400, "no phone number"),
        ({"recipient_phone_number": "+45"}, 400, "recipient_phone_number"),
        ({"recipient_phone_number": 4520123456}, 400, "recipient_phone_number"),
        ({"recipient_phone_number": None}, 400, "recipient_phone_number"),
        ({"agent_id": "seven"}, 400, "agent_id"),
        ({"agent_id": NOBODY}, 404, "no such agent"),
        ({"from_phone_number": "4520123456"}, 422, "from_phone_number"),
        ({"retry_config": {"max_retries": 4}}, 422, "retry_config.max_retries"),
        ({"retry_config": []}, 422, "retry_config"),
        ({"scheduled_at": "soon"}, 400, "scheduled_at must be"),
        ({"scheduled_at": "2999-01-01T00:00:00Z"}, 400, "at most 30 days"),
        ({"user_data": []}, 400, "user_data"),
        ({"bypass_call_guardrails": "yes"}, 400, "bypass_call_guardrails"),
    ],
)
async def test_wrong_call_is_refused_and_nothing_stays(
    caller: Caller, db: Database, change: dict[str, object], status: int, what: str
) -> None:
    agent_id = await make(caller)
    body = {"agent_id": agent_id, "recipient_phone_number": NUMBER, **change}
    answer = await caller.post("/call", json=body)
    assert (answer.status_code, answer.json()["error"]) == (status, status)
    assert what in answer.json()["message"]
    assert await run(db, "SELECT count(*) FROM batches") == [(0,)]


async def test_agent_is_not_made_by_a_call(caller: Caller) -> None:
    body = {"agent_id": AGENT, "recipient_phone_number": NUMBER}
    answer = await caller.post("/call", json=body)
    assert (answer.status_code, answer.json()["message"]) == (404, "There is no such agent.")


async def test_unassigned_number_is_refused_where_numbers_must_be_valid(
    caller: Caller, db: Database
) -> None:
    agent_id = await make(caller)
    app = build_door(Config(phone_check="valid"), db)
    strict = Caller(app=app, team=caller.team, token=caller.token)
    body = {"agent_id": agent_id, "recipient_phone_number": "+11112223333"}
    assert (await caller.post("/call", json=body)).status_code == 200
    answer = await strict.post("/call", json=body)
    assert (answer.status_code, answer.json()["error"]) == (400, 400)


async def test_number_on_the_do_not_contact_list_is_refused(caller: Caller, db: Database) -> None:
    agent_id = await make(caller)
    await run(
        db,
        "INSERT INTO do_not_contact (team_id, number, source, created_at)"
        " VALUES (%(team)s, %(number)s, 'person', now())",
        team=caller.team.id,
        number=NUMBER,
    )
    answer = await caller.post(
        "/call", json={"agent_id": agent_id, "recipient_phone_number": NUMBER}
    )
    assert (answer.status_code, answer.json()["error"]) == (400, 400)
    assert "do-not-contact" in answer.json()["message"]


async def test_waiting_call_is_stopped_once(caller: Caller, db: Database) -> None:
    agent_id = await make(caller)
    execution_id = await place(caller, agent_id)
    answer = await caller.post(f"/call/{execution_id}/stop")
    assert answer.status_code == 200
    assert answer.json() == {"message": "done", "status": "stopped", "execution_id": execution_id}
    assert (await caller.get(f"/executions/{execution_id}")).json()["status"] == "stopped"
    assert await run(db, "SELECT state FROM batches") == [("stopped",)]
    again = await caller.post(f"/call/{execution_id}/stop")
    assert (again.status_code, again.json()) == (400, WAITS_NO_MORE)


async def test_call_in_progress_is_not_stopped(caller: Caller, db: Database) -> None:
    execution_id = await place(caller, await make(caller))
    await run(db, "UPDATE items SET phase = 'live', status = 'ringing', intent_at = now()")
    answer = await caller.post(f"/call/{execution_id}/stop")
    assert (answer.status_code, answer.json()) == (400, WAITS_NO_MORE)
    assert (await caller.get(f"/executions/{execution_id}")).json()["status"] == "ringing"


async def test_call_of_a_batch_is_stopped_alone(caller: Caller, db: Database) -> None:
    batch_id = await caller.upload_batch()
    await run(db, "UPDATE batches SET state = 'queued'")
    calls = (await caller.get(f"/batches/{batch_id}/executions")).json()
    assert (await caller.post(f"/call/{calls[0]['id']}/stop")).status_code == 200
    batch = (await caller.get(f"/batches/{batch_id}")).json()
    assert batch["execution_status"] == {"queued": 1, "stopped": 1}
    assert await run(db, "SELECT state FROM batches") == [("queued",)]
    # With its last call stopped too, the batch must not wait for ever.
    assert (await caller.post(f"/call/{calls[1]['id']}/stop")).status_code == 200
    assert await run(db, "SELECT state FROM batches") == [("running",)]


@pytest.mark.parametrize("execution", ["nothing", NOBODY])
async def test_unknown_execution_is_404(caller: Caller, execution: str) -> None:
    for method, path in (
        ("GET", f"/executions/{execution}"),
        ("POST", f"/call/{execution}/stop"),
    ):
        answer = await caller.send(method, path)
        assert (answer.status_code, answer.json()) == (404, UNKNOWN)


async def test_team_is_shown_as_a_user(caller: Caller) -> None:
    await place(caller, await make(caller))
    assert (await caller.get("/user/me")).json() == {
        "id": str(caller.team.uuid),
        "name": "Acme",
        "email": None,
        "wallet": None,
        "concurrency": {"max": 500, "current": 0},
    }


async def test_numbers_are_listed_with_their_agent(
    caller: Caller, stranger: Caller, db: Database
) -> None:
    db.clock = StandingClock(db.clock())
    agent_id = await make(caller)
    await put_numbers(db, team=caller.team, texts=["+4520000001"])
    await put_numbers(db, team=caller.team, texts=["+4520000002"], agent_id=UUID(agent_id))
    listed = (await caller.get("/phone-numbers/all")).json()
    assert [(one["phone_number"], one["agent_id"]) for one in listed] == [
        ("+4520000001", None),
        ("+4520000002", agent_id),
    ]
    assert listed[0].keys() == {
        "id",
        "humanized_created_at",
        "created_at",
        "humanized_updated_at",
        "updated_at",
        "renewal_at",
        "phone_number",
        "agent_id",
        "price",
        "telephony_provider",
        "rented",
    }
    assert listed[0]["humanized_created_at"] == "now"
    assert (listed[0]["telephony_provider"], listed[0]["rented"]) == ("sandbox", False)
    assert (await stranger.get("/phone-numbers/all")).json() == []


async def test_calls_without_a_number_use_those_of_the_agent(caller: Caller, db: Database) -> None:
    agent_id = await make(caller)
    await put_numbers(db, team=caller.team, texts=["+4520000001"])
    other = await caller.upload_batch(agent_id=agent_id)
    assert (await caller.get(f"/batches/{other}")).json()["from_phone_number"] == "+4520000001"
    await put_numbers(db, team=caller.team, texts=["+4520000002"], agent_id=UUID(agent_id))
    await put_numbers(db, team=caller.team, texts=["+4520000003"], agent_id=UUID(agent_id))
    own = await caller.upload_batch(agent_id=agent_id)
    calls = (await caller.get(f"/batches/{own}/executions")).json()
    used = {call["telephony_data"]["from_number"] for call in calls}
    assert used == {"+4520000002", "+4520000003"}
    execution_id = await place(caller, agent_id)
    call = (await caller.get(f"/executions/{execution_id}")).json()
    assert call["telephony_data"]["from_number"] in used
    given = await caller.upload_batch(agent_id=agent_id, from_phone_number="+19876543007")
    assert (await caller.get(f"/batches/{given}")).json()["from_phone_number"] == "+19876543007"

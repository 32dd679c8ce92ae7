"""Retries from upload to the end of the batch, on the engine, with the sandbox (section 5)."""

import json
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from batchyard.store.db import Database
from tests.api.bolna.conftest import AGENT, Caller
from tests.api.bolna.running import SLOW, push, start, until, working
from tests.api.bolna.test_agents import make, place
from tests.api.bolna.test_control import run

Json = dict[str, Any]

BUSY, NO_ANSWER, VOICEMAIL, FAILED, BUSY_FIRST = (
    f"+45201234{ending}" for ending in ("01", "02", "03", "08", "09")
)


def config(**more: object) -> str:
    return json.dumps({"enabled": True, "retry_intervals_minutes": [10, 20], **more})


async def calls_of(caller: Caller, batch_id: UUID) -> dict[str, Json]:
    """Return the calls of a batch by their number."""
    calls = (await caller.get(f"/batches/{batch_id}/executions")).json()
    return {call["telephony_data"]["to_number"]: call for call in calls}


async def upload(caller: Caller, *numbers: str, retry_config: str) -> UUID:
    return await caller.upload_batch(
        "contact_number\n" + "\n".join(numbers) + "\n", retry_config=retry_config
    )


async def status_of(caller: Caller, batch_id: UUID) -> Json:
    batch: Json = (await caller.get(f"/batches/{batch_id}")).json()
    return batch


async def test_execution_goes_back_to_scheduled_and_keeps_its_id(
    caller: Caller, modern: Caller, db: Database
) -> None:
    numbers = (BUSY, NO_ANSWER, FAILED, VOICEMAIL, BUSY_FIRST)
    batch_id = await upload(caller, *numbers, retry_config=config(max_retries=2))
    ids = {number: call["id"] for number, call in (await calls_of(caller, batch_id)).items()}
    began = db.clock().replace(microsecond=0)
    await start(db, batch_id)
    async with working(db):

        async def counts() -> object:
            return (await status_of(caller, batch_id))["execution_status"]

        async def first_round() -> bool:
            return await counts() == {"scheduled": 4, "completed": 1}

        await until(first_round)
        # It waits, so the batch runs on.
        assert (await status_of(caller, batch_id))["status"] == "queued"
        assert (await status_of(modern, batch_id))["status"] == "running"
        calls = await calls_of(caller, batch_id)
        assert {number: call["id"] for number, call in calls.items()} == ids
        call = calls[BUSY]
        assert (call["status"], call["retry_count"]) == ("scheduled", 1)
        assert call["batch_run_details"] is not None
        (entry,) = call["retry_history"]
        assert (entry["attempt"], entry["status"]) == (1, "busy")
        at, due = (
            datetime.fromisoformat(str(text)) for text in (entry["at"], call["scheduled_at"])
        )
        assert began <= at <= db.clock()
        assert abs(due - at - timedelta(minutes=10)) <= timedelta(seconds=1)
        voicemail = calls[VOICEMAIL]
        assert (voicemail["status"], voicemail["answered_by_voice_mail"]) == ("completed", True)
        assert (voicemail["retry_count"], voicemail["retry_history"]) == (0, [])

        await push(caller, db)

        async def second_round() -> bool:
            return await counts() == {"scheduled": 3, "completed": 2}

        await until(second_round)
        call = (await calls_of(caller, batch_id))[NO_ANSWER]
        assert call["retry_count"] == 2
        assert [(one["attempt"], one["status"]) for one in call["retry_history"]] == [
            (1, "no-answer"),
            (2, "no-answer"),
        ]
        late = datetime.fromisoformat(str(call["scheduled_at"]))
        assert abs(late - db.clock() - timedelta(minutes=20)) < timedelta(seconds=30)
        recovered = (await calls_of(caller, batch_id))[BUSY_FIRST]
        assert (recovered["status"], recovered["retry_count"]) == ("completed", 1)
        assert [one["status"] for one in recovered["retry_history"]] == ["busy"]
        assert recovered["scheduled_at"] is None

        await push(caller, db)

        async def ended() -> object:
            return (await status_of(caller, batch_id))["status"] == "executed"

        await until(ended)
    batch = await status_of(modern, batch_id)
    assert batch["status"] == "completed"
    assert batch["execution_status"] == {"busy": 1, "completed": 2, "failed": 1, "no-answer": 1}
    last = (await calls_of(caller, batch_id))[BUSY]
    assert (last["status"], last["retry_count"], last["scheduled_at"]) == ("busy", 2, None)
    assert {
        number: call["id"] for number, call in (await calls_of(caller, batch_id)).items()
    } == ids


async def test_only_chosen_statuses_are_tried_again(caller: Caller, db: Database) -> None:
    batch_id = await upload(
        caller,
        BUSY,
        NO_ANSWER,
        VOICEMAIL,
        retry_config=config(
            retry_on_statuses=["no-answer"], retry_on_voicemail=True, max_retries=1
        ),
    )
    await start(db, batch_id)
    async with working(db):

        async def first_round() -> object:
            batch = await status_of(caller, batch_id)
            return batch["execution_status"] == {"busy": 1, "scheduled": 2}

        await until(first_round)
        voicemail = (await calls_of(caller, batch_id))[VOICEMAIL]
        assert [one["status"] for one in voicemail["retry_history"]] == ["completed"]
        await push(caller, db)

        async def ended() -> object:
            return (await status_of(caller, batch_id))["status"] == "executed"

        await until(ended)
    batch = await status_of(caller, batch_id)
    assert batch["execution_status"] == {"busy": 1, "completed": 1, "no-answer": 1}


async def test_stop_ends_what_waits_for_a_retry(
    caller: Caller, modern: Caller, db: Database
) -> None:
    batch_id = await upload(caller, BUSY, retry_config=config())
    await start(db, batch_id)
    async with working(db):

        async def waits() -> bool:
            return await run(db, "SELECT status FROM items") == [("retrying",)]

        await until(waits)
        assert (await caller.post(f"/batches/{batch_id}/stop")).status_code == 200
    batch = await status_of(modern, batch_id)
    assert (batch["status"], batch["execution_status"]) == ("stopped", {"stopped": 1})
    (call,) = (await calls_of(caller, batch_id)).values()
    assert (call["status"], call["retry_count"], call["scheduled_at"]) == ("stopped", 1, None)
    assert [one["status"] for one in call["retry_history"]] == ["busy"]


async def test_single_call_is_tried_again(caller: Caller, db: Database) -> None:
    agent_id = await make(caller, {"agent_config": {"agent_name": "A"}})
    execution_id = await place(
        caller,
        agent_id,
        recipient_phone_number=BUSY_FIRST,
        retry_config={"enabled": True, "retry_intervals_minutes": [1]},
    )

    async def call() -> Json:
        read: Json = (await caller.get(f"/executions/{execution_id}")).json()
        return read

    async with working(db):

        async def waits() -> object:
            return (await call())["status"] == "scheduled"

        await until(waits)
        assert (await call())["retry_count"] == 1
        await push(caller, db)

        async def ended() -> object:
            return (await call())["status"] == "completed"

        await until(ended)
    assert (await call())["retry_count"] == 1


async def test_without_retries_the_keys_are_not_there(caller: Caller, db: Database) -> None:
    batch_id = await upload(caller, BUSY, retry_config=json.dumps({"enabled": False}))
    await start(db, batch_id)
    async with working(db):

        async def ended() -> object:
            return (await status_of(caller, batch_id))["status"] == "executed"

        await until(ended)
    (call,) = (await calls_of(caller, batch_id)).values()
    assert call["status"] == "busy"
    assert not {"retry_count", "retry_history", "scheduled_at"} & call.keys()


async def test_call_under_way_shows_nothing_of_the_attempt_before(
    caller: Caller, db: Database
) -> None:
    retry_config = config(retry_on_voicemail=True, max_retries=1)
    batch_id = await upload(caller, VOICEMAIL, retry_config=retry_config)
    await start(db, batch_id)

    async def call() -> Json:
        return (await calls_of(caller, batch_id))[VOICEMAIL]

    async def listed() -> object:
        path = f"/v2/agent/{AGENT}/executions?answered_by_voice_mail=true"
        return (await caller.get(path)).json()["total"]

    def told(call: Json) -> list[object]:
        keys = ("answered_by_voice_mail", "transcript", "conversation_duration", "total_cost")
        return [call[key] for key in keys] + [call["telephony_data"]["duration"]]

    async with working(db):

        async def waits() -> bool:
            return await run(db, "SELECT status FROM items") == [("retrying",)]

        await until(waits, seconds=60)
    assert None not in told(await call())
    assert await listed() == 1
    await push(caller, db)
    async with working(db, SLOW):

        async def rings() -> object:
            return (await call())["status"] == "initiated"

        await until(rings, seconds=60)
    second = await call()
    assert told(second) == [None] * 5
    assert (second["retry_count"], second["retry_history"][0]["status"]) == (1, "completed")
    assert await listed() == 0
    await run(
        db,
        "UPDATE items SET phase = 'unknown', status = 'unknown', updated_at = %(at)s",
        at=db.clock() - timedelta(seconds=SLOW.unknown_grace_seconds + 60),
    )
    lost = await call()
    assert (lost["status"], told(lost), await listed()) == ("error", [None] * 5, 0)

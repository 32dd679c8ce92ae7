"""What a client's addresses are told, from the upload to the last call."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook

from batchyard.api.bolna.letters import render
from batchyard.api.bolna.translate import UNKNOWN_MESSAGE
from batchyard.operations.webhooks import team_secret
from batchyard.store import deliveries
from batchyard.store.db import Database
from batchyard.testing.server import Arrived, HttpServer, Line
from batchyard.webhooks import HOLD, ORDERED_ATTEMPTS, PER_ENDPOINT
from tests.api.bolna.conftest import Caller
from tests.api.bolna.running import CONFIG, SLOW, push, start, until, working
from tests.api.bolna.test_agents import make, place
from tests.api.bolna.test_control import run
from tests.clocks import SetClock

Json = dict[str, Any]


class Ear:
    """What arrived, in its order."""

    def __init__(self) -> None:
        self.url = ""
        self.arrived: list[Arrived] = []

    async def hear(self, arrived: Arrived, line: Line) -> None:
        self.arrived.append(arrived)
        await line.reply(204)

    def bodies(self, path: str) -> list[Json]:
        return [json.loads(one.body) for one in self.arrived if one.path == path]


@pytest.fixture
async def ear() -> AsyncIterator[Ear]:
    heard = Ear()
    async with HttpServer(heard.hear) as server:
        heard.url = server.url
        yield heard


async def listened_agent(caller: Caller, ear: Ear) -> str:
    config = {"agent_name": "A", "webhook_url": f"{ear.url}/agent"}
    return await make(caller, {"agent_config": config})


async def all_told(db: Database) -> bool:
    return await run(db, "SELECT count(*) FROM webhook_deliveries WHERE ended_at IS NULL") == [(0,)]


async def test_agent_is_told_every_status_with_the_call_as_it_was(
    caller: Caller, db: Database, ear: Ear
) -> None:
    agent_id = await listened_agent(caller, ear)
    execution_id = await place(
        caller,
        agent_id,
        recipient_phone_number="+4520123409",
        user_data={"first_name": "Åse"},
        retry_config={"enabled": True, "retry_intervals_minutes": [5]},
    )

    async def told() -> list[object]:
        return [body["status"] for body in ear.bodies("/agent")]

    async with working(db):

        async def retry_waits() -> bool:
            return (await told())[-1:] == ["scheduled"]

        await until(retry_waits)
        await push(caller, db)

        async def ended() -> bool:
            return (await told())[-1:] == ["completed"]

        await until(ended)
    bodies = ear.bodies("/agent")
    statuses = [str(body["status"]) for body in bodies]
    assert statuses[0] == "initiated"
    assert statuses.count("scheduled") == 1
    assert statuses.index("scheduled") < statuses.index("queued") < statuses.index("completed")
    read = (await caller.get(f"/executions/{execution_id}")).json()
    assert bodies[-1] == read
    assert {body["id"] for body in bodies} == {execution_id}
    before = bodies[statuses.index("scheduled")]
    assert (before["retry_count"], before["conversation_duration"]) == (1, 0)
    assert [one["status"] for one in before["retry_history"]] == ["busy"]
    numbers = [int(one.headers["batchyard-number"]) for one in ear.arrived]
    assert numbers == list(range(1, len(numbers) + 1))
    secret = await team_secret(db, team=caller.team)
    for one in ear.arrived:
        Webhook(secret).verify(one.body, dict(one.headers))


async def test_agent_is_told_nothing_of_the_attempt_before(
    caller: Caller, db: Database, ear: Ear
) -> None:
    agent_id = await listened_agent(caller, ear)
    await place(
        caller,
        agent_id,
        recipient_phone_number="+4520123403",
        retry_config={"enabled": True, "retry_on_voicemail": True, "max_retries": 1},
    )

    async def told(status: str) -> bool:
        # Written down as told, too: else it is told once more.
        sending = await run(db, "SELECT FROM webhook_deliveries WHERE state = 'sending'")
        return not sending and [body["status"] for body in ear.bodies("/agent")][-1:] == [status]

    async with working(db):
        await until(lambda: told("scheduled"), seconds=60)
    first = len(ear.bodies("/agent"))
    await push(caller, db)
    async with working(db, SLOW):
        await until(lambda: told("initiated"), seconds=60)
    lost_at = db.clock()
    await run(
        db,
        "UPDATE items SET phase = 'unknown', status = 'unknown', updated_at = %(at)s",
        at=lost_at,
    )
    db.clock = SetClock(lost_at + timedelta(seconds=CONFIG.unknown_grace_seconds + 60))
    async with working(db):
        await until(lambda: told("error"), seconds=60)
    keys = ("answered_by_voice_mail", "transcript", "conversation_duration")
    bodies = ear.bodies("/agent")
    waiting = bodies[first - 1]
    assert None not in [waiting[key] for key in keys]
    later = [body for body in bodies[first:] if body["status"] != "queued"]
    assert [body["status"] for body in later] == ["initiated", "in-progress", "error"]
    assert [[body[key] for key in keys] for body in later] == [[None] * 3] * 3


async def test_late_delivery_says_what_happened_not_what_became_of_it(
    caller: Caller, db: Database, ear: Ear
) -> None:
    agent_id = await listened_agent(caller, ear)
    await place(caller, agent_id)
    await run(db, "UPDATE items SET phase = 'live', status = 'ringing', intent_at = now()")
    await run(db, "UPDATE items SET phase = 'done', status = 'completed'")
    await run(db, 'UPDATE item_data SET result = \'{"transcript": "later"}\'')

    async def done() -> bool:
        return await all_told(db)

    async with working(db):
        await until(done)
    ringing, completed = ear.bodies("/agent")
    assert (ringing["status"], ringing["transcript"]) == ("ringing", None)
    assert completed["status"] == "completed"


async def test_agent_is_told_when_an_unknown_outcome_becomes_an_error(
    caller: Caller, db: Database, ear: Ear
) -> None:
    agent_id = await listened_agent(caller, ear)
    execution_id = await place(caller, agent_id)
    await run(
        db,
        "UPDATE items SET phase = 'unknown', status = 'unknown', intent_at = %(at)s,"
        " updated_at = %(at)s",
        at=db.clock() - timedelta(seconds=CONFIG.unknown_grace_seconds + 60),
    )

    async def told() -> bool:
        return len(ear.bodies("/agent")) == 2

    async with working(db):
        await until(told)
    before, after = ear.bodies("/agent")
    assert (before["status"], before["error_message"]) == ("in-progress", None)
    assert (after["status"], after["error_message"]) == ("error", UNKNOWN_MESSAGE)
    assert after == (await caller.get(f"/executions/{execution_id}")).json()


@pytest.mark.parametrize("version", ["2024-01", "2026-08"])
async def test_batch_tells_its_start_and_end_in_the_words_of_its_client(
    caller: Caller, db: Database, ear: Ear, version: str
) -> None:
    caller.headers["Bolna-Version"] = version
    rows = "contact_number\n+4520123401\n+4520123402\n+45\n"
    batch_id = await caller.upload_batch(rows, webhook_url=f"{ear.url}/batch")
    await start(db, batch_id)

    async def told() -> bool:
        return len(ear.bodies("/batch")) == 2

    async with working(db):
        await until(told)
    started, ended = ear.bodies("/batch")
    assert (started["event"], ended["event"]) == ("batch.started", "batch.ended")
    assert list(ended) == ["event", "batch", "executions_url"]
    assert ended["executions_url"] == f"https://yard.example/batches/{batch_id.hex}/executions"
    read = (await caller.get(f"/batches/{batch_id}")).json()
    for batch in (read, ended["batch"]):
        assert isinstance(batch, dict)
        batch.pop("humanized_created_at")
    assert ended["batch"] == read
    assert read["status"] == ("executed" if version == "2024-01" else "completed")
    assert read["execution_status"] == {"busy": 1, "no-answer": 1}
    words = {"2024-01": "queued", "2026-08": "running"}
    assert isinstance(started["batch"], dict)
    assert started["batch"]["status"] == words[version]
    assert started["batch"]["execution_status"] == {"queued": 2}


async def test_stopped_batch_is_told(caller: Caller, db: Database, ear: Ear) -> None:
    agent_id = await listened_agent(caller, ear)
    batch_id = await caller.upload_batch(agent_id=agent_id, webhook_url=f"{ear.url}/batch")
    await run(db, "UPDATE batches SET state = 'paused', started_at = now()")
    await caller.post(f"/batches/{batch_id}/stop")

    async def done() -> bool:
        return await all_told(db)

    async with working(db):
        await until(done)
    assert [body["event"] for body in ear.bodies("/batch")] == ["batch.stopped"]
    assert [body["status"] for body in ear.bodies("/agent")] == ["stopped", "stopped"]


async def test_nothing_is_told_of_what_was_deleted(caller: Caller, db: Database, ear: Ear) -> None:
    agent_id = await listened_agent(caller, ear)
    batch_id = await caller.upload_batch(agent_id=agent_id, webhook_url=f"{ear.url}/batch")
    await run(db, "UPDATE batches SET state = 'paused'")
    await caller.post(f"/batches/{batch_id}/stop")
    await caller.send("DELETE", f"/batches/{batch_id}")

    async def gone() -> bool:
        return await run(db, "SELECT count(*) FROM batches") == [(0,)]

    async with working(db):
        await until(gone)
        await asyncio.sleep(0)
    assert ear.arrived == []
    assert await run(db, "SELECT count(*) FROM webhook_deliveries") == [(0,)]


async def test_nothing_is_told_of_what_is_no_longer_kept(
    caller: Caller, db: Database, ear: Ear
) -> None:
    agent_id = await listened_agent(caller, ear)
    batch_id = await caller.upload_batch(agent_id=agent_id, webhook_url=f"{ear.url}/batch")
    await run(db, "UPDATE batches SET state = 'paused', started_at = now()")
    await caller.post(f"/batches/{batch_id}/stop")
    async with db.transaction() as conn:
        claimed = await deliveries.claim(
            conn,
            limit=10,
            per_endpoint=PER_ENDPOINT,
            ordered_attempts=ORDERED_ATTEMPTS,
            hold=HOLD,
            now=db.clock(),
        )
    assert len(await render(db, deliveries=claimed, base_url="")) == 3
    await run(db, "UPDATE webhook_deliveries SET data = '{}'")
    assert await render(db, deliveries=claimed, base_url="") == {}


async def test_invalid_address_of_a_batch_is_never_told(caller: Caller, db: Database) -> None:
    await caller.upload_batch(webhook_url="ftp://nowhere")
    assert await run(db, "SELECT count(*) FROM webhook_endpoints") == [(0,)]

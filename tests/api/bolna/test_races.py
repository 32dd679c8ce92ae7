"""Things that happen at once have one outcome, and none of them is a 500."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from uuid import UUID

import httpx
import pytest

from batchyard.operations import deletions
from batchyard.store.db import Database
from tests.api.bolna.conftest import AGENT, CSV, Caller
from tests.api.bolna.running import start, until, working
from tests.api.bolna.test_agents import make, place
from tests.api.bolna.test_control import run

# Without those whose answer the sandbox loses: they are asked for after five seconds.
NUMBERS = [number for number in range(303) if number % 100 != 5]
ROWS = "contact_number\n" + "".join(f"+4520{number:06d}\n" for number in NUMBERS)


def codes(answers: Sequence[httpx.Response]) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)


async def counted(db: Database) -> dict[str, int]:
    """Return how many calls have each status, after checking that the books balance."""
    kept = await run(
        db, "SELECT batch_id, phase, status, n FROM batch_counts WHERE n <> 0 ORDER BY 1, 2, 3"
    )
    real = await run(
        db,
        "SELECT batch_id, phase, status, count(*) FROM items GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
    )
    assert kept == real
    return {str(status): int(str(n)) for _, _, status, n in real}


@pytest.mark.parametrize("delay", [0, 0.05, 0.2])
async def test_stop_against_finish(
    caller: Caller, modern: Caller, db: Database, delay: float
) -> None:
    batch_id = await caller.upload_batch(ROWS)
    await start(db, batch_id)

    async def begun() -> object:
        return await run(db, "SELECT 1 FROM items WHERE phase <> 'ready' LIMIT 1")

    async def ended() -> bool:
        left = await run(db, "SELECT count(*) FROM items WHERE phase NOT IN ('done', 'unknown')")
        return left == [(0,)]

    async with working(db):
        await until(begun)
        await asyncio.sleep(delay)
        answers = await asyncio.gather(
            *(caller.post(f"/batches/{batch_id}/stop") for _ in range(5))
        )
        await until(ended)
    stopped = codes(answers)
    assert stopped.keys() <= {200, 404}
    assert stopped[200] <= 1
    batch = (await modern.get(f"/batches/{batch_id}")).json()
    assert batch["status"] == ("stopped" if stopped[200] else "completed")
    assert sum((await counted(db)).values()) == 300
    if not stopped[200]:
        assert "stopped" not in batch["execution_status"]


async def test_delete_while_running(caller: Caller, db: Database) -> None:
    batch_id = await caller.upload_batch(ROWS)
    kept = await caller.upload_batch()
    await start(db, batch_id)

    async def begun() -> object:
        return await run(db, "SELECT 1 FROM items WHERE phase <> 'ready' LIMIT 1")

    async def purged() -> bool:
        return await run(db, "SELECT id FROM batches") == [(kept,)]

    async with working(db):
        await until(begun)
        answers = await asyncio.gather(
            *(caller.send("DELETE", f"/batches/{batch_id}") for _ in range(5)),
            *(caller.get(f"/batches/{batch_id}/executions") for _ in range(5)),
            caller.post(f"/batches/{batch_id}/stop"),
        )
        await until(purged)
    assert codes(answers).keys() <= {200, 404}
    assert codes(answers[:5])[200] == 1
    assert await counted(db) == {"waiting": 2}


async def test_two_purges_at_once(caller: Caller, db: Database) -> None:
    batch_id = await caller.upload_batch(ROWS)
    await caller.send("DELETE", f"/batches/{batch_id}")
    grace = timedelta(0)
    await asyncio.gather(*(deletions.purge_deleted(db, unknown_grace=grace) for _ in range(3)))
    await deletions.purge_deleted(db, unknown_grace=grace)
    assert await run(db, "SELECT count(*) FROM batches") == [(0,)]
    assert await counted(db) == {}


async def test_schedule_twice_at_once(caller: Caller, db: Database) -> None:
    batch_id = await caller.upload_batch()
    times = [db.clock() + timedelta(hours=hours) for hours in range(1, 7)]
    answers = await asyncio.gather(
        *(
            caller.post(f"/batches/{batch_id}/schedule", data={"scheduled_at": at.isoformat()})
            for at in times
        )
    )
    assert codes(answers) == {200: 6}
    told = {answer.json()["state"] for answer in answers}
    scheduled_at = (await caller.get(f"/batches/{batch_id}")).json()["scheduled_at"]
    assert f"scheduled at {scheduled_at}" in told


async def test_schedule_against_stop_and_delete(caller: Caller, db: Database) -> None:
    batch_id = await caller.upload_batch()
    at = (db.clock() + timedelta(hours=1)).isoformat()
    path = f"/batches/{batch_id}"
    answers = await asyncio.gather(
        *(caller.post(f"{path}/schedule", data={"scheduled_at": at}) for _ in range(4)),
        *(caller.post(f"{path}/stop") for _ in range(4)),
        caller.send("DELETE", path),
        *(caller.post(f"{path}/schedule", data={"scheduled_at": at}) for _ in range(4)),
    )
    assert codes(answers).keys() <= {200, 400, 404}
    assert (await caller.get(path)).status_code == 404
    ((state,),) = await run(db, "SELECT state FROM batches")
    assert state in {"stopped", "cancelled"}


async def test_call_stopped_from_all_sides_ends_once(caller: Caller, db: Database) -> None:
    agent_id = await make(caller)
    execution_id = await place(caller, agent_id)
    answers = await asyncio.gather(
        *(caller.post(f"/call/{execution_id}/stop") for _ in range(6)),
        *(caller.post(f"/v2/agent/{agent_id}/stop") for _ in range(3)),
    )
    assert codes(answers).keys() <= {200, 400}
    by_call = codes(answers[:6])[200]
    by_agent = [answer.json()["stopped_executions"] for answer in answers[6:]]
    assert by_call + sum(ids == [execution_id] for ids in by_agent) == 1
    assert await counted(db) == {"stopped": 1}


async def test_agent_deleted_while_a_list_is_uploaded(caller: Caller, db: Database) -> None:
    agent_id = await make(caller)
    answers = await asyncio.gather(
        caller.upload(ROWS, agent_id=agent_id),
        caller.send("DELETE", f"/v2/agent/{agent_id}"),
        caller.upload(ROWS, agent_id=agent_id),
    )
    assert codes(answers).keys() <= {200, 404}
    await deletions.purge_deleted(db, unknown_grace=timedelta(0))
    assert await run(db, "SELECT count(*) FROM batches") == [(0,)]
    assert await counted(db) == {}


async def test_upload_cut_off_half_way_leaves_nothing(caller: Caller, db: Database) -> None:
    body = httpx.Request(
        "POST", "http://x", data={"agent_id": AGENT}, files={"file": ("a.csv", ROWS * 400)}
    )
    content = body.read()

    async def half() -> AsyncIterator[bytes]:
        for at in range(0, len(content) // 2, 65_536):
            yield content[at : at + 65_536]

    headers = {"Content-Type": body.headers["content-type"]}
    whole, cut = await asyncio.gather(
        caller.upload(CSV), caller.post("/batches", content=half(), headers=headers)
    )
    assert (whole.status_code, cut.status_code) == (200, 400)
    assert await run(db, "SELECT id FROM batches") == [(UUID(whole.json()["batch_id"]),)]
    assert await counted(db) == {"waiting": 2}


async def test_agent_changed_by_many_at_once(caller: Caller) -> None:
    agent_id = await make(caller)
    answers = await asyncio.gather(
        *(
            caller.send(
                "PATCH",
                f"/v2/agent/{agent_id}",
                json={"agent_config": {f"key_{n}": n, "webhook_url": f"https://x.example/{n}"}},
            )
            for n in range(10)
        )
    )
    assert codes(answers) == {200: 10}
    agent = (await caller.get(f"/v2/agent/{agent_id}")).json()
    assert {agent[f"key_{n}"] for n in range(10)} == set(range(10))

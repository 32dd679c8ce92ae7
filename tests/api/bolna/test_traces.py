"""What the audit log tells of what this door does: how it was before, and how it is after."""

from datetime import datetime, timedelta
from typing import Any

from batchyard.store.db import Database
from tests.api.bolna.conftest import AGENT, Caller
from tests.api.bolna.test_control import run


async def entries(db: Database) -> list[tuple[Any, Any, Any]]:
    """Return the log, the newest first."""
    rows = await run(db, "SELECT action, before, after FROM audit_log ORDER BY id DESC")
    return [(row[0], row[1], row[2]) for row in rows]


async def test_agent_made_by_its_first_use_is_noted_once(caller: Caller, db: Database) -> None:
    await caller.upload_batch()
    created, made = await entries(db)
    assert (created[0], made[0]) == ("batch.create", "agent.create")
    assert made[2] == {"name": f"Agent {AGENT[:8]}"}
    await caller.upload_batch(file_name="other.csv")
    assert [entry[0] for entry in await entries(db)] == [
        "batch.create",
        "batch.create",
        "agent.create",
    ]


async def test_schedule_tells_the_time_and_the_bypass_of_before(
    caller: Caller, db: Database
) -> None:
    batch_id = await caller.upload_batch()
    path = f"/batches/{batch_id}/schedule"
    midnight = db.clock().replace(hour=0, minute=0, second=0, microsecond=0)
    sooner, later = (midnight + timedelta(days=days) for days in (2, 3))
    for form in (
        {"scheduled_at": sooner.isoformat()},
        {"scheduled_at": later.isoformat(), "bypass_call_guardrails": "true"},
        {"scheduled_at": later.isoformat()},
    ):
        assert (await caller.post(path, data=form)).status_code == 200
    third, second, first, *_ = await entries(db)
    assert first[1] == {"state": "open", "scheduled_at": None, "bypass_windows": False}
    assert (first[2]["state"], first[2]["bypass_windows"]) == ("scheduled", False)
    assert datetime.fromisoformat(first[2]["scheduled_at"]) == sooner
    assert second[1] == first[2]
    assert second[2]["bypass_windows"] is True
    # What is not said stays.
    assert third[2] == third[1] == second[2]


async def test_stop_of_an_agent_tells_the_state_of_each_batch(caller: Caller, db: Database) -> None:
    paused, running = await caller.upload_batch(), await caller.upload_batch(file_name="b.csv")
    await run(db, "UPDATE batches SET state = 'running'")
    await run(db, "UPDATE batches SET state = 'paused' WHERE id = %(id)s", id=paused)
    await caller.post(f"/v2/agent/{AGENT}/stop")
    assert (await entries(db))[0] == (
        "agent.stop",
        {"batches": {str(paused): "paused", str(running): "running"}},
        {"batches": {str(paused): "stopped", str(running): "stopped"}},
    )

"""Scheduling a batch over HTTP; the rules themselves are tested with `schedule`."""

from datetime import UTC, datetime

import pytest

from batchyard.api.bolna.routes import build_door
from batchyard.config import Config
from batchyard.store.db import Database
from tests.api.bolna.conftest import Caller

NOW = datetime(2024, 1, 29, 8, 20, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
async def _still_time(
    caller: Caller,  # noqa: ARG001 - made before time stands still
    db: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(db, "clock", lambda: NOW)


@pytest.mark.parametrize("form", ["multipart", "urlencoded"])
async def test_batch_is_scheduled_at_the_next_mark(
    caller: Caller, modern: Caller, form: str
) -> None:
    batch_id = await caller.upload_batch()
    path, text = f"/batches/{batch_id.hex}/schedule", "2024-01-29T08:22:30Z"
    body = (
        {"files": {"scheduled_at": (None, text)}}
        if form == "multipart"
        else {"data": {"scheduled_at": text}}
    )
    old = await caller.post(path, **body)
    assert old.status_code == 200
    assert old.json() == {"message": "success", "state": "scheduled at 2024-01-29T08:30:00Z"}
    new = await modern.post(path, **body)
    assert new.json() == {"message": "success", "state": "scheduled"}
    batch = (await caller.get(f"/batches/{batch_id}")).json()
    assert (batch["status"], batch["scheduled_at"]) == ("scheduled", "2024-01-29T08:30:00Z")
    assert batch["execution_status"] == {"scheduled": 2}


async def test_later_time_replaces_the_first(caller: Caller) -> None:
    batch_id = await caller.upload_batch()
    for hour in (9, 11):
        answer = await caller.post(
            f"/batches/{batch_id}/schedule", data={"scheduled_at": f"2024-01-29T{hour:02}:00:00"}
        )
        assert answer.status_code == 200
    batch = (await caller.get(f"/batches/{batch_id}")).json()
    assert batch["scheduled_at"] == "2024-01-29T11:00:00Z"


async def test_old_form_names_the_batch_in_a_field(caller: Caller) -> None:
    batch_id = await caller.upload_batch()
    form = {"batch_id": batch_id.hex, "scheduled_at": "2024-01-29T14:35:00+05:30"}
    answer = await caller.post("/batches/schedule", data=form)
    assert answer.json() == {"message": "success", "state": "scheduled at 2024-01-29T09:10:00Z"}
    form.pop("batch_id")
    assert (await caller.post("/batches/schedule", data=form)).json() == {
        "error": 400,
        "message": "batch_id is missing.",
    }


@pytest.mark.parametrize(
    "form,message",
    [
        (
            {"scheduled_at": "2024-01-29T08:22:29.999Z"},
            "Scheduled time should be atleast 2 minutes in the future",
        ),
        (
            {"scheduled_at": "2024-03-01T08:22:29Z"},
            "Scheduled time should be at most 30 days in the future",
        ),
        ({}, "scheduled_at is missing."),
        ({"scheduled_at": ""}, "scheduled_at is missing."),
        (
            {"scheduled_at": "soon"},
            "scheduled_at must be an ISO 8601 time, such as 2030-01-29T08:30:00Z",
        ),
        (
            {"scheduled_at": "2024-01-29T09:00:00Z", "bypass_call_guardrails": "maybe"},
            "bypass_call_guardrails must be true or false.",
        ),
    ],
)
async def test_time_against_the_rules_changes_nothing(
    caller: Caller, form: dict[str, str], message: str
) -> None:
    batch_id = await caller.upload_batch()
    answer = await caller.post(f"/batches/{batch_id}/schedule", data=form)
    assert (answer.status_code, answer.json()) == (400, {"error": 400, "message": message})
    assert (await caller.get(f"/batches/{batch_id}")).json()["status"] == "created"


async def test_json_body_is_told_what_is_missing(caller: Caller) -> None:
    batch_id = await caller.upload_batch()
    answer = await caller.post(f"/batches/{batch_id}/schedule", json={"scheduled_at": "x"})
    assert (answer.status_code, answer.json()["message"]) == (400, "scheduled_at is missing.")


async def test_guardrails_are_bypassed_when_asked(caller: Caller, db: Database) -> None:
    batch_id = await caller.upload_batch()
    for flag, expected in (("true", True), (None, True), ("FALSE", False)):
        form = {"scheduled_at": "2024-01-29T09:00:00Z"}
        if flag:
            form["bypass_call_guardrails"] = flag
        assert (await caller.post(f"/batches/{batch_id}/schedule", data=form)).status_code == 200
        async with db.pool.connection() as conn:
            row = await (await conn.execute("SELECT bypass_windows FROM batches")).fetchone()
        assert row == (expected,)


@pytest.mark.parametrize("batch_id", ["0b4f7d2c9a6e4c1f8d3b5e7a90c1d2e3", "nothing"])
async def test_unknown_batch_is_not_found(caller: Caller, batch_id: str) -> None:
    answer = await caller.post(
        f"/batches/{batch_id}/schedule", data={"scheduled_at": "2024-01-29T09:00:00Z"}
    )
    assert answer.status_code == 404
    assert answer.json() == {"error": 404, "message": "There is no such batch."}


async def test_batch_of_another_team_is_not_found_and_stays(
    caller: Caller, stranger: Caller
) -> None:
    batch_id = await caller.upload_batch()
    form = {"scheduled_at": "2024-01-29T09:00:00Z"}
    assert (await stranger.post(f"/batches/{batch_id}/schedule", data=form)).status_code == 404
    assert (await caller.get(f"/batches/{batch_id}")).json()["status"] == "created"


@pytest.mark.parametrize("state", ["running", "cancelled"])
async def test_batch_that_does_not_wait_cannot_be_scheduled(
    caller: Caller, db: Database, state: str
) -> None:
    batch_id = await caller.upload_batch()
    async with db.transaction() as conn:
        await conn.execute("UPDATE batches SET state = %s", (state,))
    answer = await caller.post(
        f"/batches/{batch_id}/schedule", data={"scheduled_at": "2024-01-29T09:00:00Z"}
    )
    assert (answer.status_code, answer.json()["error"]) == (400, 400)
    async with db.pool.connection() as conn:
        row = await (await conn.execute("SELECT state, scheduled_at FROM batches")).fetchone()
    assert row == (state, None)


async def test_without_lead_and_step_a_past_time_means_now(caller: Caller, db: Database) -> None:
    config = Config(bolna_schedule_lead_seconds=0, bolna_schedule_step_minutes=0)
    local = Caller(app=build_door(config, db), team=caller.team, token=caller.token)
    batch_id = await local.upload_batch()
    answer = await local.post(
        f"/batches/{batch_id}/schedule", data={"scheduled_at": "2001-01-01T00:00:00Z"}
    )
    assert answer.json()["state"] == "scheduled at 2024-01-29T08:20:30Z"

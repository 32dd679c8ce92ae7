"""Stop and delete a batch: exact answers, and what stays behind."""

from datetime import timedelta
from uuid import UUID

import pytest

from batchyard.models import BatchState
from batchyard.operations import deletions
from batchyard.store.db import Database
from tests.api.bolna.conftest import AGENT, NOBODY, Caller

NOT_STOPPABLE = {"error": 404, "message": "Batch is not queued or running"}
UNKNOWN = {"error": 404, "message": "There is no such batch."}
GRACE = timedelta(hours=1)


async def run(db: Database, statement: str, **values: object) -> list[tuple[object, ...]]:
    async with db.transaction() as conn:
        cursor = await conn.execute(statement.encode(), values)
        return await cursor.fetchall() if cursor.description else []


async def set_state(db: Database, batch_id: UUID, state: str) -> None:
    await run(
        db,
        "UPDATE batches SET state = %(state)s, scheduled_at = now(), finished_at = now()"
        " WHERE id = %(id)s",
        state=state,
        id=batch_id,
    )


@pytest.mark.parametrize("state", ["scheduled", "queued", "running", "paused"])
async def test_stop_ends_what_was_not_sent(
    caller: Caller, modern: Caller, db: Database, state: str
) -> None:
    batch_id = await caller.upload_batch()
    await set_state(db, batch_id, state)
    answer = await caller.post(f"/batches/{batch_id.hex}/stop")
    assert (answer.status_code, answer.json()) == (200, {"message": "success", "state": "stopped"})
    assert (await caller.get(f"/batches/{batch_id}")).json()["status"] == "executed"
    batch = (await modern.get(f"/batches/{batch_id}")).json()
    assert (batch["status"], batch["execution_status"]) == ("stopped", {"stopped": 2})
    assert await run(db, "SELECT DISTINCT phase, status FROM items") == [("done", "stopped")]


@pytest.mark.parametrize("state", ["open", "completed", "stopped", "failed", "cancelled"])
async def test_stop_where_nothing_runs_is_404_in_the_vendors_words(
    caller: Caller, modern: Caller, db: Database, state: str
) -> None:
    batch_id = await caller.upload_batch()
    await set_state(db, batch_id, state)
    for client in (caller, modern):
        answer = await client.post(f"/batches/{batch_id}/stop", json={})
        assert (answer.status_code, answer.json()) == (404, NOT_STOPPABLE)
    assert await run(db, "SELECT DISTINCT status FROM items") == [("waiting",)]


async def test_stop_leaves_calls_in_progress_alone(caller: Caller, db: Database) -> None:
    batch_id = await caller.upload_batch()
    await set_state(db, batch_id, "running")
    await run(
        db,
        "UPDATE items SET phase = 'live', status = 'ringing', intent_at = now()"
        " WHERE id = (SELECT min(id::text)::uuid FROM items)",
    )
    await caller.post(f"/batches/{batch_id}/stop")
    batch = (await caller.get(f"/batches/{batch_id}")).json()
    assert batch["execution_status"] == {"ringing": 1, "stopped": 1}


@pytest.mark.parametrize("state", sorted({*BatchState} - {"importing"}))
async def test_delete_is_gone_at_once_in_any_state(
    caller: Caller, modern: Caller, db: Database, state: str
) -> None:
    batch_id = await caller.upload_batch()
    await set_state(db, batch_id, state)
    answer = await caller.send("DELETE", f"/batches/{batch_id.hex}")
    assert (answer.status_code, answer.json()) == (200, {"message": "success", "state": "deleted"})
    for method, path in (
        ("GET", ""),
        ("GET", "/executions"),
        ("GET", "/executions?page_size=3"),
        ("GET", "/errors.csv"),
        ("POST", "/stop"),
        ("DELETE", ""),
    ):
        gone = await modern.send(method, f"/batches/{batch_id}{path}")
        assert (gone.status_code, gone.json()) == (404, UNKNOWN), path
    form = {"scheduled_at": "2999-01-01T00:00:00Z"}
    again = await caller.post(f"/batches/{batch_id}/schedule", data=form)
    assert again.status_code in {400, 404}
    assert (await caller.get(f"/batches/{AGENT}/all")).json() == []
    assert (await caller.get(f"/v2/agent/{AGENT}/executions")).json()["total"] == 0
    ((kept,),) = await run(db, "SELECT state FROM batches")
    assert kept not in {"scheduled", "queued", "running", "paused", "open"}


async def test_delete_of_an_import_finds_nothing(caller: Caller, db: Database) -> None:
    batch_id = await caller.upload_batch()
    await run(db, "UPDATE batches SET state = 'importing'")
    answer = await caller.send("DELETE", f"/batches/{batch_id}")
    assert (answer.status_code, answer.json()) == (404, UNKNOWN)


@pytest.mark.parametrize("batch", ["nothing", "3c90c3cc", NOBODY])
async def test_unknown_batch_is_neither_stopped_nor_deleted(caller: Caller, batch: str) -> None:
    for method, path in (("POST", f"/batches/{batch}/stop"), ("DELETE", f"/batches/{batch}")):
        answer = await caller.send(method, path)
        assert (answer.status_code, answer.json()) == (404, UNKNOWN)


async def test_purge_leaves_nothing_of_a_deleted_batch(
    caller: Caller, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deletions, "SLICE", 2)
    rows = "".join(f"+4520{number:06d}\n" for number in range(7)) + "x\n\n+1\n"
    doomed = await caller.upload_batch("contact_number\n" + rows + "+4520000000\n")
    kept = await caller.upload_batch()
    await caller.send("DELETE", f"/batches/{doomed}")
    await deletions.purge_deleted(db, unknown_grace=GRACE)
    for table in ("items", "item_data", "rejected_rows", "row_warnings", "batch_counts"):
        left = await run(db, f"SELECT count(*) FROM {table} WHERE batch_id = %(id)s", id=doomed)
        assert left == [(0,)], table
    assert await run(db, "SELECT id FROM batches") == [(kept,)]
    assert await run(db, "SELECT count(*) FROM items") == [(2,)]


async def test_purge_takes_what_a_cancelled_batch_has_not_ended_yet(
    caller: Caller, db: Database
) -> None:
    batch_id = await caller.upload_batch()
    await set_state(db, batch_id, "cancelled")
    await run(
        db,
        "UPDATE items SET phase = 'done', status = 'canceled'"
        " WHERE id = (SELECT min(id::text)::uuid FROM items)",
    )
    assert (await caller.send("DELETE", f"/batches/{batch_id}")).status_code == 200
    await deletions.purge_deleted(db, unknown_grace=GRACE)
    for table in ("batches", "items", "item_data", "batch_counts"):
        assert await run(db, f"SELECT count(*) FROM {table}") == [(0,)], table


async def test_live_calls_of_a_deleted_batch_count_until_they_end(
    caller: Caller, db: Database
) -> None:
    batch_id = await caller.upload_batch()
    await set_state(db, batch_id, "running")
    await run(
        db,
        "UPDATE items SET phase = 'live', status = 'ringing', intent_at = now()"
        " WHERE id = (SELECT min(id::text)::uuid FROM items)",
    )
    await caller.send("DELETE", f"/batches/{batch_id}")
    await deletions.purge_deleted(db, unknown_grace=GRACE)
    assert await run(db, "SELECT phase FROM items") == [("live",)]
    assert (await caller.get("/user/me")).json()["concurrency"]["current"] == 1
    await run(db, "UPDATE items SET phase = 'done', status = 'completed'")
    await deletions.purge_deleted(db, unknown_grace=GRACE)
    assert await run(db, "SELECT count(*) FROM batches") == [(0,)]
    assert (await caller.get("/user/me")).json()["concurrency"]["current"] == 0


async def test_unknown_outcome_of_a_deleted_batch_stays_for_the_grace(
    caller: Caller, db: Database
) -> None:
    batch_id = await caller.upload_batch("contact_number\n+4520123456\n")
    await run(
        db,
        "UPDATE items SET phase = 'unknown', status = 'unknown', intent_at = now(),"
        " updated_at = %(now)s",
        now=db.clock(),
    )
    await caller.send("DELETE", f"/batches/{batch_id}")
    await deletions.purge_deleted(db, unknown_grace=GRACE)
    assert await run(db, "SELECT count(*) FROM items") == [(1,)]
    await deletions.purge_deleted(db, unknown_grace=timedelta(0))
    assert await run(db, "SELECT count(*) FROM batches") == [(0,)]

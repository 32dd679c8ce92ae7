"""Batches through the operator API: found, read, changed, steered."""

from collections import Counter
from datetime import timedelta

import pytest

from batchyard.models import BatchState, Kind
from batchyard.operations import control
from tests import factories
from tests.api.operator.conftest import Client, Clients

HOUR = timedelta(hours=1)


async def test_batches_are_listed_newest_first_in_pages(client: Client) -> None:
    made = [
        str(await factories.make_batch(client.db, team=client.team, reference=f"r{n}"))
        for n in range(5)
    ]
    seen: list[str] = []
    cursor = None
    while True:
        answer = (await client.get("/batches", limit=2, cursor=cursor)).json()
        seen += [batch["id"] for batch in answer["data"]]
        cursor = answer["next_cursor"]
        if cursor is None:
            break
    assert seen == made[::-1]


async def test_batches_are_filtered(client: Client) -> None:
    await factories.make_batch(client.db, team=client.team, reference="Monday")
    await factories.make_batch(client.db, team=client.team, kind=Kind.CALL)
    await factories.make_batch(client.db, team=client.team, state=BatchState.PAUSED)
    for filters, expected in (
        ({"kind": "call"}, 1),
        ({"kind": "shipment"}, 2),
        ({"state": "paused"}, 1),
        ({"text": "monday"}, 1),
        ({"created_after": "2999-01-01T00:00:00Z"}, 0),
    ):
        answer = (await client.get("/batches", **filters)).json()
        assert len(answer["data"]) == expected, filters


async def test_batch_is_read_with_counts_and_why_it_waits(client: Client) -> None:
    batch_id = await factories.make_batch(client.db, team=client.team)
    await factories.make_items(client.db, team=client.team, batch_id=batch_id, n=3)
    shown = (await client.get(f"/batches/{batch_id}")).json()
    assert shown["total"] == 3
    assert shown["counts"] == {"waiting": 3}
    assert shown["waiting"]["reason"] == "not_dispatched"


async def test_batch_is_steered_and_each_change_is_audited(client: Client) -> None:
    batch_id = await factories.make_batch(client.db, team=client.team)
    await factories.make_items(client.db, team=client.team, batch_id=batch_id, n=3)
    for action, state in (
        ("dispatch", "queued"),
        ("pause", "paused"),
        ("resume", "running"),
        ("stop", "stopped"),
    ):
        answer = await client.post(f"/batches/{batch_id}/{action}")
        assert answer.status_code == 200, answer.text
        assert answer.json()["state"] == state
    log = (await client.get("/audit")).json()["data"]
    assert [entry["action"] for entry in log] == [
        "batch.stop",
        "batch.resume",
        "batch.pause",
        "batch.dispatch",
    ]


async def test_books_of_a_large_cancelled_batch_balance_while_its_items_end(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "BLOCK", 2)
    batch_id = await factories.make_batch(client.db, team=client.team)
    await factories.make_items(client.db, team=client.team, batch_id=batch_id, n=5)
    assert (await client.post(f"/batches/{batch_id}/cancel")).status_code == 204

    async def look(**counts: int) -> None:
        shown = (await client.get(f"/batches/{batch_id}")).json()
        assert (shown["state"], shown["waiting"]) == ("cancelled", None)
        assert (shown["total"], shown["counts"]) == (5, counts)
        items = (await client.get("/items", batch_id=batch_id)).json()["data"]
        assert Counter(item["status"] for item in items) == counts
        assert all((item["ended_at"] is None) == (item["phase"] == "ready") for item in items)

    await look(canceled=2, waiting=3)
    assert (await client.post(f"/batches/{batch_id}/cancel")).status_code == 404
    await control.end_stopped_items(client.db)
    await look(canceled=5)
    assert [entry["action"] for entry in (await client.get("/audit")).json()["data"]] == [
        "batch.cancel"
    ]


async def test_paused_batch_says_who_paused_it(client: Client) -> None:
    batch_id = await factories.make_batch(client.db, team=client.team, state=BatchState.RUNNING)
    path = f"/batches/{batch_id}"
    await client.post(f"{path}/pause")
    assert (await client.get(path)).json()["waiting"] == {
        "reason": "paused",
        "sentence": "test paused the batch; resume it to go on.",
        "until": None,
        "by": "test",
        "error": None,
    }
    await client.post(f"{path}/resume")
    async with client.db.transaction() as conn:
        await conn.execute("UPDATE batches SET state = 'paused', wait_reason = 'paused'")
    shown = (await client.get(path)).json()["waiting"]
    assert (shown["by"], shown["sentence"]) == (
        None,
        "Somebody paused the batch; resume it to go on.",
    )


async def test_wrong_state_is_a_conflict_that_changes_nothing(client: Client) -> None:
    batch_id = await factories.make_batch(client.db, team=client.team)
    answer = await client.post(f"/batches/{batch_id}/resume")
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == "A batch that is open cannot be resumed."
    assert (await client.get("/audit")).json()["data"] == []


async def test_batch_is_changed_while_it_waits(client: Client) -> None:
    batch_id = await factories.make_batch(client.db, team=client.team)
    change = {"priority": 9, "has_brake": False, "retries": {"statuses": ["failed"]}}
    shown = (await client.patch(f"/batches/{batch_id}", change)).json()
    assert (shown["priority"], shown["has_brake"]) == (9, False)
    assert shown["retry_policy"]["statuses"] == ["failed"]


async def test_limits_of_a_batch_are_changed_and_the_trace_has_both(client: Client) -> None:
    batch_id = await factories.make_batch(client.db, team=client.team)
    path = f"/batches/{batch_id}"
    limits = {"concurrency": 5, "rates": [{"count": 10, "seconds": 60}], "burst": 2}
    shown = (await client.patch(path, {"limits": limits, "reference": "Monday"})).json()
    assert (shown["limits"], shown["reference"]) == (limits, "Monday")
    shown = (await client.patch(path, {"limits": {}})).json()
    assert shown["limits"] == {"concurrency": None, "rates": [], "burst": None}
    later, first = (await client.get("/audit")).json()["data"]
    assert first["before"] == {"limits": None, "reference": None}
    assert first["after"]["reference"] == "Monday"
    assert later["before"] == {"limits": limits}
    assert later["source"] == "127.0.0.1"


async def test_status_that_cannot_be_retried_is_refused(client: Client) -> None:
    batch_id = await factories.make_batch(client.db, team=client.team)
    answer = await client.patch(f"/batches/{batch_id}", {"retries": {"statuses": ["flying"]}})
    assert answer.status_code == 422
    assert "'flying' cannot be retried. Known: failed" in answer.json()["detail"]


async def test_wrong_change_names_each_field(client: Client) -> None:
    batch_id = await factories.make_batch(client.db, team=client.team)
    answer = await client.patch(f"/batches/{batch_id}", {"priority": 10, "colour": "red"})
    assert answer.status_code == 422
    assert {error["field"] for error in answer.json()["errors"]} == {
        "body.priority",
        "body.colour",
    }


async def test_deleted_batch_is_gone(client: Client) -> None:
    batch_id = await factories.make_batch(client.db, team=client.team)
    assert (await client.delete(f"/batches/{batch_id}")).status_code == 204
    assert (await client.get(f"/batches/{batch_id}")).status_code == 404


@pytest.mark.parametrize("method", ["get", "delete"])
async def test_batch_of_another_team_is_not_found(clients: Clients, method: str) -> None:
    owner = await factories.make_team(clients.db)
    batch_id = await factories.make_batch(clients.db, team=owner)
    other = await clients.of(await factories.make_team(clients.db))
    answer = await getattr(other, method)(f"/batches/{batch_id}")
    assert answer.status_code == 404
    assert "batch" in answer.json()["detail"]


async def test_cursor_made_elsewhere_is_refused(client: Client) -> None:
    answer = await client.get("/batches", cursor="!!!")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "cursor"


async def test_windows_are_bypassed_and_kept_again(client: Client) -> None:
    batch_id = await factories.make_batch(client.db, team=client.team, kind=Kind.CALL)
    path = f"/batches/{batch_id}"
    assert (await client.get(path)).json()["bypass_windows"] is False
    assert (await client.patch(path, {"bypass_windows": True})).json()["bypass_windows"] is True
    assert (await client.patch(path, {"priority": 3})).json()["bypass_windows"] is True
    assert (await client.patch(path, {"bypass_windows": False})).json()["bypass_windows"] is False


async def test_calls_that_wait_for_a_window_follow_a_bypass(client: Client) -> None:
    batch_id = await factories.make_batch(
        client.db, team=client.team, kind=Kind.CALL, state=BatchState.RUNNING
    )
    await factories.make_items(
        client.db, team=client.team, batch_id=batch_id, n=3, status="rescheduled"
    )
    for change, due in (({"priority": 3}, 0), ({"bypass_windows": True}, 3)):
        async with client.db.transaction() as conn:
            await conn.execute("UPDATE items SET due_at = %s", (client.db.clock() + HOUR,))
        await client.patch(f"/batches/{batch_id}", change)
        assert await count_due(client) == due


async def count_due(client: Client) -> object:
    async with client.db.pool.connection() as conn:
        found = await conn.execute(
            "SELECT count(*) FROM items WHERE due_at <= %s", (client.db.clock(),)
        )
        row = await found.fetchone()
    return row[0] if row else None


async def test_time_of_a_start_is_set_moved_and_taken_back(client: Client) -> None:
    batch_id = await factories.make_batch(client.db, team=client.team)
    await factories.make_items(client.db, team=client.team, batch_id=batch_id)
    path = f"/batches/{batch_id}"
    for at in ("2999-01-01T08:00:00+00:00", "2999-01-02T08:00:00+00:00"):
        shown = (await client.patch(path, {"scheduled_at": at})).json()
        assert (shown["state"], shown["scheduled_at"]) == ("scheduled", at)
    for _ in range(2):
        shown = (await client.patch(path, {"scheduled_at": None})).json()
        assert (shown["state"], shown["scheduled_at"]) == ("open", None)
    assert shown["waiting"]["reason"] == "not_dispatched"
    assert (await client.post(f"{path}/dispatch")).status_code == 200
    answer = await client.patch(path, {"scheduled_at": None})
    assert answer.status_code == 409
    assert "cannot be unscheduled" in answer.json()["detail"]

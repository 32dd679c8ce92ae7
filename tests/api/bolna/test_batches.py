"""Reading and listing batches: exact exchanges in both versions."""

from datetime import datetime, timedelta
from uuid import UUID

import humanize
import pytest

from batchyard.api.bolna.sql_words import HUMANIZED_AGE
from batchyard.models import BatchState
from batchyard.store.db import Database
from tests.api.bolna.conftest import AGENT, Caller

STATES = {
    "open": ("created", "created"),
    "scheduled": ("scheduled", "scheduled"),
    "queued": ("queued", "queued"),
    "running": ("queued", "running"),
    "paused": ("queued", "running"),
    "stopped": ("executed", "stopped"),
    "completed": ("executed", "completed"),
    "failed": ("executed", "failed"),
}
ROWS = "contact_number,name\n+4520123456,Ane\n+45,Bo\n+4520123457,Cy\n"


async def run(db: Database, statement: str, **values: object) -> None:
    async with db.transaction() as conn:
        await conn.execute(statement, values)


async def set_state(db: Database, batch_id: UUID, state: str) -> None:
    await run(
        db,
        "UPDATE batches SET state = %(state)s, scheduled_at = now(), finished_at = now()"
        " WHERE id = %(id)s",
        state=state,
        id=batch_id,
    )


async def set_created(db: Database, batch_id: UUID, at: datetime) -> None:
    await run(db, "UPDATE batches SET created_at = %(at)s WHERE id = %(id)s", at=at, id=batch_id)


async def test_list_is_exactly_the_contracts(caller: Caller, modern: Caller, db: Database) -> None:
    batch_id = await caller.upload_batch(ROWS, from_phone_numbers=["+19876543007", "+19876543008"])
    created_at = db.clock() - timedelta(minutes=5)
    await run(
        db,
        "UPDATE batches SET created_at = %(at)s, updated_at = '2024-02-29T04:22:59.9Z',"
        " state = 'scheduled', scheduled_at = '2024-01-29T08:30:00.5Z'",
        at=created_at,
    )
    expected: dict[str, object] = {
        "batch_id": batch_id.hex,
        "humanized_created_at": "5 minutes ago",
        "created_at": created_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "updated_at": "2024-02-29T04:22:59Z",
        "status": "scheduled",
        "scheduled_at": "2024-01-29T08:30:00Z",
        "from_phone_number": "+19876543007",
        "file_name": "customers.csv",
        "valid_contacts": 2,
        "total_contacts": 3,
        "execution_status": {"scheduled": 2},
    }
    answer = await caller.get(f"/batches/{AGENT}/all")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == [expected]
    assert list(answer.json()[0]) == list(expected)
    answer = await modern.get(f"/batches/{AGENT}/all")
    numbers = ["+19876543007", "+19876543008"]
    assert answer.json() == [{**expected, "from_phone_numbers": numbers}]
    one = await caller.get(f"/batches/{batch_id.hex}")
    assert one.json() == expected
    assert (await caller.get(f"/batches/{batch_id}")).json() == expected


async def test_header_names_the_version_and_wins(caller: Caller, modern: Caller) -> None:
    await caller.upload()
    path = f"/batches/{AGENT}/all"
    new = await caller.get(path, headers={"Bolna-Version": "2026-08"})
    old = await modern.get(path, headers={"Bolna-Version": "2024-01"})
    assert "from_phone_numbers" in new.json()[0]
    assert "from_phone_numbers" not in old.json()[0]
    wrong = await caller.get(path, headers={"Bolna-Version": "1999-01"})
    assert (wrong.status_code, wrong.json()["error"]) == (400, 400)


@pytest.mark.parametrize("state", STATES)
async def test_state_is_told_in_the_words_of_each_version(
    caller: Caller, modern: Caller, db: Database, state: str
) -> None:
    batch_id = await caller.upload_batch()
    await set_state(db, batch_id, state)
    old = (await caller.get(f"/batches/{batch_id}")).json()["status"]
    new = (await modern.get(f"/batches/{batch_id}")).json()["status"]
    assert (old, new) == STATES[state]


def test_every_visible_state_is_tested() -> None:
    assert STATES.keys() == {*BatchState} - {"importing", "cancelled"}


async def test_list_is_newest_first_and_pages_are_optional(caller: Caller, db: Database) -> None:
    now = db.clock()
    ids = [await caller.upload_batch() for _ in range(5)]
    for age, batch_id in enumerate(ids):
        await set_created(db, batch_id, now - timedelta(days=age))
    path = f"/batches/{AGENT}/all"

    async def listed(query: str = "") -> list[str]:
        return [batch["batch_id"] for batch in (await caller.get(path + query)).json()]

    newest_first = [batch_id.hex for batch_id in ids]
    assert await listed() == newest_first
    assert await listed("?page_number=2&page_size=2") == newest_first[2:4]
    assert await listed("?page_size=3") == newest_first[:3]
    assert await listed("?page_number=9") == []


@pytest.mark.parametrize("query", ["page_number=0", "page_size=0", "page_size=x", "page_size=1001"])
async def test_page_that_is_none_is_refused(caller: Caller, query: str) -> None:
    answer = await caller.get(f"/batches/{AGENT}/all?{query}")
    assert (answer.status_code, answer.json()["error"]) == (400, 400)


async def test_import_and_deleted_and_single_batches_are_not_listed(
    caller: Caller, db: Database
) -> None:
    ids = [await caller.upload_batch() for _ in range(4)]
    for batch_id, change in zip(
        ids, ["state = 'importing'", "deleted_at = now()", "is_single = true"], strict=False
    ):
        await run(db, f"UPDATE batches SET {change} WHERE id = %(id)s", id=batch_id)
        assert (await caller.get(f"/batches/{batch_id}")).status_code == 404
        assert (await caller.get(f"/batches/{batch_id}/executions")).status_code == 404
        assert (await caller.get(f"/batches/{batch_id}/errors.csv")).status_code == 404
        assert (await caller.post(f"/batches/{batch_id}/stop")).status_code == 404
        assert (await caller.send("DELETE", f"/batches/{batch_id}")).status_code == 404
    listed = (await caller.get(f"/batches/{AGENT}/all")).json()
    assert [batch["batch_id"] for batch in listed] == [ids[3].hex]


async def test_agent_without_batches_has_an_empty_list(caller: Caller, db: Database) -> None:
    batch_id = await caller.upload_batch()
    await run(db, "UPDATE batches SET deleted_at = now() WHERE id = %(id)s", id=batch_id)
    answer = await caller.get(f"/batches/{AGENT}/all")
    assert (answer.status_code, answer.content) == (200, b"[]")


@pytest.mark.parametrize("agent", ["0b4f7d2c-9a6e-4c1f-8d3b-5e7a90c1d2e3", "nobody", "3c90c3cc"])
async def test_unknown_agent_is_not_found(caller: Caller, agent: str) -> None:
    answer = await caller.get(f"/batches/{agent}/all")
    assert answer.status_code == 404
    assert answer.json() == {"error": 404, "message": "There is no such agent."}


async def test_other_teams_find_nothing(caller: Caller, stranger: Caller) -> None:
    batch_id = (await caller.upload_batch()).hex
    for path in (
        f"/batches/{batch_id}",
        f"/batches/{batch_id}/executions",
        f"/batches/{batch_id}/executions?page_size=5",
        f"/batches/{batch_id}/errors.csv",
        f"/batches/{AGENT}/all",
    ):
        assert (await stranger.get(path)).status_code == 404, path
    form = {"scheduled_at": "2999-01-01T00:00:00Z", "batch_id": batch_id}
    assert (await stranger.post(f"/batches/{batch_id}/schedule", data=form)).status_code in {
        400,
        404,
    }


async def test_missing_or_wrong_token_is_denied_in_the_words_of_each_version(
    caller: Caller,
) -> None:
    path = f"/batches/{AGENT}/all"
    for authorization in ("", "Bearer", "Bearer nonsense", "Basic abc", caller.token):
        headers = {"Authorization": authorization}
        old = await caller.get(path, headers=headers)
        assert (old.status_code, old.json()) == (401, {"error": 401, "message": "Access denied"})
        new = await caller.get(path, headers={**headers, "Bolna-Version": "2026-08"})
        assert (new.status_code, new.json()) == (403, {"detail": "Unrecognized access token"})


async def test_wrong_path_and_method_have_the_shape_of_every_error(caller: Caller) -> None:
    assert (await caller.get("/batches/a/b/c")).json() == {"error": 404, "message": "Not Found"}
    answer = await caller.send("PUT", "/batches")
    assert (answer.status_code, answer.json()["error"]) == (405, 405)


DAY = 86_400
NOW = datetime.fromisoformat("2026-03-04T05:06:07.5+00:00")
AGES = [
    *(seconds + half for seconds in range(2 * 3600) for half in (0, 0.6)),
    *(minutes * 60 + wobble for minutes in range(26 * 60) for wobble in (-1, 0, 1)),
    *(days * DAY + wobble for days in range(1, 1500) for wobble in (-1, 0, 1)),
    *(halves * DAY * 365 // 2 + wobble for halves in range(2, 120) for wobble in (-1, 0, 1)),
]


async def test_ages_are_told_in_the_words_of_humanize(db: Database) -> None:
    ages = [max(0.0, float(age)) for age in AGES]
    async with db.pool.connection() as conn:
        cursor = await conn.execute(
            f"SELECT b.created_at, {HUMANIZED_AGE} FROM ("
            "SELECT %(now)s - make_interval(secs => age) AS created_at"
            "  FROM unnest(%(ages)s::float8[]) AS age) AS b",
            {"now": NOW, "ages": ages},
        )
        told = await cursor.fetchall()
    assert len(told) == len(ages)
    for created_at, words in told:
        assert isinstance(created_at, datetime)
        assert words == humanize.naturaltime(NOW - created_at), NOW - created_at


async def test_batch_from_the_future_is_new(db: Database) -> None:
    async with db.pool.connection() as conn:
        cursor = await conn.execute(
            f"SELECT {HUMANIZED_AGE} FROM (SELECT %(now)s + interval '3 s' AS created_at) AS b",
            {"now": NOW},
        )
        assert await cursor.fetchall() == [("now",)]

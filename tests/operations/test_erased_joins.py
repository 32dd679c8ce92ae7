"""A person whose rows join a batch while they are erased, or afterwards."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from batchyard.models import BatchState, JsonObject, Kind, Phase, Team
from batchyard.operations import joins, privacy, retention
from batchyard.operations.audit import Actor
from batchyard.operations.batches import dispatch_batch
from batchyard.operations.joins import resume_joins
from batchyard.store import privacy as stored
from batchyard.store.db import Connection, Database
from batchyard.store.ids import new_id
from batchyard.store.person_sources import LINES
from batchyard.store.stretches import Stretch
from tests.factories import make_batch, make_items, make_team
from tests.operations.lists import add, check_books, rows_of, upload
from tests.operations.test_joins import FILE, csv_of, end_items, mend_rows

NUMBER = "+4520000001"
OTHER = "+4599999999"
ACTOR = Actor(name="test")


@pytest.fixture
async def team(db: Database) -> Team:
    return await make_team(db)


@pytest.fixture(autouse=True)
def join_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joins, "INTERRUPTED_AFTER", timedelta(0))
    monkeypatch.setattr(privacy, "SLICE", 1)


async def change(db: Database, statement: str, *values: object) -> None:
    async with db.transaction() as conn:
        await conn.execute(statement.encode(), values)


async def begin_to_join(db: Database, team: Team, target: UUID) -> UUID:
    """Make a batch whose rows have begun to join another; it comes after that by its id."""
    staging, at = new_id(), db.clock() - timedelta(minutes=1)
    assert staging > target
    await change(
        db,
        "INSERT INTO batches (id, team_id, kind, state, created_at, updated_at, imported_at)"
        " VALUES (%s, %s, 'call', 'importing', %s, %s, %s)",
        *(staging, team.id, at, at, at),
    )
    await change(
        db,
        "INSERT INTO uploads (id, team_id, batch_id, state, first_line, created_at, updated_at)"
        " VALUES (%s, %s, %s, 'joining', 10, %s, %s)",
        *(staging, team.id, target, at, at),
    )
    return staging


def join_when_looked_for(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the rows join as soon as one stretch of lines was looked through."""
    read = stored.read

    async def look(
        conn: Connection, person: stored.Person, stretch: Stretch, *, item_ids: Sequence[UUID]
    ) -> Mapping[str, str]:
        found = await read(conn, person, stretch, item_ids=item_ids)
        if stretch.source is LINES:
            await resume_joins(db)
        return found

    monkeypatch.setattr(stored, "read", look)


async def erase(db: Database, team: Team) -> privacy.Erasure:
    return await privacy.erase_person(db, team=team, actor=ACTOR, number=NUMBER, email=None)


async def test_rows_that_join_a_batch_while_it_is_looked_through_are_erased(
    db: Database, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = await make_batch(db, team=team, kind=Kind.CALL, state=BatchState.PAUSED)
    staging = await begin_to_join(db, team, target)
    await make_items(db, team=team, batch_id=staging, n=3, number=NUMBER)
    await change(
        db,
        "INSERT INTO rejected_rows (batch_id, line, code, reason, cells)"
        " VALUES (%s, 7, 'x', 'wrong', %s)",
        *(staging, Jsonb([NUMBER])),
    )
    join_when_looked_for(db, monkeypatch)

    done = await erase(db, team)

    assert await rows_of(db, "SELECT state FROM uploads") == [("done",)]
    assert done.items == 3
    assert await rows_of(
        db, "SELECT DISTINCT i.batch_id, phase, number FROM items i JOIN item_data ON item_id = id"
    ) == [(target, "done", None)]
    assert await rows_of(db, "SELECT batch_id, reason, cells FROM rejected_rows") == [
        (target, "erased", [])
    ]


async def test_row_that_corrects_an_item_of_a_batch_that_was_looked_through_is_erased(
    db: Database, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = await make_batch(db, team=team, kind=Kind.CALL, state=BatchState.COMPLETED)
    [item_id] = await make_items(
        db, team=team, batch_id=target, number=OTHER, phase=Phase.DONE, status="failed"
    )
    staging = await begin_to_join(db, team, target)
    await change(
        db,
        "INSERT INTO staged_mends (upload_id, line, item_id, is_refused, payload, number)"
        " VALUES (%s, 1, %s, false, '{}', %s)",
        *(staging, item_id, NUMBER),
    )
    join_when_looked_for(db, monkeypatch)

    done = await erase(db, team)

    assert await rows_of(db, "SELECT state FROM uploads") == [("done",)]
    assert (done.items, done.others["staged_rows"]) == (0, 1)
    assert await rows_of(db, "SELECT phase, number FROM items JOIN item_data ON item_id = id") == [
        ("done", OTHER)
    ]


async def test_row_that_corrects_an_item_of_somebody_who_is_erased_is_too_late(
    db: Database, team: Team
) -> None:
    target = await make_batch(db, team=team, kind=Kind.CALL, state=BatchState.COMPLETED)
    [item_id] = await make_items(
        db, team=team, batch_id=target, number=NUMBER, phase=Phase.DONE, status="failed"
    )
    async with db.transaction() as conn:
        await stored.note_items(conn, [item_id], now=db.clock())
    staging = await begin_to_join(db, team, target)
    await change(
        db,
        "INSERT INTO staged_mends (upload_id, line, item_id, is_refused, payload, number)"
        " VALUES (%s, 1, %s, false, '{}', %s)",
        *(staging, item_id, OTHER),
    )
    await resume_joins(db)
    assert await rows_of(db, "SELECT phase, number FROM items JOIN item_data ON item_id = id") == [
        ("done", NUMBER)
    ]
    assert await rows_of(db, "SELECT code FROM row_warnings") == [("item_not_failed",)]


@pytest.mark.parametrize("left", [{"erased": True}, {"expired": True}])
async def test_row_that_corrects_an_item_that_was_taken_out_meanwhile_is_too_late(
    db: Database, team: Team, left: JsonObject
) -> None:
    target = await make_batch(db, team=team, kind=Kind.CALL, state=BatchState.COMPLETED)
    [item_id] = await make_items(
        db, team=team, batch_id=target, payload=left, phase=Phase.DONE, status="failed"
    )
    staging = await begin_to_join(db, team, target)
    await change(
        db,
        "INSERT INTO staged_mends (upload_id, line, item_id, is_refused, payload, number)"
        " VALUES (%s, 1, %s, false, '{}', %s)",
        *(staging, item_id, NUMBER),
    )
    await resume_joins(db)
    assert await rows_of(
        db, "SELECT phase, payload, number FROM items JOIN item_data ON item_id = id"
    ) == [("done", left, None)]
    assert await rows_of(db, "SELECT code FROM row_warnings") == [("item_not_failed",)]
    assert await rows_of(db, "SELECT state FROM batches") == [("completed",)]


async def fail_calls(db: Database, team: Team) -> tuple[UUID, list[dict[str, str]]]:
    """Make an ended batch of two calls that failed; return it with their rows of its mend file."""
    batch_id = (await upload(db, FILE.encode(), team=team)).batch_id
    await dispatch_batch(db, team=team, kind=Kind.CALL, batch_id=batch_id)
    await end_items(db, batch_id, "failed", "a", "c")
    return batch_id, await failed_rows(db, team, batch_id)


async def failed_rows(db: Database, team: Team, batch_id: UUID) -> list[dict[str, str]]:
    return [row for row in await mend_rows(db, team, batch_id) if row["item_id"]]


STANDS = """
SELECT phase, try, number, payload FROM items JOIN item_data ON item_id = id ORDER BY position
"""
KEPT = "SELECT count(*) FROM rejected_rows WHERE item_id IS NOT NULL"
TOLD = "SELECT count(*) FROM row_warnings WHERE code = 'item_taken_out'"


@pytest.mark.parametrize("number", ["+4520123451", "+4520123459", "soon"])
async def test_old_mend_file_does_not_send_again_who_was_erased(
    db: Database, team: Team, number: str
) -> None:
    batch_id, rows = await fail_calls(db, team)
    assert [row["contact_number"] for row in rows] == ["+4520123451", "+4520123453"]
    await privacy.erase_person(db, team=team, actor=ACTOR, number="+4520123451", email=None)
    assert await failed_rows(db, team, batch_id) == rows[1:]

    rows[0]["contact_number"] = number
    report = await add(db, csv_of(rows), team=team, batch_id=batch_id)

    assert (report.corrected, report.refused) == (1, 1)
    assert report.codes["item_taken_out"] == 1
    assert await rows_of(db, STANDS) == [
        ("done", 1, None, {"erased": True}),
        ("ready", 2, "+4520123453", {"name": "c"}),
    ]
    # As a refused row it would be in the next mend file, and hold the person once more.
    assert await rows_of(db, KEPT) == [(0,)]
    assert await rows_of(db, TOLD) == [(1,)]
    await check_books(db)


async def test_old_mend_file_does_not_send_again_what_expired(db: Database, team: Team) -> None:
    batch_id, rows = await fail_calls(db, team)
    ended = db.clock() - timedelta(days=10)
    await change(db, "UPDATE batches SET finished_at = %s WHERE id = %s", ended, batch_id)
    await retention.set_days(db, team=team, days={"items_days": 5})
    await retention.expire(db)
    assert await failed_rows(db, team, batch_id) == []

    report = await add(db, csv_of(rows), team=team, batch_id=batch_id)

    assert (report.corrected, report.refused, report.codes["item_taken_out"]) == (0, 2, 2)
    assert await rows_of(db, STANDS) == [("done", 1, None, {"expired": True})] * 2
    assert await rows_of(db, "SELECT state FROM batches") == [("completed",)]
    assert await rows_of(db, KEPT) == [(0,)]
    assert await rows_of(db, TOLD) == [(2,)]
    await check_books(db)


WAITERS = """
SELECT count(*) FROM pg_stat_activity
 WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


async def test_rows_that_join_lock_no_item_before_the_batch_they_leave(
    db: Database, team: Team
) -> None:
    target = await make_batch(db, team=team, kind=Kind.CALL, state=BatchState.PAUSED)
    staging = await begin_to_join(db, team, target)
    await make_items(db, team=team, batch_id=staging, n=2, number=NUMBER)
    async with asyncio.timeout(20):
        async with db.transaction() as conn:
            await conn.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            # As an erasure does: the batch first, its items then.
            await conn.execute("SELECT FROM batches WHERE id = %s FOR UPDATE", (staging,))
            joining = asyncio.create_task(resume_joins(db))
            while await rows_of(db, WAITERS) != [(1,)]:
                assert not joining.done()
                await asyncio.sleep(0.01)
            items = "SELECT FROM items WHERE batch_id = %s FOR UPDATE NOWAIT"
            assert (await conn.execute(items, (staging,))).rowcount == 2
        await joining
    assert await rows_of(db, "SELECT state FROM uploads") == [("done",)]

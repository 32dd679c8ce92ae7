"""Importing a list: staged, opened at once, or gone without a trace."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from batchyard.errors import Conflict, InvalidRequest, NotFound
from batchyard.models import RetryPolicy, Team
from batchyard.operations import staging
from batchyard.operations.imports import CallSettings, FileImport, import_calls, remove_idle
from batchyard.operations.teams import create_team
from batchyard.store.db import Connection, Database
from tests.clocks import SetClock
from tests.operations.lists import CALLS, add

TABLES = (
    "items",
    "item_data",
    "rejected_rows",
    "row_warnings",
    "batches",
    "batch_counts",
    "uploads",
    "staged_mends",
)


@pytest.fixture
async def team(db: Database) -> Team:
    return await create_team(db, name="Acme", slug="acme")


def csv_of(rows: Sequence[str]) -> bytes:
    return "\n".join(["contact_number,name", *rows, ""]).encode()


def good_rows(count: int) -> list[str]:
    return [f"+4520{number:06d},N{number}" for number in range(count)]


def settings(agent_id: UUID | None = None, *, creates_agent: bool = True) -> CallSettings:
    return CallSettings(
        agent_id=agent_id or uuid4(),
        creates_agent=creates_agent,
        file_name="calls.csv",
        retry_policy=RetryPolicy(),
    )


async def stage(
    db: Database, *, team: Team, content: bytes, refuses_same_file: bool = False
) -> FileImport:
    async with import_calls(
        db, team=team, refuses_unassigned=False, refuses_same_file=refuses_same_file
    ) as upload:
        await upload.feed(content)
        await upload.finish_file()
    return upload


async def count(db: Database, table: str) -> int:
    async with db.pool.connection() as conn:
        row = await (await conn.execute(f"SELECT count(*) FROM {table}")).fetchone()
    assert row is not None
    return int(str(row[0]))


async def rows_of(db: Database, statement: str) -> list[tuple[object, ...]]:
    async with db.pool.connection() as conn:
        return await (await conn.execute(statement)).fetchall()


async def test_staged_rows_are_invisible_until_opened(db: Database, team: Team) -> None:
    upload = await stage(db, team=team, content=csv_of([*good_rows(2500), "12,x", "+45,y"]))
    listed = "SELECT state, total_rows, refused_rows, agent_id IS NULL FROM batches"
    assert await rows_of(db, listed) == [("importing", 2502, 2, True)]
    await upload.open(settings())
    assert await rows_of(db, listed) == [("open", 2502, 2, False)]
    assert await count(db, "items") == 2500
    assert await rows_of(db, "SELECT phase, status, n FROM batch_counts") == [
        ("ready", "waiting", 2500)
    ]


async def test_refused_rows_are_kept_with_line_code_and_cells(db: Database, team: Team) -> None:
    content = csv_of(['"+4520123456","a\nb"', "1.23E+11,c", "", ",d"])
    upload = await stage(db, team=team, content=content)
    await upload.open(settings())
    assert await rows_of(db, "SELECT line, code, cells FROM rejected_rows ORDER BY line") == [
        (4, "phone_scientific_notation", ["1.23E+11", "c"]),
        (6, "phone_missing", ["", "d"]),
    ]
    assert await rows_of(db, "SELECT position, payload FROM item_data") == [(2, {"name": "a\nb"})]


async def test_cells_missing_at_the_end_are_empty_and_warned_about(
    db: Database, team: Team
) -> None:
    upload = await stage(db, team=team, content=csv_of(["+4520123456", "12", "+4520123457,=)"]))
    await upload.open(settings())
    assert await rows_of(db, "SELECT position, payload FROM item_data") == [(2, {"name": ""})]
    assert await rows_of(db, "SELECT line, code FROM row_warnings") == [(2, "cells_missing")]
    assert await rows_of(db, "SELECT line, code, cells FROM rejected_rows ORDER BY line") == [
        (3, "phone_no_plus", ["12"]),
        (4, "formula_cell", ["+4520123457", "=)"]),
    ]


async def test_duplicates_are_kept_and_each_later_one_is_warned_about(
    db: Database, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "DUPLICATE_ROWS", 3)
    rows = [
        "+4520123451,a",
        "+4520123452,b",
        "+45 20 12 34 51,c",
        "+4520123451,d",
        "+4520123453,e",
    ]
    upload = await stage(db, team=team, content=csv_of(rows))
    await upload.open(settings())
    warned = await rows_of(db, "SELECT line, code FROM row_warnings ORDER BY line")
    assert warned == [(4, "duplicate_in_file"), (5, "duplicate_in_file")]
    assert await count(db, "items") == 5


async def test_failed_upload_leaves_nothing(db: Database, team: Team) -> None:
    async def fail() -> None:
        async with import_calls(db, team=team, refuses_unassigned=False) as upload:
            await upload.feed(csv_of([*good_rows(20_000), "x,y"]))
            await upload.finish_file()
            assert await count(db, "items") == 20_000
            raise InvalidRequest("cut off")

    with pytest.raises(InvalidRequest, match="cut off"):
        await fail()
    assert [await count(db, table) for table in TABLES] == [0] * len(TABLES)


async def test_agent_of_another_team_leaves_nothing(db: Database, team: Team) -> None:
    other = await create_team(db, name="Other", slug="other")
    agent_id = uuid4()
    theirs = await stage(db, team=other, content=csv_of(good_rows(1)))
    await theirs.open(settings(agent_id))

    async def fail() -> None:
        async with import_calls(db, team=team, refuses_unassigned=False) as upload:
            await upload.feed(csv_of(good_rows(3)))
            await upload.finish_file()
            await upload.open(settings(agent_id))

    with pytest.raises(NotFound):
        await fail()
    assert await count(db, "items") == 1


async def test_unknown_agent_is_not_found_where_none_is_created(db: Database, team: Team) -> None:
    upload = await stage(db, team=team, content=csv_of(good_rows(1)))
    with pytest.raises(NotFound):
        await upload.open(settings(creates_agent=False))
    assert await count(db, "agents") == 0


async def test_idle_import_is_removed_and_a_living_one_is_not(db: Database, team: Team) -> None:
    await stage(db, team=team, content=csv_of([*good_rows(12_000), "x,y"]))
    now = db.clock()
    assert await remove_idle(db, now=now + timedelta(seconds=800), idle_seconds=900) == 0
    assert await count(db, "items") == 12_000
    assert await remove_idle(db, now=now + timedelta(seconds=901), idle_seconds=900) == 1
    assert [await count(db, table) for table in TABLES] == [0] * len(TABLES)


async def test_upload_goes_on_after_its_removal_only_to_be_told(db: Database, team: Team) -> None:
    upload = await stage(db, team=team, content=csv_of(good_rows(1)))
    await remove_idle(db, now=db.clock() + timedelta(hours=1), idle_seconds=900)
    with pytest.raises(Conflict, match="removed"):
        await upload.open(settings())
    assert [await count(db, table) for table in TABLES] == [0] * len(TABLES)


async def test_opened_batch_is_never_removed_as_idle(db: Database, team: Team) -> None:
    upload = await stage(db, team=team, content=csv_of(good_rows(1)))
    await upload.open(settings())
    assert await remove_idle(db, now=db.clock() + timedelta(hours=1), idle_seconds=900) == 0
    await staging.remove_import(db, batch_id=upload.batch_id)
    assert await count(db, "batches") == 1
    assert await count(db, "items") == 1


@pytest.mark.parametrize("content", [b"", b"contact_number,name\n", b"contact_number\n\n ,\n"])
async def test_file_without_rows_never_touches_the_database(
    db: Database, team: Team, content: bytes
) -> None:
    with pytest.raises(InvalidRequest):
        await stage(db, team=team, content=content)
    assert await count(db, "batches") == 0


@pytest.mark.parametrize("minutes,is_told", [(14, True), (16, False)])
async def test_very_same_file_is_told_for_a_quarter_of_an_hour(
    db: Database, team: Team, minutes: int, is_told: bool
) -> None:
    clock = SetClock(db.clock())
    db.clock = clock
    first = await stage(db, team=team, content=csv_of(good_rows(2)))
    await first.open(settings())
    clock.shift += timedelta(minutes=minutes)
    second = await stage(db, team=team, content=csv_of(good_rows(2)))
    await second.open(settings())
    assert second.duplicate_of == (first.batch_id if is_told else None)
    warned = await rows_of(db, "SELECT batch_id FROM row_warnings WHERE code = 'same_file'")
    assert warned == ([(second.batch_id,)] if is_told else [])


WAITERS = """
SELECT count(*) FROM pg_stat_activity
 WHERE datname = current_database() AND (wait_event_type, wait_event) = ('Lock', 'advisory')
"""


async def test_very_same_file_at_one_moment_is_refused_the_second_time(
    db: Database, team: Team
) -> None:
    content, is_open, goes_on = csv_of(good_rows(2)), asyncio.Event(), asyncio.Event()
    other = await stage(db, team=team, content=csv_of(good_rows(1)))
    await other.open(settings())
    first, second = [
        await stage(db, team=team, content=content, refuses_same_file=True) for _ in range(2)
    ]

    async def hold(conn: Connection) -> None:
        await conn.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        is_open.set()
        await goes_on.wait()

    opened = asyncio.create_task(first.open(settings(), seal=hold))
    await is_open.wait()
    others = [
        asyncio.create_task(second.open(settings())),
        asyncio.create_task(
            add(
                db,
                content,
                team=team,
                batch_id=other.batch_id,
                options=replace(CALLS, refuses_same_file=True),
            )
        ),
    ]
    async with asyncio.timeout(20):
        while await rows_of(db, WAITERS) != [(2,)]:
            assert not any(one.done() for one in others)
            await asyncio.sleep(0.01)
        goes_on.set()
        await opened
        for refused in await asyncio.gather(*others, return_exceptions=True):
            assert isinstance(refused, InvalidRequest), refused
            assert refused.code == "same_file"
    taken = "SELECT total_rows FROM batches WHERE state <> 'importing' ORDER BY total_rows"
    assert await rows_of(db, taken) == [(1,), (2,)]

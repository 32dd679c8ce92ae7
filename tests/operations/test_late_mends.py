"""Rows that were checked in time and join too late: all are told of, whatever their block."""

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

import pytest

from batchyard.intake.choices import RowPolicy
from batchyard.intake.options import UploadReport
from batchyard.models import Kind, Team
from batchyard.operations import joins
from batchyard.operations.batches import dispatch_batch
from batchyard.operations.joins import add_rows
from batchyard.operations.reading import RowsRefused
from batchyard.store.db import Database
from tests.factories import make_team
from tests.operations.lists import CALLS, add, check_books, rows_of, upload
from tests.operations.test_joins import FILE, csv_of, end_items, mend_rows


@pytest.fixture
async def team(db: Database) -> Team:
    return await make_team(db)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each row join in a transaction of its own."""
    monkeypatch.setattr(joins, "BLOCK", 1)


async def make_mended(db: Database, team: Team) -> tuple[UUID, list[dict[str, str]]]:
    """Make a batch of which two rows were refused; return it with both rows mended."""
    batch_id = (await upload(db, FILE.encode(), team=team)).batch_id
    rows = await mend_rows(db, team, batch_id)
    numbers = ("+4520123452", "+4520123454")
    return batch_id, [
        row | {"contact_number": number} for row, number in zip(rows, numbers, strict=True)
    ]


async def join_twice(
    db: Database, team: Team, batch_id: UUID, rows: Sequence[dict[str, str]]
) -> list[UploadReport]:
    """Have the same rows checked in two uploads before the first of these joins."""
    async with (
        add_rows(db, team=team, batch_id=batch_id, options=CALLS) as first,
        add_rows(db, team=team, batch_id=batch_id, options=CALLS) as second,
    ):
        for importing in (first, second):
            await importing.feed(csv_of(rows))
            await importing.finish_file()
        return [await one.join(file_name=None) for one in (first, second)]


async def test_mends_that_are_too_late_are_all_told(db: Database, team: Team) -> None:
    batch_id, rows = await make_mended(db, team)

    reports = await join_twice(db, team, batch_id, rows)

    assert [(one.accepted, one.refused) for one in reports] == [(2, 0), (0, 2)]
    assert reports[1].codes["row_not_refused"] == 2
    counts = "SELECT rows, accepted, refused FROM uploads ORDER BY created_at"
    assert await rows_of(db, counts) == [(4, 2, 2), (2, 2, 0), (2, 0, 2)]
    remarks = "SELECT line FROM row_warnings WHERE code = 'row_not_refused' ORDER BY line"
    assert await rows_of(db, remarks) == [(10,), (11,)]
    assert await rows_of(db, "SELECT count(*) FROM items") == [(4,)]
    await check_books(db)


async def test_corrections_that_are_too_late_are_all_told(db: Database, team: Team) -> None:
    batch_id = (await upload(db, FILE.encode(), team=team)).batch_id
    await dispatch_batch(db, team=team, kind=Kind.CALL, batch_id=batch_id)
    await end_items(db, batch_id, "failed", "a", "c")
    rows = [row for row in await mend_rows(db, team, batch_id) if row["item_id"]]

    reports = await join_twice(db, team, batch_id, rows)

    assert [(one.corrected, one.refused) for one in reports] == [(2, 0), (0, 2)]
    assert reports[1].codes["item_not_failed"] == 2
    counts = "SELECT rows, corrected, refused FROM uploads ORDER BY created_at"
    assert await rows_of(db, counts) == [(4, 0, 2), (2, 2, 0), (2, 0, 2)]
    remarks = "SELECT line FROM row_warnings WHERE code = 'item_not_failed' ORDER BY line"
    assert await rows_of(db, remarks) == [(10,), (11,)]
    assert await rows_of(db, "SELECT DISTINCT try FROM items") == [(2,)]
    await check_books(db)


async def test_corrections_of_what_was_taken_out_meanwhile_are_all_told(
    db: Database, team: Team
) -> None:
    batch_id = (await upload(db, FILE.encode(), team=team)).batch_id
    await dispatch_batch(db, team=team, kind=Kind.CALL, batch_id=batch_id)
    await end_items(db, batch_id, "failed", "a", "c")
    rows = [row for row in await mend_rows(db, team, batch_id) if row["item_id"]]

    async with add_rows(db, team=team, batch_id=batch_id, options=CALLS) as importing:
        await importing.feed(csv_of(rows))
        await importing.finish_file()
        async with db.transaction() as conn:
            await conn.execute("UPDATE item_data SET payload = '{\"expired\": true}'")
        report = await importing.join(file_name=None)

    assert (report.corrected, report.refused, report.codes["item_not_failed"]) == (0, 2, 2)
    stands = "SELECT DISTINCT phase, try, payload FROM items JOIN item_data ON item_id = id"
    assert await rows_of(db, stands) == [("done", 1, {"expired": True})]
    assert await rows_of(db, "SELECT state FROM batches WHERE id = %s", batch_id) == [
        ("completed",)
    ]
    await check_books(db)


async def test_all_or_nothing_takes_nothing_where_a_later_block_is_too_late(
    db: Database, team: Team
) -> None:
    batch_id, rows = await make_mended(db, team)
    options = replace(CALLS, policy=RowPolicy.ALL_OR_NOTHING)

    async with add_rows(db, team=team, batch_id=batch_id, options=options) as importing:
        await importing.feed(csv_of(rows))
        await importing.finish_file()
        await add(db, csv_of(rows[1:]), team=team, batch_id=batch_id)
        with pytest.raises(RowsRefused) as refused:
            await importing.join(file_name=None)

    assert (refused.value.report.accepted, refused.value.report.refused) == (1, 1)
    left = "SELECT line FROM rejected_rows WHERE batch_id = %s"
    assert await rows_of(db, left, batch_id) == [(3,)]
    await check_books(db)


async def test_row_that_is_mended_between_two_blocks_is_counted_as_refused(
    db: Database, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id, rows = await make_mended(db, team)
    rest = joins._join_rest

    async def mend_before_the_rest(*args: object) -> None:
        monkeypatch.setattr(joins, "_join_rest", rest)
        await add(db, csv_of(rows[1:]), team=team, batch_id=batch_id)
        await rest(*args)  # type: ignore[arg-type]  # as it was called

    monkeypatch.setattr(joins, "_join_rest", mend_before_the_rest)
    await add(db, csv_of(rows), team=team, batch_id=batch_id)

    counts = (
        "SELECT rows, accepted, refused, codes -> 'row_not_refused', codes ? 'item_not_failed'"
        " FROM uploads ORDER BY created_at"
    )
    assert await rows_of(db, counts) == [
        (4, 2, 2, None, False),
        (2, 1, 1, 1, False),
        (1, 1, 0, None, False),
    ]
    await check_books(db)

"""Rows that join a batch: more of them, mended ones, corrections of failed items."""

import asyncio
import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from batchyard.errors import Conflict, InvalidRequest, NotFound
from batchyard.intake.choices import Duplicates, RowPolicy
from batchyard.intake.columns import Columns
from batchyard.models import Kind, Team
from batchyard.operations import joins, reading
from batchyard.operations.batches import dispatch_batch
from batchyard.operations.contacts import add_do_not_contact
from batchyard.operations.control import cancel_batch
from batchyard.operations.joins import add_rows, resume_joins
from batchyard.operations.mends import open_mend_file
from batchyard.operations.reading import RowsRefused
from batchyard.store.db import Database
from tests.factories import make_team
from tests.operations.lists import (
    CALLS,
    SHIPMENT_HEADER,
    SHIPMENTS,
    add,
    check_books,
    rows_of,
    shipment_row,
    upload,
)

FILE = "contact_number,name\n+4520123451,a\n12,b\n+4520123453,c\n+99912,d\n"


@pytest.fixture
async def team(db: Database) -> Team:
    return await make_team(db)


async def mend_rows(db: Database, team: Team, batch_id: UUID) -> list[dict[str, str]]:
    """Return the mend file of a batch, row by row."""
    file = await open_mend_file(db, team=team, batch_id=batch_id)
    text = b"".join([piece async for piece in file.content]).decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def csv_of(rows: Sequence[dict[str, str]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


async def end_items(db: Database, batch_id: UUID, status: str, *names: str) -> None:
    """End items of a running batch, and the batch."""
    async with db.transaction() as conn:
        await conn.execute(
            "UPDATE items SET phase = 'done', status = CASE WHEN d.payload ->> 'name' = ANY (%s)"
            " THEN %s ELSE 'completed' END FROM item_data d"
            " WHERE d.item_id = items.id AND items.batch_id = %s",
            (list(names), status, batch_id),
        )
        await conn.execute(
            "UPDATE batches SET state = 'completed', finished_at = %s WHERE id = %s",
            (db.clock(), batch_id),
        )


async def test_more_rows_join_an_open_batch_behind_its_own(db: Database, team: Team) -> None:
    batch_id = (await upload(db, FILE.encode(), team=team)).batch_id
    report = await add(db, b"phone;extra\n+4520123455;x\nzz;y\n", team=team, batch_id=batch_id)
    assert (report.rows, report.accepted, report.refused) == (2, 1, 1)
    assert await rows_of(
        db, "SELECT position, number, payload FROM item_data ORDER BY position"
    ) == [
        (2, "+4520123451", {"name": "a"}),
        (4, "+4520123453", {"name": "c"}),
        (7, "+4520123455", {"extra": "x"}),
    ]
    assert await rows_of(db, "SELECT line, code FROM rejected_rows ORDER BY line") == [
        (3, "phone_no_plus"),
        (5, "phone_unknown_country"),
        (8, "phone_letters"),
    ]
    assert await rows_of(db, "SELECT total_rows, refused_rows, state FROM batches") == [
        (6, 3, "open")
    ]
    await check_books(db)


async def test_mended_rows_take_the_place_of_the_refused_ones(db: Database, team: Team) -> None:
    batch_id = (await upload(db, FILE.encode(), team=team)).batch_id
    rows = await mend_rows(db, team, batch_id)
    assert [(row["name"], row["error_code"], row["error_line"]) for row in rows] == [
        ("b", "phone_no_plus", "3"),
        ("d", "phone_unknown_country", "5"),
    ]
    rows[0]["contact_number"] = "+4520123452"
    report = await add(db, csv_of(rows), team=team, batch_id=batch_id)
    assert (report.accepted, report.refused) == (1, 1)
    assert await rows_of(
        db, "SELECT position, number, payload FROM item_data WHERE position = 3"
    ) == [(3, "+4520123452", {"name": "b"})]
    assert await rows_of(db, "SELECT line, code FROM rejected_rows") == [
        (5, "phone_unknown_country")
    ]
    assert await rows_of(db, "SELECT total_rows, refused_rows FROM batches") == [(4, 1)]
    await check_books(db)
    rows = await mend_rows(db, team, batch_id)
    rows[0]["contact_number"] = "+4520123454"
    await add(db, csv_of(rows), team=team, batch_id=batch_id)
    assert await mend_rows(db, team, batch_id) == []
    assert await rows_of(db, "SELECT total_rows, refused_rows FROM batches") == [(4, 0)]
    assert await rows_of(db, "SELECT count(*) FROM staged_mends") == [(0,)]
    await check_books(db)


async def test_rows_left_out_of_a_mend_file_stay_refused(db: Database, team: Team) -> None:
    batch_id = (await upload(db, FILE.encode(), team=team)).batch_id
    rows = await mend_rows(db, team, batch_id)
    await add(
        db, csv_of([rows[1] | {"contact_number": "+4520123454"}]), team=team, batch_id=batch_id
    )
    assert await rows_of(db, "SELECT line FROM rejected_rows") == [(3,)]
    await check_books(db)


async def test_mend_file_sent_again_adds_only_what_was_not_mended_before(
    db: Database, team: Team
) -> None:
    batch_id = (await upload(db, FILE.encode(), team=team)).batch_id
    rows = await mend_rows(db, team, batch_id)
    rows[0]["contact_number"] = "+4520123452"
    await add(db, csv_of(rows), team=team, batch_id=batch_id)
    rows[1]["contact_number"] = "+4520123454"
    added = {**dict.fromkeys(rows[0], ""), "contact_number": "+4520123455", "name": "e"}
    # Without a look at earlier batches too: a row that goes must not take the others along.
    options = replace(CALLS, recent_days=0)
    report = await add(db, csv_of([*rows, added]), team=team, batch_id=batch_id, options=options)
    assert (report.rows, report.accepted, report.refused) == (3, 2, 1)
    assert [(row.line, row.code) for row in report.first_refusals] == [(2, "row_not_refused")]
    assert await rows_of(db, "SELECT position, number FROM item_data ORDER BY position") == [
        (2, "+4520123451"),
        (3, "+4520123452"),
        (4, "+4520123453"),
        (5, "+4520123454"),
        (12, "+4520123455"),
    ]
    # Not among the refused rows: from there it could be mended once more.
    assert await mend_rows(db, team, batch_id) == []
    remarks = "SELECT line FROM row_warnings WHERE code = 'row_not_refused'"
    assert await rows_of(db, remarks) == [(10,)]
    assert await rows_of(db, "SELECT total_rows, refused_rows FROM batches") == [(5, 0)]
    await check_books(db)


async def test_two_mends_of_one_row_at_once_make_one_item(db: Database, team: Team) -> None:
    batch_id = (await upload(db, FILE.encode(), team=team)).batch_id
    rows = await mend_rows(db, team, batch_id)
    # In no assigned range: a remark goes along, and must not come to stand on the other's item.
    bodies = [
        csv_of([rows[0] | {"contact_number": number}]) for number in ("+4520123452", "+11112223333")
    ]
    async with (
        add_rows(db, team=team, batch_id=batch_id, options=CALLS) as first,
        add_rows(db, team=team, batch_id=batch_id, options=CALLS) as second,
    ):
        for importing, body in zip((first, second), bodies, strict=True):
            await importing.feed(body)
            await importing.finish_file()
        reports = [await one.join(file_name=None) for one in (first, second)]
    assert [(one.accepted, one.refused) for one in reports] == [(1, 0), (0, 1)]
    assert reports[1].codes["row_not_refused"] == 1
    assert await rows_of(db, "SELECT number FROM item_data WHERE position NOT IN (2, 4)") == [
        ("+4520123452",)
    ]
    remarks = "SELECT line, code FROM row_warnings WHERE line IS NOT NULL ORDER BY code"
    assert await rows_of(db, remarks) == [(9, "phone_unassigned_range"), (9, "row_not_refused")]
    assert await rows_of(db, "SELECT rows, accepted, refused FROM uploads ORDER BY created_at") == [
        (4, 2, 2),
        (1, 1, 0),
        (1, 0, 1),
    ]
    assert await rows_of(db, "SELECT total_rows, refused_rows FROM batches") == [(4, 1)]
    await check_books(db)


async def test_mends_that_commit_at_the_same_moment_make_one_item(db: Database, team: Team) -> None:
    batch_id = (await upload(db, FILE.encode(), team=team)).batch_id
    rows = await mend_rows(db, team, batch_id)
    body = csv_of([rows[0] | {"contact_number": "+4520123452"}])
    options = replace(CALLS, policy=RowPolicy.ALL_OR_NOTHING)
    ready = asyncio.Barrier(2)

    async def mend() -> bool:
        try:
            async with add_rows(db, team=team, batch_id=batch_id, options=options) as importing:
                await importing.feed(body)
                await importing.finish_file()
                await ready.wait()
                await importing.join(file_name=None)
        except RowsRefused:
            return False
        return True

    assert sorted(await asyncio.gather(mend(), mend())) == [False, True]
    assert await rows_of(db, "SELECT count(*) FROM items") == [(3,)]
    await check_books(db)


async def test_row_that_is_there_twice_mends_once_whatever_its_block(
    db: Database, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = (await upload(db, FILE.encode(), team=team)).batch_id
    row = (await mend_rows(db, team, batch_id))[0]
    twice = [row | {"contact_number": f"+452012345{n}"} for n in (6, 7)]
    monkeypatch.setattr(reading, "BLOCK_ROWS", 1)
    report = await add(db, csv_of(twice), team=team, batch_id=batch_id)
    assert (report.accepted, report.refused) == (1, 1)
    assert await rows_of(db, "SELECT number FROM item_data WHERE position = 3") == [
        ("+4520123456",)
    ]
    assert await rows_of(db, "SELECT total_rows, refused_rows FROM batches") == [(4, 1)]
    await check_books(db)


async def test_row_that_was_mended_by_another_is_not_offered_again_when_it_is_still_bad(
    db: Database, team: Team
) -> None:
    batch_id = (await upload(db, FILE.encode(), team=team)).batch_id
    rows = await mend_rows(db, team, batch_id)
    await add(
        db, csv_of([rows[0] | {"contact_number": "+4520123452"}]), team=team, batch_id=batch_id
    )
    rows[1]["contact_number"] = "+4520123454"
    report = await add(db, csv_of(rows), team=team, batch_id=batch_id)
    assert report.codes["row_not_refused"] == 1
    assert "phone_no_plus" not in report.codes
    assert await mend_rows(db, team, batch_id) == []
    await check_books(db)


async def test_failed_items_are_corrected_and_the_ended_batch_runs_again(
    db: Database, team: Team
) -> None:
    batch_id = (await upload(db, FILE.encode(), team=team)).batch_id
    await dispatch_batch(db, team=team, kind=Kind.CALL, batch_id=batch_id)
    await end_items(db, batch_id, "failed", "c")
    rows = await mend_rows(db, team, batch_id)
    (failed,) = [row for row in rows if row["item_id"]]
    assert failed["contact_number"] == "+4520123453"
    assert failed["error_code"] == "failed"
    changed = [failed | {"contact_number": "+4520123499", "name": "C"}]
    report = await add(db, csv_of(changed), team=team, batch_id=batch_id)
    assert (report.accepted, report.corrected, report.refused) == (0, 1, 0)
    assert await rows_of(
        db,
        "SELECT phase, status, try, number, payload, corrections -> 0 -> 'payload',"
        " corrections -> 0 ->> 'number', corrections -> 0 -> 'attempt'"
        " FROM items JOIN item_data ON item_id = id WHERE try > 1",
    ) == [("ready", "retrying", 2, "+4520123499", {"name": "C"}, {"name": "c"}, "+4520123453", 1)]
    assert await rows_of(db, "SELECT state, finished_at FROM batches") == [("running", None)]
    assert await rows_of(db, "SELECT wake_at <= now() FROM wakes") == [(True,)]
    await check_books(db)


async def test_correction_that_is_refused_waits_for_a_better_one(db: Database, team: Team) -> None:
    batch_id = (await upload(db, FILE.encode(), team=team)).batch_id
    await dispatch_batch(db, team=team, kind=Kind.CALL, batch_id=batch_id)
    await end_items(db, batch_id, "failed", "c")
    (failed,) = [row for row in await mend_rows(db, team, batch_id) if row["item_id"]]
    worse = [failed | {"contact_number": "soon"}]
    report = await add(db, csv_of(worse), team=team, batch_id=batch_id)
    assert (report.corrected, report.refused) == (0, 1)
    assert await rows_of(db, "SELECT state, total_rows, refused_rows FROM batches") == [
        ("completed", 4, 2)
    ]
    await check_books(db)
    (again,) = [row for row in await mend_rows(db, team, batch_id) if row["item_id"]]
    assert (again["contact_number"], again["error_code"]) == ("soon", "phone_letters")
    better = [again | {"contact_number": "+4520123499"}]
    report = await add(db, csv_of(better), team=team, batch_id=batch_id)
    assert report.corrected == 1
    assert [row for row in await mend_rows(db, team, batch_id) if row["item_id"]] == []
    await check_books(db)


async def test_item_that_did_not_fail_or_is_anothers_is_not_corrected(
    db: Database, team: Team
) -> None:
    batch_id = (await upload(db, FILE.encode(), team=team)).batch_id
    ((item_id,),) = await rows_of(db, "SELECT item_id FROM item_data WHERE position = 2")
    header = "contact_number,name,error_code,error,item_id\n"
    content = f"{header}+4520123499,x,e,e,{item_id}\n+4520123498,y,e,e,{uuid4()}\n+45,z,,,no-id\n"
    report = await add(db, content.encode(), team=team, batch_id=batch_id)
    assert dict(report.codes) == {"item_not_failed": 1, "item_unknown": 2}
    assert await rows_of(db, "SELECT DISTINCT try FROM items") == [(1,)]
    await check_books(db)


async def test_shipments_are_mended_in_their_flat_columns(db: Database, team: Team) -> None:
    content = "\n".join(
        [SHIPMENT_HEADER, shipment_row(1), shipment_row(2, country="XX"), shipment_row(3)]
    )
    importing = await upload(db, content.encode(), team=team, options=SHIPMENTS)
    rows = await mend_rows(db, team, importing.batch_id)
    assert [(row["reference"], row["country"], row["error_code"]) for row in rows] == [
        ("R-2", "XX", "country_unknown")
    ]
    assert "parties.receiver.address.country" in rows[0]["error"]
    rows[0]["country"] = "dk"
    await add(db, csv_of(rows), team=team, batch_id=importing.batch_id, options=SHIPMENTS)
    assert await rows_of(db, "SELECT position, reference FROM item_data ORDER BY position") == [
        (2, "R-1"),
        (3, "R-2"),
        (4, "R-3"),
    ]
    await end_items(db, importing.batch_id, "failed")
    async with db.transaction() as conn:
        await conn.execute("UPDATE items SET status = 'failed'")
    rows = await mend_rows(db, team, importing.batch_id)
    assert [row["zip"] for row in rows] == ["1234"] * 3
    assert rows[0]["parcels.0.items.0.description"] == "Mug"
    report = await add(db, csv_of(rows), team=team, batch_id=importing.batch_id, options=SHIPMENTS)
    assert report.corrected == 3
    await check_books(db)


async def test_large_file_joins_in_blocks_and_survives_an_interruption(
    db: Database, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = (await upload(db, FILE.encode(), team=team)).batch_id
    monkeypatch.setattr(joins, "BLOCK", 4)
    more = "contact_number,name\n" + "".join(f"+45201235{n:02d},n\n{n}\n" for n in range(10))

    async def fail(*_: object) -> None:
        raise asyncio.CancelledError

    rest = joins._join_rest
    monkeypatch.setattr(joins, "_join_rest", fail)
    async with add_rows(db, team=team, batch_id=batch_id, options=CALLS) as importing:
        await importing.feed(more.encode())
        await importing.finish_file()
        with pytest.raises(asyncio.CancelledError):
            await importing.join(file_name=None)
    assert await rows_of(db, "SELECT state FROM uploads ORDER BY created_at") == [
        ("done",),
        ("joining",),
    ]
    assert await rows_of(db, "SELECT total_rows FROM batches WHERE state = 'open'") == [(12,)]
    monkeypatch.setattr(joins, "_join_rest", rest)
    await resume_joins(db)
    assert await rows_of(db, "SELECT state FROM uploads WHERE state = 'joining'") == [("joining",)]
    monkeypatch.setattr(joins, "INTERRUPTED_AFTER", timedelta(0))
    await resume_joins(db)
    assert await rows_of(db, "SELECT state, total_rows, refused_rows FROM batches") == [
        ("open", 24, 12)
    ]
    assert await rows_of(db, "SELECT DISTINCT state FROM uploads") == [("done",)]
    await check_books(db)


async def test_refused_upload_leaves_the_batch_as_it_was(db: Database, team: Team) -> None:
    batch_id = (await upload(db, FILE.encode(), team=team)).batch_id
    options = replace(CALLS, policy=RowPolicy.ALL_OR_NOTHING)
    with pytest.raises(RowsRefused) as refused:
        await add(db, b"phone\n+4520123459\nx\n", team=team, batch_id=batch_id, options=options)
    assert [row.code for row in refused.value.report.first_refusals] == ["phone_letters"]
    with pytest.raises(InvalidRequest):
        await add(db, b"nothing here", team=team, batch_id=batch_id)
    assert await rows_of(db, "SELECT total_rows FROM batches") == [(4,)]
    assert await rows_of(db, "SELECT count(*) FROM uploads") == [(1,)]
    await check_books(db)


async def test_batch_that_is_cancelled_or_anothers_takes_no_rows(db: Database, team: Team) -> None:
    batch_id = (await upload(db, FILE.encode(), team=team)).batch_id
    other = await make_team(db)
    with pytest.raises(NotFound):
        await add(db, FILE.encode(), team=other, batch_id=batch_id)
    with pytest.raises(NotFound):
        await add(db, FILE.encode(), team=team, batch_id=batch_id, options=SHIPMENTS)
    await cancel_batch(db, team=team, kind=Kind.CALL, batch_id=batch_id)
    with pytest.raises((NotFound, Conflict)):
        await add(db, FILE.encode(), team=team, batch_id=batch_id)


async def test_rows_that_join_a_running_batch_can_be_sent_at_once(db: Database, team: Team) -> None:
    batch_id = (await upload(db, FILE.encode(), team=team)).batch_id
    await dispatch_batch(db, team=team, kind=Kind.CALL, batch_id=batch_id)
    options = replace(CALLS, duplicates=Duplicates.SKIP)
    content = b"phone\n+4520123458\n+4520123458\n"
    report = await add(db, content, team=team, batch_id=batch_id, options=options)
    assert (report.accepted, report.skipped) == (1, 1)
    assert await rows_of(
        db, "SELECT count(*) FROM items WHERE phase = 'ready' AND due_at <= now()"
    ) == [(3,)]
    await check_books(db)


async def test_columns_mean_in_a_mend_file_what_they_meant_before(db: Database, team: Team) -> None:
    columns = Columns(given=(("Kontakt", "contact_number"), ("Fornavn", "first_name")))
    content = b"Kontakt,Fornavn\n12,Bo\n+4520123451,Al\n"
    options = replace(CALLS, columns=columns)
    batch_id = (await upload(db, content, team=team, options=options)).batch_id
    rows = await mend_rows(db, team, batch_id)
    rows[0]["Kontakt"] = "+4520123452"
    assert (await add(db, csv_of(rows), team=team, batch_id=batch_id)).accepted == 1
    assert await rows_of(db, "SELECT payload FROM item_data WHERE position = 2") == [
        ({"first_name": "Bo"},)
    ]


async def test_correction_to_a_number_not_to_be_contacted_is_refused(
    db: Database, team: Team
) -> None:
    batch_id = (await upload(db, FILE.encode(), team=team)).batch_id
    await dispatch_batch(db, team=team, kind=Kind.CALL, batch_id=batch_id)
    await end_items(db, batch_id, "failed", "c")
    await add_do_not_contact(db, team=team, number="+4520123499")
    (failed,) = [row for row in await mend_rows(db, team, batch_id) if row["item_id"]]
    changed = [failed | {"contact_number": "+4520123499"}]
    report = await add(db, csv_of(changed), team=team, batch_id=batch_id)
    assert dict(report.codes) == {"do_not_contact": 1}
    await check_books(db)


async def test_very_same_file_is_told_and_can_be_refused_where_it_joins(
    db: Database, team: Team
) -> None:
    batch_id = (await upload(db, FILE.encode(), team=team)).batch_id
    more = b"phone\n+4520123458\n+4520123459\n"
    assert (await add(db, more, team=team, batch_id=batch_id)).duplicate_of is None
    # Taken, also while its rows are still on their way.
    await rows_of(db, "UPDATE uploads SET state = 'joining', ended_at = NULL RETURNING id")
    again = await add(db, more, team=team, batch_id=batch_id)
    assert (again.duplicate_of, again.codes["same_file"]) == (batch_id, 1)
    remarks = "SELECT reason LIKE %s FROM row_warnings WHERE code = 'same_file'"
    assert await rows_of(db, remarks, f"%{batch_id}%") == [(True,)]
    options = replace(CALLS, refuses_same_file=True)
    with pytest.raises(InvalidRequest) as refused:
        await add(db, more, team=team, batch_id=batch_id, options=options)
    assert refused.value.code == "same_file"
    assert await rows_of(db, "SELECT total_rows FROM batches") == [(8,)]
    await check_books(db)

"""The row report, the mend file in every format, and the correction of one item."""

import io
import json
from pathlib import Path
from uuid import UUID

import orjson
import pytest
from python_calamine import CalamineWorkbook

from batchyard.errors import Conflict, InvalidRequest, NotFound
from batchyard.intake.files import Format
from batchyard.models import Kind, Team
from batchyard.operations.batches import dispatch_batch
from batchyard.operations.mends import open_mend_file
from batchyard.operations.rows import (
    correct_item,
    list_refused_rows,
    list_row_warnings,
    read_row_report,
)
from batchyard.store.db import Database
from tests.factories import make_team
from tests.intake.sheets import write_sheet
from tests.operations.lists import (
    SHIPMENT_HEADER,
    SHIPMENTS,
    add,
    check_books,
    rows_of,
    shipment_row,
    upload,
)

CSV = b"phone;name\n+4520123451;=1+1\n12;b\n+11112223333;c\n+4520123451;d\n+4520123451;e;f\n"


@pytest.fixture
async def team(db: Database) -> Team:
    return await make_team(db)


async def mend_file(
    db: Database,
    team: Team,
    batch_id: UUID,
    *,
    format_: Format | None = None,
    is_exact: bool = False,
) -> bytes:
    file = await open_mend_file(
        db, team=team, batch_id=batch_id, format_=format_, is_exact=is_exact
    )
    return b"".join([piece async for piece in file.content])


async def test_report_counts_verdicts_and_lists_them(db: Database, team: Team) -> None:
    batch_id = (await upload(db, CSV, team=team)).batch_id
    report = await read_row_report(db, team=team, batch_id=batch_id)
    assert (report.rows, report.accepted, report.refused) == (5, 2, 3)
    assert report.refused_by_code == {"formula_cell": 1, "phone_no_plus": 1, "cells_extra": 1}
    assert report.warned_by_code == {"phone_unassigned_range": 1, "column_guessed": 1}
    assert [one.format for one in report.uploads] == ["csv"]
    refused = await list_refused_rows(db, team=team, batch_id=batch_id, after=2)
    assert [row.line for row in refused] == [3, 6]
    refused = await list_refused_rows(db, team=team, batch_id=batch_id, code="formula_cell")
    assert [row.line for row in refused] == [2]
    remarks = await list_row_warnings(db, team=team, batch_id=batch_id)
    assert [row.line for row in remarks] == [None, 4]
    behind = await list_row_warnings(db, team=team, batch_id=batch_id, after=(0, "column_guessed"))
    assert [row.line for row in behind] == [4]
    with pytest.raises(NotFound):
        await read_row_report(db, team=await make_team(db), batch_id=batch_id)


async def test_mend_file_is_safe_to_open_unless_it_is_asked_for_exactly(
    db: Database, team: Team
) -> None:
    batch_id = (await upload(db, CSV, team=team)).batch_id
    safe = (await mend_file(db, team, batch_id)).decode()
    assert safe.startswith("\ufeffphone;name;error_code;error;error_line;item_id\r\n")
    lines = safe.splitlines()
    assert lines[1].startswith("+4520123451;'=1+1;formula_cell;")
    assert lines[3].endswith(";6;;f")
    exact = (await mend_file(db, team, batch_id, is_exact=True)).decode()
    assert exact.splitlines()[1].startswith("+4520123451;=1+1;")
    mended = safe.replace("'=1+1", "'+note").replace("12;b", "+4520123452;b").replace(";f\r", "\r")
    report = await add(db, mended.encode(), team=team, batch_id=batch_id)
    assert (report.accepted, report.refused) == (3, 0)
    names = "SELECT payload ->> 'name' FROM item_data WHERE position = 2"
    assert await rows_of(db, names) == [("+note",)]
    await check_books(db)


@pytest.mark.parametrize("format_", [Format.JSON, Format.NDJSON])
async def test_objects_come_back_as_objects(db: Database, team: Team, format_: Format) -> None:
    objects = [{"phone": "12", "tags": [1]}, {"phone": "+4520123451"}, {"x": "="}]
    content = (
        orjson.dumps(objects)
        if format_ is Format.JSON
        else b"\n".join(map(orjson.dumps, objects)) + b"\n{broken\n"
    )
    batch_id = (await upload(db, content, team=team)).batch_id
    text = await mend_file(db, team, batch_id)
    rows = (
        json.loads(text)
        if format_ is Format.JSON
        else [json.loads(line) for line in text.splitlines()]
    )
    assert [row["error_code"] for row in rows[:2]] == ["phone_no_plus", "column_missing"]
    assert rows[0]["tags"] == [1]
    if format_ is Format.NDJSON:
        assert rows[2]["row_text"] == "{broken"
    rows[0]["phone"] = "+4520123452"
    rows[1]["phone"] = "+4520123453"
    back = (
        orjson.dumps(rows[:2])
        if format_ is Format.JSON
        else b"\n".join(map(orjson.dumps, rows[:2]))
    )
    assert (await add(db, back, team=team, batch_id=batch_id)).accepted == 2
    assert await rows_of(db, "SELECT number, payload FROM item_data ORDER BY position") == [
        ("+4520123452", {"tags": [1]}),
        ("+4520123451", {}),
        ("+4520123453", {"x": "="}),
    ]
    await check_books(db)
    with pytest.raises(InvalidRequest):
        await open_mend_file(db, team=team, batch_id=batch_id, format_=Format.CSV)


async def test_spreadsheet_comes_back_as_a_spreadsheet(
    db: Database, team: Team, tmp_path: Path
) -> None:
    rows: list[list[object]] = [["phone", "name"], ["+4520123451", "a"], [4520123452, "b"]]
    content = write_sheet(tmp_path / "a.xlsx", rows)
    batch_id = (await upload(db, content, team=team)).batch_id
    back = CalamineWorkbook.from_filelike(io.BytesIO(await mend_file(db, team, batch_id)))
    cells = back.get_sheet_by_index(0).to_python()
    assert cells[0] == ["phone", "name", "error_code", "error", "error_line", "item_id"]
    assert cells[1][:3] == ["4520123452", "b", "phone_no_plus"]
    cells[1][0] = "+4520123452"
    mended = write_sheet(tmp_path / "b.xlsx", cells)
    assert (await add(db, mended, team=team, batch_id=batch_id)).accepted == 1
    assert await mend_file(db, team, batch_id, format_=Format.NDJSON) == b""
    await check_books(db)


async def item_of(db: Database, position: int = 2) -> UUID:
    ((item_id,),) = await rows_of(db, "SELECT item_id FROM item_data WHERE position = %s", position)
    assert isinstance(item_id, UUID)
    return item_id


async def test_item_is_corrected_before_it_is_sent(db: Database, team: Team) -> None:
    await upload(db, b"phone,name\n+4520123451,a\n", team=team)
    item_id = await item_of(db)
    await correct_item(
        db, team=team, item_id=item_id, payload={"name": "A"}, number="+46 701 74 06 41"
    )
    assert await rows_of(
        db,
        "SELECT number, payload, phase, try, corrections -> 0 ->> 'number'"
        " FROM items JOIN item_data ON item_id = id",
    ) == [("+46701740641", {"name": "A"}, "ready", 1, "+4520123451")]
    zones = "SELECT z.zones FROM items i JOIN zone_sets z ON z.id = i.zone_set"
    assert await rows_of(db, zones) == [(["Europe/Stockholm"],)]
    with pytest.raises(InvalidRequest) as refused:
        await correct_item(db, team=team, item_id=item_id, payload={}, number="12")
    assert refused.value.code == "phone_no_plus"
    with pytest.raises(NotFound):
        await correct_item(db, team=await make_team(db), item_id=item_id, payload={})


async def test_shipment_that_failed_is_corrected_and_tried_again(db: Database, team: Team) -> None:
    content = f"{SHIPMENT_HEADER}\n{shipment_row()}\n".encode()
    batch_id = (await upload(db, content, team=team, options=SHIPMENTS)).batch_id
    await dispatch_batch(db, team=team, kind=Kind.SHIPMENT, batch_id=batch_id)
    item_id = await item_of(db)
    ((payload,),) = await rows_of(db, "SELECT payload FROM item_data")
    assert isinstance(payload, dict)
    async with db.transaction() as conn:
        await conn.execute(
            "UPDATE items SET phase = 'live', status = 'processing', intent_at = now()"
        )
    with pytest.raises(Conflict):
        await correct_item(db, team=team, item_id=item_id, payload=payload)
    async with db.transaction() as conn:
        await conn.execute("UPDATE items SET phase = 'done', status = 'failed'")
        await conn.execute("UPDATE batches SET state = 'failed', finished_at = now()")
    with pytest.raises(InvalidRequest) as refused:
        await correct_item(db, team=team, item_id=item_id, payload={**payload, "currency": "X"})
    assert refused.value.code == "currency_unknown"
    await correct_item(db, team=team, item_id=item_id, payload={**payload, "reference": "new"})
    assert await rows_of(
        db,
        "SELECT i.phase, i.status, i.try, d.reference, b.state FROM items i"
        " JOIN item_data d ON d.item_id = i.id JOIN batches b ON b.id = i.batch_id",
    ) == [("ready", "retrying", 2, "new", "running")]
    await check_books(db)

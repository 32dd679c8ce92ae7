"""The mend file in every format: opened, corrected, and sent back into its batch."""

import csv
import io
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import orjson
import pytest
from python_calamine import CalamineWorkbook

from batchyard.errors import InvalidRequest
from batchyard.intake.columns import Columns
from batchyard.intake.files import Format
from batchyard.intake.mend_files import Layout, MendRow, SheetWriter
from batchyard.models import Kind, Team
from batchyard.operations import mends
from batchyard.operations.contacts import add_do_not_contact
from batchyard.operations.mends import open_mend_file
from batchyard.store.db import Database
from tests.factories import make_team
from tests.intake.sheets import write_sheet
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

CSV = b"phone;name\n+4520123451;=1+1\n12;b\n+11112223333;c\n+4520123451;d\n+4520123451;e;f\n"
FAIL = "UPDATE items SET phase = 'done', status = 'failed' RETURNING id"


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


async def test_large_rows_are_not_held_all_at_once(
    db: Database, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = "x" * 400
    rows = [f"{number},{note}{number}" for number in (*range(10), *range(4520123450, 4520123460))]
    content = "\n".join(["phone,note", *rows]).replace("\n45", "\n+45")
    batch_id = (await upload(db, content.encode(), team=team)).batch_id
    await rows_of(db, FAIL)
    monkeypatch.setattr(mends, "BYTES_AT_ONCE", 1000)
    file = await open_mend_file(db, team=team, batch_id=batch_id)
    pieces = [piece async for piece in file.content]
    assert [piece.count(note.encode()) for piece in pieces if piece] == [2] * 10
    found = read_table(b"".join(pieces))[1:]
    assert [row[1] for row in found] == [row.partition(",")[2] for row in rows]


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


async def test_spreadsheet_comes_back_as_a_spreadsheet(
    db: Database, team: Team, tmp_path: Path
) -> None:
    rows: list[list[object]] = [["phone", "name"], ["+4520123451", "a"], [4520123452, "b"]]
    content = write_sheet(tmp_path / "a.xlsx", rows)
    batch_id = (await upload(db, content, team=team)).batch_id
    cells = read_sheet(await mend_file(db, team, batch_id))
    assert cells[0] == ["phone", "name", "error_code", "error", "error_line", "item_id"]
    assert cells[1][:3] == ["4520123452", "b", "phone_no_plus"]
    cells[1][0] = "+4520123452"
    mended = write_sheet(tmp_path / "b.xlsx", cells)
    assert (await add(db, mended, team=team, batch_id=batch_id)).accepted == 1
    assert await mend_file(db, team, batch_id, format_=Format.NDJSON) == b""
    await check_books(db)


async def test_row_of_a_spreadsheet_with_a_formula_takes_the_place_of_the_one_it_mends(
    db: Database, team: Team, tmp_path: Path
) -> None:
    rows: list[list[object]] = [["phone", "name"], ["+4520123451", "a"], ["12", "b"]]
    content = write_sheet(tmp_path / "a.xlsx", rows)
    batch_id = (await upload(db, content, team=team)).batch_id
    cells = read_sheet(await mend_file(db, team, batch_id))
    cells[1][:2] = ["+4520123452", "=1+1"]
    report = await add(db, write_sheet(tmp_path / "b.xlsx", cells), team=team, batch_id=batch_id)
    assert (report.accepted, report.refused) == (0, 1)
    refused = "SELECT line, code, cells ->> 0 FROM rejected_rows"
    assert await rows_of(db, refused) == [(3, "formula_cell", "+4520123452")]
    assert await rows_of(db, "SELECT total_rows, refused_rows FROM batches") == [(2, 1)]
    await check_books(db)


async def test_correction_with_a_formula_stands_in_for_its_item(
    db: Database, team: Team, tmp_path: Path
) -> None:
    rows: list[list[object]] = [["phone", "name"], ["+4520123451", "a"]]
    content = write_sheet(tmp_path / "a.xlsx", rows)
    batch_id = (await upload(db, content, team=team)).batch_id
    items = await rows_of(db, FAIL)
    cells = read_sheet(await mend_file(db, team, batch_id))
    cells[1][1] = "=1+1"
    report = await add(db, write_sheet(tmp_path / "b.xlsx", cells), team=team, batch_id=batch_id)
    assert (report.corrected, report.refused) == (0, 1)
    assert await rows_of(db, "SELECT item_id FROM rejected_rows") == items
    cells = read_sheet(await mend_file(db, team, batch_id))
    assert [(row[0], row[2]) for row in cells[1:]] == [("+4520123451", "formula_cell")]
    await check_books(db)


async def test_cell_that_fits_into_no_spreadsheet_is_refused_with_the_way_out(
    db: Database, team: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    note = "x" * 32_768
    batch_id = (await upload(db, f"phone,note\n12,{note}\n".encode(), team=team)).batch_id
    with pytest.raises(InvalidRequest, match="CSV") as refused:
        await mend_file(db, team, batch_id, format_=Format.XLSX)
    assert refused.value.code == "sheet_too_large"
    assert list(folder.iterdir()) == []
    assert note.encode() in await mend_file(db, team, batch_id, format_=Format.CSV)


def test_row_behind_the_last_one_of_a_spreadsheet_is_refused() -> None:
    row = MendRow(error_code="x", error="X.", error_line=2, cells={("phone", 0): "12"})
    writer = SheetWriter(Layout(kind=Kind.CALL, format=Format.XLSX, columns=(("phone", 0),)))
    writer.begin()
    writer._row = 1_048_575
    writer.add([row])
    with pytest.raises(InvalidRequest, match="CSV"):
        writer.add([row])
    writer.remove()


def read_table(content: bytes, *, delimiter: str = ",") -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig")), delimiter=delimiter))


def read_sheet(content: bytes) -> list[list[object]]:
    book = CalamineWorkbook.from_filelike(io.BytesIO(content))
    return [list(row) for row in book.get_sheet_by_index(0).to_python()]


def written(*rows: list[str]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


async def test_row_that_the_database_refuses_is_kept_without_its_protection(
    db: Database, team: Team
) -> None:
    batch_id = (await upload(db, b"phone,note\n12,-ring\n", team=team)).batch_id
    await add_do_not_contact(db, team=team, number="+4520123499")
    table = (await mend_file(db, team, batch_id, format_=Format.CSV)).decode()
    assert "'-ring" in table
    mended = table.replace("12,", "+4520123499,")
    report = await add(db, mended.encode(), team=team, batch_id=batch_id)
    assert dict(report.codes) == {"do_not_contact": 1}
    assert await rows_of(db, "SELECT cells -> 1 FROM rejected_rows") == [("-ring",)]


async def test_column_whose_name_was_protected_keeps_its_name(db: Database, team: Team) -> None:
    content = b"phone,@handle,'=x\n12,a,b\n+4520123451,c,d\n"
    batch_id = (await upload(db, content, team=team)).batch_id
    table = (await mend_file(db, team, batch_id)).decode()
    assert table.startswith("\ufeffphone,'@handle,''=x,error_code,")
    mended = table.replace("12,", "+4520123452,").encode()
    assert (await add(db, mended, team=team, batch_id=batch_id)).accepted == 1
    assert await rows_of(db, "SELECT payload FROM item_data ORDER BY position") == [
        ({"@handle": "a", "'=x": "b"},),
        ({"@handle": "c", "'=x": "d"},),
    ]
    columns = "SELECT columns[2] FROM uploads ORDER BY created_at"
    assert await rows_of(db, columns) == [("@handle",), ("@handle",)]


async def test_columns_of_one_name_stay_apart(db: Database, team: Team) -> None:
    content = b"phone,note,note\n12,a,b\n13,c,d\n+4520123451,e,f\n"
    batch_id = (await upload(db, content, team=team)).batch_id
    await rows_of(db, FAIL)
    head, *rows = read_table(await mend_file(db, team, batch_id))
    assert head[:3] == ["phone", "note", "note"]
    assert [row[:3] for row in rows] == [
        ["12", "a", "b"],
        ["13", "c", "d"],
        ["+4520123451", "e", "f"],
    ]
    objects = (await mend_file(db, team, batch_id, format_=Format.NDJSON)).splitlines()
    assert json.loads(objects[0])["note_2"] == "b"
    rows[0][0] = "+4520123452"
    back = written(head, *rows[:2])
    assert (await add(db, back, team=team, batch_id=batch_id)).accepted == 1
    mended = "SELECT payload FROM item_data WHERE position = 2"
    assert await rows_of(db, mended) == [({"note": "a", "note_2": "b"},)]
    # What is left comes in the columns of the first file, not in those of the mended one.
    head, *rows = read_table(await mend_file(db, team, batch_id))
    assert head == ["phone", "note", "note", "error_code", "error", "error_line", "item_id"]
    assert [row[:3] for row in rows] == [["13", "c", "d"], ["+4520123451", "e", "f"]]


@pytest.mark.parametrize("first", ["phone", "Phone"])
async def test_number_stays_in_the_first_of_two_columns_of_one_name(
    db: Database, team: Team, first: str
) -> None:
    content = f"{first},phone\n12,+4520123451\n+4520123452,+4520123453\n"
    batch_id = (await upload(db, content.encode(), team=team)).batch_id
    await rows_of(db, FAIL)
    head, *rows = read_table(await mend_file(db, team, batch_id))
    assert [row[:2] for row in rows] == [["12", "+4520123451"], ["+4520123452", "+4520123453"]]
    rows[0][0] = "+4520123450"
    report = await add(db, written(head, *rows), team=team, batch_id=batch_id)
    assert (report.accepted, report.corrected, report.refused) == (1, 1, 0)
    assert await rows_of(db, "SELECT number, payload FROM item_data ORDER BY position") == [
        ("+4520123450", {"phone": "+4520123451"}),
        ("+4520123452", {"phone": "+4520123453"}),
    ]
    await check_books(db)


async def test_shipment_goes_to_the_first_of_two_addresses_when_it_is_mended(
    db: Database, team: Team
) -> None:
    receiver = "Name,Address,City,Country"
    head = f"reference,currency,carrier,service,{receiver},{receiver}"
    places = "Bo,Vej 1,By,DK,Al,Road 2,Town,SE"
    rows = f"R-1,X,postnord,home,{places}\nR-2,DKK,postnord,home,{places}\n"
    batch_id = (await upload(db, f"{head}\n{rows}".encode(), team=team, options=SHIPMENTS)).batch_id
    await rows_of(db, FAIL)
    table = (await mend_file(db, team, batch_id)).decode()
    assert ",Bo,Vej 1,By,DK,,,,,failed," in table
    mended = table.replace(",X,", ",DKK,").encode()
    report = await add(db, mended, team=team, batch_id=batch_id, options=SHIPMENTS)
    assert (report.accepted, report.corrected, report.refused) == (1, 1, 0)
    address = "payload #>> '{parties,receiver,address,address_lines,0}'"
    assert await rows_of(db, f"SELECT {address} FROM item_data") == [("Vej 1",)] * 2


async def test_column_that_was_left_out_stays_so_when_its_rows_are_mended(
    db: Database, team: Team
) -> None:
    options = replace(CALLS, columns=Columns(given=(("cpr", None),)))
    content = b"phone,name,cpr\n12,a,0101\n+4520123452,b,0202\n"
    batch_id = (await upload(db, content, team=team, options=options)).batch_id
    await rows_of(db, FAIL)
    table = (await mend_file(db, team, batch_id)).decode()
    mended = table.replace("12,", "+4520123450,", 1).encode()
    report = await add(db, mended, team=team, batch_id=batch_id)
    assert (report.accepted, report.corrected, report.refused) == (1, 1, 0)
    payloads = "SELECT payload FROM item_data ORDER BY position"
    assert await rows_of(db, payloads) == [({"name": "a"},), ({"name": "b"},)]


async def test_objects_are_put_into_columns_where_a_table_is_asked_for(
    db: Database, team: Team
) -> None:
    calls = b'{"phone": "12", "tags": [1]}\n{"phone": "13", "note": "=1"}\n'
    batch_id = (await upload(db, calls, team=team)).batch_id
    head, *rows = read_table(await mend_file(db, team, batch_id, format_=Format.CSV))
    assert head[:3] == ["tags", "phone", "note"]
    assert [row[:3] for row in rows] == [["[1]", "12", ""], ["", "13", "'=1"]]


async def test_shipments_that_came_as_objects_are_mended_as_a_table(
    db: Database, team: Team
) -> None:
    content = f"{SHIPMENT_HEADER}\n{shipment_row()}\n".encode()
    await upload(db, content, team=team, options=SHIPMENTS)
    ((payload,),) = await rows_of(db, "SELECT payload FROM item_data")
    assert isinstance(payload, dict)
    faulty = orjson.dumps({**payload, "currency": "X"})
    batch_id = (await upload(db, faulty, team=team, options=SHIPMENTS)).batch_id
    table = (await mend_file(db, team, batch_id, format_=Format.CSV)).decode()
    assert "parties.receiver.address.city" in table.splitlines()[0]
    mended = table.replace(",X,", f",{payload['currency']},")
    report = await add(db, mended.encode(), team=team, batch_id=batch_id, options=SHIPMENTS)
    assert (report.accepted, report.refused) == (1, 0)
    query = "SELECT payload - 'parcels' FROM item_data WHERE batch_id = %s"
    del payload["parcels"]
    assert await rows_of(db, query, batch_id) == [(payload,)]

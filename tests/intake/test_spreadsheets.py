"""Spreadsheets as lists."""

import io
import struct
import zipfile
from datetime import date, datetime, time
from pathlib import Path

import pytest

from batchyard.errors import InvalidRequest
from batchyard.intake import sheet_scan
from batchyard.intake.records import MAX_ROW_CHARACTERS, Row
from batchyard.intake.sheet_scan import column_number, open_archive
from batchyard.intake.spreadsheets import read_written, show, write_rows
from tests.intake.sheets import write_sheet

HEADER = ["contact_number", "name"]


def rows_of(path: Path, *, sheet: str | None = None) -> list[Row]:
    out = io.BytesIO()
    write_rows(str(path), sheet=sheet, out=out)
    return read_written(out.getvalue().splitlines())


def refusal(path: Path, *, sheet: str | None = None) -> str:
    with pytest.raises(InvalidRequest) as refused:
        rows_of(path, sheet=sheet)
    return refused.value.code


def rezip(path: Path, changed: dict[str, bytes], *, without: str = "") -> None:
    """Write the archive again with some members changed."""
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist() if name != without}
    members |= changed
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name, content in members.items():
            new.writestr(name, content)


def understate(path: Path, member: str) -> None:
    """Let an archive say that a member unpacks to 10 bytes, in both of its headers."""
    with zipfile.ZipFile(path) as archive:
        offset = archive.getinfo(member).header_offset
    content = bytearray(path.read_bytes())
    entry = content.find(b"PK\x01\x02")
    while struct.unpack_from("<L", content, entry + 42)[0] != offset:
        entry = content.find(b"PK\x01\x02", entry + 4)
    for place in (offset + 22, entry + 24):
        struct.pack_into("<L", content, place, 10)
    path.write_bytes(content)


@pytest.mark.parametrize(
    "value,text",
    [
        ("x", "x"),
        (4520123456.0, "4520123456"),
        (123456789012345.0, "123456789012345"),
        (1e20, "100000000000000000000"),
        (1.5, "1.5"),
        (1e-7, "0.0000001"),
        (-3.0, "-3"),
        (True, "TRUE"),
        (7, "7"),
        (date(2026, 1, 2), "2026-01-02"),
        (datetime.fromisoformat("2026-01-02T03:04"), "2026-01-02 03:04:00"),
        (datetime.fromisoformat("2026-01-02"), "2026-01-02"),
        (time(3, 4), "03:04:00"),
    ],
)
def test_cells_are_shown_as_people_mean_them(value: object, text: str) -> None:
    assert show(value) == text  # type: ignore[arg-type]  # one of them


def test_rows_keep_the_numbers_they_have_in_the_spreadsheet(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    write_sheet(path, [HEADER, ["+4520123456", 4520123456]], first_row=3, first_column=2)
    rows = [row for row in rows_of(path) if any(row[1])]
    assert rows == [(4, HEADER, None), (5, ["+4520123456", "4520123456"], None)]


def test_row_with_a_formula_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    write_sheet(path, [HEADER, ["+4520123456", "=1+1"], ["+4520123457", "x"]])
    assert [fault for _, _, fault in rows_of(path)] == [None, "formula_cell", None]


def test_first_visible_sheet_is_read_unless_another_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    write_sheet(path, [HEADER], hidden=["Secret"], others=["Two"])
    assert rows_of(path)[0][1] == HEADER
    assert rows_of(path, sheet=" two ")[0][1] == ["other"]
    assert refusal(path, sheet="Three") == "sheet_missing"


def test_row_that_is_too_long_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    write_sheet(path, [["x" * 30_000] * (MAX_ROW_CHARACTERS // 30_000 + 2)])
    assert [fault for _, _, fault in rows_of(path)] == ["row_too_long"]


def test_cell_in_a_far_corner_is_refused_before_room_is_made_for_it(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    write_sheet(path, [HEADER])
    sheet = (
        b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'
        b'<sheetData><row r="1"><c r="A1"><v>1</v></c></row>'
        b'<row r="1048576"><c r="%b"><v>1</v></c></row></sheetData></worksheet>'
    )
    rezip(path, {"xl/worksheets/sheet1.xml": sheet % b"XFD1048576"})
    assert refusal(path) == "columns_too_many"
    rezip(path, {"xl/worksheets/sheet1.xml": sheet % b"Z1048576"})
    assert refusal(path) == "sheet_too_large"


def test_archive_that_unpacks_to_far_more_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sheet_scan, "FREE_BYTES", 1000)
    path = tmp_path / "a.xlsx"
    write_sheet(path, [HEADER])
    rezip(path, {"bomb": b"\0" * 10_000_000})
    assert refusal(path) == "compression_bomb"


@pytest.mark.parametrize("member", ["xl/worksheets/sheet1.xml", "xl/sharedStrings.xml"])
def test_archive_that_understates_what_it_unpacks_to_is_refused(
    tmp_path: Path, member: str
) -> None:
    path = tmp_path / "a.xlsx"
    write_sheet(path, [HEADER] * 50)
    understate(path, member)
    # The sizes that are said pass; only who unpacks notices.
    open_archive(str(path)).close()
    assert refusal(path) == "file_damaged"


def test_document_with_entities_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    write_sheet(path, [HEADER])
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa">]><worksheet>&a;</worksheet>'
    rezip(path, {"xl/worksheets/sheet1.xml": bomb})
    assert refusal(path) == "file_damaged"


@pytest.mark.parametrize("missing", ["xl/workbook.xml", "xl/_rels/workbook.xml.rels"])
def test_archive_without_what_a_spreadsheet_needs_is_refused(tmp_path: Path, missing: str) -> None:
    path = tmp_path / "a.xlsx"
    write_sheet(path, [HEADER])
    rezip(path, {}, without=missing)
    assert refusal(path) in {"format_unknown", "file_damaged"}


def test_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    content = write_sheet(path, [HEADER] * 50)
    path.write_bytes(content[: len(content) // 2])
    assert refusal(path) == "file_damaged"


@pytest.mark.parametrize("letters,number", [("A", 1), ("Z", 26), ("AA", 27), ("XFD", 16384)])
def test_columns_are_counted_from_their_letters(letters: str, number: int) -> None:
    assert column_number(letters) == number

"""A spreadsheet (XLSX) to rows: read as a whole, written down row by row for the stream."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import BinaryIO

import orjson
from python_calamine import (
    CalamineError,
    CalamineSheet,
    CalamineWorkbook,
    PasswordError,
    SheetTypeEnum,
    SheetVisibleEnum,
)

from batchyard.errors import InvalidRequest
from batchyard.intake.records import FORMULA_CELL, KEPT_CHARACTERS, MAX_ROW_CHARACTERS, Row
from batchyard.intake.sheet_scan import find_member, open_archive, scan_sheet

FLUSH_ROWS = 1000
Value = int | float | str | bool | time | date | datetime | timedelta


def write_rows(path: str, *, sheet: str | None, out: BinaryIO) -> None:
    """Write the rows of a sheet, the first visible one unless named, as one JSON array a line.

    Needs memory for the whole sheet, within the bounds of `sheet_scan`. Raises `InvalidRequest`.
    """
    archive = open_archive(path)
    with archive:
        try:
            workbook = CalamineWorkbook.from_path(path)
        except PasswordError as error:
            raise InvalidRequest(
                "The spreadsheet is locked with a password.", code="file_locked"
            ) from error
        except (CalamineError, OSError) as error:
            raise InvalidRequest("The spreadsheet is damaged.", code="file_damaged") from error
        with workbook:
            index = _choose(workbook, sheet)
            scan = scan_sheet(archive, find_member(archive, index))
            try:
                chosen = workbook.get_sheet_by_index(index)
            except CalamineError as error:
                raise InvalidRequest("The spreadsheet is damaged.", code="file_damaged") from error
    lines: list[bytes] = []
    for row in _rows(chosen, formulas=scan.formulas):
        lines.append(orjson.dumps(row))
        if len(lines) >= FLUSH_ROWS:
            out.write(b"\n".join(lines) + b"\n")
            lines.clear()
    out.write(b"\n".join([*lines, b""]))
    out.flush()


def read_written(lines: Sequence[bytes]) -> list[Row]:
    """Return rows that were written down."""
    return [(line, cells, fault) for line, cells, fault in map(orjson.loads, lines)]


def show(value: Value) -> str:
    """Write a cell as text: whole numbers without exponent or fraction, times as ISO 8601."""
    match value:
        case str():
            return value
        case bool():
            return "TRUE" if value else "FALSE"
        case float() if value.is_integer():
            return str(int(value))
        case float():
            return format(Decimal(repr(value)), "f")
        case int():
            return str(value)
        case datetime():
            is_day = value.time() == time()
            return value.date().isoformat() if is_day else value.isoformat(sep=" ")
        case date() | time():
            return value.isoformat()
        case _:
            return str(value)


def _choose(workbook: CalamineWorkbook, sheet: str | None) -> int:
    readable = [
        index
        for index, one in enumerate(workbook.sheets_metadata)
        if one.typ == SheetTypeEnum.WorkSheet
    ]
    if sheet is not None:
        wanted = sheet.strip().casefold()
        for index in readable:
            if workbook.sheet_names[index].strip().casefold() == wanted:
                return index
        names = ", ".join(workbook.sheet_names[index] for index in readable)
        raise InvalidRequest(
            f"The spreadsheet has no sheet {sheet!r}. It has: {names}.", code="sheet_missing"
        )
    visible = [
        index
        for index in readable
        if workbook.sheets_metadata[index].visible == SheetVisibleEnum.Visible
    ]
    if not visible:
        raise InvalidRequest("The spreadsheet has no sheet with rows.", code="file_empty")
    return visible[0]


def _rows(sheet: CalamineSheet, *, formulas: frozenset[tuple[int, int]]) -> Iterator[Row]:
    """Yield rows with the number they have in the spreadsheet, without empty columns before."""
    formula_rows = {row for row, _ in formulas}
    if sheet.start is None:
        return
    for line, values in enumerate(sheet.iter_rows(), start=1):
        yield line, *_judged([show(value) for value in values], has_formula=line in formula_rows)


def _judged(cells: list[str], *, has_formula: bool) -> tuple[list[str], str | None]:
    if sum(map(len, cells)) > MAX_ROW_CHARACTERS:
        return ["".join(cells)[:KEPT_CHARACTERS]], "row_too_long"
    return cells, FORMULA_CELL if has_formula else None

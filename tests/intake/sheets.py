"""Spreadsheets for tests."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import xlsxwriter


def write_sheet(
    path: Path,
    rows: Sequence[Sequence[object]],
    *,
    name: str = "Data",
    others: Sequence[str] = (),
    hidden: Sequence[str] = (),
    first_row: int = 0,
    first_column: int = 0,
) -> bytes:
    """Write a spreadsheet and return its bytes; texts that begin with = are formulas."""
    book = xlsxwriter.Workbook(str(path), {"strings_to_formulas": True})
    for sheet in hidden:
        book.add_worksheet(sheet).hide()
    data = book.add_worksheet(name)
    data.activate()
    data.set_first_sheet()
    for sheet in others:
        book.add_worksheet(sheet).write(0, 0, "other")
    for row, cells in enumerate(rows, start=first_row):
        data.write_row(row, first_column, cells)
    book.close()
    return path.read_bytes()


def write_book(path: Path, sheets: Mapping[str, Sequence[Sequence[object]]]) -> bytes:
    """Write a spreadsheet of several sheets, in this order, and return its bytes."""
    book = xlsxwriter.Workbook(str(path))
    for name, rows in sheets.items():
        sheet = book.add_worksheet(name)
        for row, cells in enumerate(rows):
            sheet.write_row(row, 0, cells)
    book.close()
    return path.read_bytes()

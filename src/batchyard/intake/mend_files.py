"""Files to be corrected and uploaded again, in the columns and the format of the upload."""

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
import xlsxwriter

from batchyard.intake.columns import ERROR, ERROR_CODE, ERROR_LINE, ITEM_ID
from batchyard.intake.exports import BOM, render_csv
from batchyard.intake.files import Format
from batchyard.intake.flat import pick
from batchyard.intake.synonyms import NUMBER_COLUMN
from batchyard.models import JsonObject, Kind

READ_BYTES = 256 * 1024
ROW_TEXT = "row_text"
"""Under this name a row comes back that was no JSON object."""

MEDIA_TYPES = {
    Format.CSV: "text/csv; charset=utf-8",
    Format.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    Format.JSON: "application/json",
    Format.NDJSON: "application/x-ndjson",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """How a mend file looks."""

    kind: Kind
    format: Format
    delimiter: str = ","
    columns: tuple[str, ...] = ()
    """Of all uploads of the batch, those of the first one first."""
    mapping: Mapping[str, str | None]
    """What they mean."""
    is_exact: bool = False
    """For programs: cells are not protected from spreadsheets."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MendRow:
    """A row that has to be corrected."""

    error_code: str
    error: str
    error_line: int | None
    item_id: str | None = None
    cells: Mapping[str, object]
    """By the names of the columns, or of the JSON object."""
    beyond: tuple[str, ...] = ()
    """Cells behind the last column."""


def header(layout: Layout) -> list[str]:
    """Return the columns of a mend file."""
    return [*layout.columns, ERROR_CODE, ERROR, ERROR_LINE, ITEM_ID]


def refused_cells(
    cells: Sequence[str] | Mapping[str, object], columns: Sequence[str] | None
) -> tuple[Mapping[str, object], tuple[str, ...]]:
    """Return the cells of a refused row by name, and those behind the last column."""
    if isinstance(cells, Mapping):
        return cells, ()
    if columns is None:
        return {ROW_TEXT: cells[0] if cells else ""}, ()
    named: dict[str, object] = {}
    for name, cell in zip(columns, cells, strict=False):
        named.setdefault(name, cell)
    return named, tuple(cells[len(columns) :])


def failed_cells(payload: JsonObject, number: str | None, layout: Layout) -> Mapping[str, object]:
    """Return the row that an item came from, in the columns of its batch."""
    if not layout.columns:
        whole = {name: value for name, value in payload.items() if value is not None}
        return {NUMBER_COLUMN: number, **whole} if number is not None else whole
    cells: dict[str, object] = {}
    for column in layout.columns:
        meaning = layout.mapping.get(column)
        if meaning is None:
            cells[column] = ""
        elif layout.kind is Kind.SHIPMENT:
            cells[column] = pick(payload, meaning)
        else:
            cells[column] = number if meaning == NUMBER_COLUMN else payload.get(meaning)
    return cells


def render(rows: Sequence[MendRow], layout: Layout, *, is_first: bool) -> bytes:
    """Write a block of rows as CSV, NDJSON, or a part of a JSON list."""
    match layout.format:
        case Format.CSV:
            lines = [_cells(row, layout) for row in rows]
            head = [header(layout)] if is_first else []
            text = render_csv([*head, *lines], delimiter=layout.delimiter, is_exact=layout.is_exact)
            return (BOM.encode() if is_first else b"") + text
        case Format.NDJSON:
            return b"".join(orjson.dumps(_object(row)) + b"\n" for row in rows)
        case _:
            opening = b"[\n" if is_first else b""
            parts = b",\n".join(orjson.dumps(_object(row)) for row in rows)
            return opening + (b"" if is_first or not rows else b",\n") + parts


def closing(layout: Layout) -> bytes:
    """Return what ends the file."""
    return b"\n]\n" if layout.format is Format.JSON else b""


class SheetWriter:
    """Writes a spreadsheet row by row, in constant memory; every cell is text."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        descriptor, path = tempfile.mkstemp(prefix="batchyard-mend-", suffix=".xlsx")
        os.close(descriptor)
        self._path = Path(path)
        self._book = xlsxwriter.Workbook(path, {"constant_memory": True, "strings_to_urls": False})
        self._sheet = self._book.add_worksheet()
        self._row = 0
        self._write(header(layout))

    def add(self, rows: Sequence[MendRow]) -> None:
        """Write some rows."""
        for row in rows:
            self._write(_cells(row, self._layout))

    def read(self) -> Iterator[bytes]:
        """Complete the file and yield its bytes."""
        self._book.close()
        with self._path.open("rb") as file:
            while piece := file.read(READ_BYTES):
                yield piece

    def remove(self) -> None:
        """Remove the file."""
        self._path.unlink(missing_ok=True)

    def _write(self, cells: Sequence[str]) -> None:
        for column, cell in enumerate(cells):
            self._sheet.write_string(self._row, column, cell)
        self._row += 1


def _cells(row: MendRow, layout: Layout) -> list[str]:
    cells = [_text(row.cells.get(column)) for column in layout.columns]
    return [
        *cells,
        row.error_code,
        row.error,
        "" if row.error_line is None else str(row.error_line),
        row.item_id or "",
        *row.beyond,
    ]


def _object(row: MendRow) -> dict[str, object]:
    marks = {ERROR_CODE: row.error_code, ERROR: row.error, ERROR_LINE: row.error_line}
    return {**row.cells, **marks, **({} if row.item_id is None else {ITEM_ID: row.item_id})}


def _text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()

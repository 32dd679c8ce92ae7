"""Files to be corrected and uploaded again, in the columns and the format of the upload."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import xlsxwriter

from batchyard.errors import InvalidRequest
from batchyard.intake.columns import (
    ERROR,
    ERROR_CODE,
    ERROR_LINE,
    ITEM_ID,
    MEND_COLUMNS,
    fold_name,
)
from batchyard.intake.exports import BOM, render_csv
from batchyard.intake.files import Format
from batchyard.intake.flat import DEFAULTS, leaf_of, unnest
from batchyard.intake.synonyms import NUMBER_COLUMN
from batchyard.json_text import write_json
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
TABLES = frozenset((Format.CSV, Format.XLSX))

Column = tuple[str, int]
"""A name, and how often it was there before: a file may have it twice."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """How a mend file looks."""

    kind: Kind
    format: Format
    delimiter: str = ","
    columns: tuple[Column, ...] = ()
    """Of all uploads of the batch, those of the first one first."""
    meanings: Mapping[Column, str | None] = field(default_factory=dict)
    """What they mean when the file comes back."""
    marks: tuple[str, ...] = MEND_COLUMNS
    """What stands behind them; without line and item a row can be sent as new only."""
    is_exact: bool = False
    """For programs: cells are not protected from spreadsheets."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MendRow:
    """A row that has to be corrected."""

    error_code: str
    error: str
    error_line: int | None
    item_id: str | None = None
    cells: Mapping[Column, object]
    beyond: tuple[str, ...] = ()
    """Cells behind the last column."""


def own_columns(names: Iterable[str]) -> list[Column]:
    """Tell columns of one name apart, and leave out those that a mend file added."""
    columns = _numbered(names)
    known = {name.strip().casefold() for name, _ in columns}
    if not {ERROR_CODE, ERROR} <= known:
        return columns
    return [column for column in columns if column[0].strip().casefold() not in MEND_COLUMNS]


def header(layout: Layout) -> list[str]:
    """Return the columns of a mend file."""
    return [*(name for name, _ in layout.columns), *layout.marks]


def refused_cells(
    cells: Sequence[str] | Mapping[str, object], names: Sequence[str] | None, layout: Layout
) -> tuple[Mapping[Column, object], tuple[str, ...]]:
    """Return the cells of a refused row by column, and those behind the last column."""
    if isinstance(cells, Mapping):
        return _of_object(cells, layout), ()
    if names is None:
        return {(ROW_TEXT, 0): cells[0] if cells else ""}, ()
    own = set(own_columns(names))
    known = dict(zip(_numbered(names), cells, strict=False))
    return {column: cell for column, cell in known.items() if column in own}, tuple(
        cells[len(names) :]
    )


def failed_cells(
    payload: JsonObject, number: str | None, layout: Layout
) -> Mapping[Column, object]:
    """Return the row that an item came from; what no column means stands behind, by its name."""
    if layout.kind is Kind.SHIPMENT and layout.format not in TABLES:
        # An object is read in its own shape, whatever the columns of other files mean.
        return {(name, 0): value for name, value in payload.items() if value is not None}
    left = _values(payload, number, layout)
    found = {
        column: left.pop(meaning) for column, meaning in layout.meanings.items() if meaning in left
    }
    firsts: dict[str, Column] = {}
    for column in layout.meanings:
        firsts.setdefault(fold_name(column[0]), column)
    names = Counter(fold_name(name) for name, _ in layout.meanings)
    beyond = {(name, names[fold_name(name)]): value for name, value in left.items()}
    # Of columns with one name a later one is told by coming behind the first, empty or not.
    folded = ((fold_name(column[0]), column) for column in (*found, *beyond))
    again = {name for name, column in folded if firsts.get(name, column) != column}
    held: dict[Column, object] = {
        column: None for column in layout.meanings if fold_name(column[0]) in again
    }
    return held | found | beyond


def _values(payload: JsonObject, number: str | None, layout: Layout) -> dict[str, object]:
    """Return what an item has by what columns mean; of a table, without what is empty."""
    if layout.kind is Kind.SHIPMENT:
        meant = set(layout.meanings.values())
        values: dict[str, object] = {
            name: value
            for name, value in unnest(payload).items()
            if leaf_of(name) is not None
            and value is not None
            and (name in meant or value != DEFAULTS.get(name))
        }
        return values | _empty_parcels(payload, values)
    first = {} if number is None else {NUMBER_COLUMN: number}
    return {
        name: value
        for name, value in (first | dict(payload)).items()
        if value is not None or layout.format not in TABLES
    }


def _empty_parcels(payload: JsonObject, values: Iterable[str]) -> dict[str, object]:
    """Return what keeps the place of parcels without values, where there are others."""
    parcels = payload.get("parcels")
    if not isinstance(parcels, list) or len(parcels) < 2:
        return {}
    filled = {tuple(name.split(".")[:2]) for name in values}
    places = (str(place) for place in range(len(parcels)))
    return {f"parcels.{place}": {} for place in places if ("parcels", place) not in filled}


def _of_object(found: Mapping[str, object], layout: Layout) -> Mapping[Column, object]:
    """Return the cells of what came as an object; in a table a shipment has dotted names."""
    is_flat = layout.kind is Kind.SHIPMENT and layout.format in TABLES
    cells = unnest(found) if is_flat else found
    return {column: cells[column[0]] for column in own_columns(cells)}


def _numbered(names: Iterable[str]) -> list[Column]:
    seen: Counter[str] = Counter()
    columns: list[Column] = []
    for name in names:
        columns.append((name, seen[name]))
        seen[name] += 1
    return columns


def _keys(layout: Layout) -> Mapping[Column, str]:
    """Return under which other names an object has columns of one name, to be read as theirs."""
    known = {fold_name(name) for name, _ in layout.meanings}
    return {
        column: meaning
        for column, meaning in layout.meanings.items()
        if column[1] and meaning is not None and fold_name(meaning) not in known
    }


def render(rows: Sequence[MendRow], layout: Layout, *, is_first: bool) -> bytes:
    """Write a block of rows as CSV, NDJSON, or a part of a JSON list."""
    match layout.format:
        case Format.CSV:
            lines = [_cells(row, layout) for row in rows]
            head = [header(layout)] if is_first else []
            text = render_csv([*head, *lines], delimiter=layout.delimiter, is_exact=layout.is_exact)
            return (BOM.encode() if is_first else b"") + text
        case Format.NDJSON:
            keys = _keys(layout)
            return b"".join(write_json(_object(row, keys)) + b"\n" for row in rows)
        case _:
            opening = b"[\n" if is_first else b""
            keys = _keys(layout)
            parts = b",\n".join(write_json(_object(row, keys)) for row in rows)
            return opening + (b"" if is_first or not rows else b",\n") + parts


def closing(layout: Layout) -> bytes:
    """Return what ends the file."""
    return b"\n]\n" if layout.format is Format.JSON else b""


class SheetWriter:
    """Writes a spreadsheet row by row, in constant memory; every cell is text.

    Raises `InvalidRequest` for what no spreadsheet holds: too many rows, too long a cell.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._folder = tempfile.mkdtemp(prefix="batchyard-mend-")
        self._path = Path(self._folder, "mend.xlsx")
        self._book = xlsxwriter.Workbook(
            str(self._path),
            {"constant_memory": True, "strings_to_urls": False, "tmpdir": self._folder},
        )
        self._sheet = self._book.add_worksheet()
        self._row = 0

    def begin(self) -> None:
        """Write the names of the columns."""
        self._write(header(self._layout))

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
        """Remove the file, and what was to become it."""
        if self._sheet.row_data_fh is not None:
            # Only a complete file closes it.
            self._sheet.row_data_fh.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _write(self, cells: Sequence[str]) -> None:
        for column, cell in enumerate(cells):
            # Otherwise the row would be left out, or its cell cut, without a word.
            if self._sheet.write_string(self._row, column, cell) != 0:
                raise InvalidRequest(
                    "The rows do not fit into a spreadsheet: it holds 1,048,576 rows of 16,384 "
                    "cells with 32,767 characters each. Ask for CSV.",
                    code="sheet_too_large",
                )
        self._row += 1


def _cells(row: MendRow, layout: Layout) -> list[str]:
    cells = [_text(row.cells.get(column)) for column in layout.columns]
    marks = _marks(row)
    return [*cells, *(_text(marks.get(name)) for name in layout.marks), *row.beyond]


def _object(row: MendRow, keys: Mapping[Column, str]) -> dict[str, object]:
    cells = {keys.get(column) or _again(column): value for column, value in row.cells.items()}
    return cells | _marks(row)


def _again(column: Column) -> str:
    """Return a name that is read as one more of the same: blanks around it do not count."""
    name, place = column
    return f"{name}{' ' * place}"


def _marks(row: MendRow) -> dict[str, object]:
    marks: dict[str, object] = {
        ERROR_CODE: row.error_code,
        ERROR: row.error,
        ERROR_LINE: row.error_line,
    }
    return marks if row.item_id is None else marks | {ITEM_ID: row.item_id}


def _text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else write_json(value).decode()

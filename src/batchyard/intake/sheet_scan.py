"""A look into a spreadsheet before it is read: how large it is, and which cells are formulas.

The reader of spreadsheets makes room for every cell between the first and the last, so one cell in
a far corner would take all memory; and it tells a formula's last value, never that it is one.
"""

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO
from xml.parsers import expat

from batchyard.errors import InvalidRequest
from batchyard.intake.columns import MAX_COLUMNS

MAX_CELLS = 4_000_000
"""Of a sheet, the empty ones in between too; they are all in memory at once."""
MAX_UNPACKED_BYTES = 1024**3
MAX_RATIO = 200
FREE_BYTES = 64 * 1024 * 1024
PIECE_BYTES = 256 * 1024

_CELL = re.compile(r"([A-Z]{1,3})([0-9]{1,7})")
_MAIN = "xl/workbook.xml"


@dataclass(frozen=True, kw_only=True, slots=True)
class SheetScan:
    """What a sheet is made of."""

    formulas: frozenset[tuple[int, int]]
    """Row and column, from 1, of every cell that is a formula."""
    rows: int
    columns: int


def open_archive(path: str) -> zipfile.ZipFile:
    """Open a spreadsheet's archive; raise `InvalidRequest` when it is none, or a bomb."""
    try:
        archive = zipfile.ZipFile(path)
        names = set(archive.namelist())
    except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
        raise InvalidRequest("The spreadsheet is damaged.", code="file_damaged") from error
    if _MAIN not in names:
        archive.close()
        raise InvalidRequest(
            "The file is an archive but no spreadsheet (XLSX).", code="format_unknown"
        )
    unpacked = packed = 0
    for member in archive.infolist():
        unpacked += member.file_size
        packed += member.compress_size
    if unpacked > MAX_UNPACKED_BYTES or unpacked > FREE_BYTES + MAX_RATIO * packed:
        archive.close()
        raise InvalidRequest(
            "The spreadsheet unpacks to far more than it may.", code="compression_bomb"
        )
    return archive


def scan_sheet(archive: zipfile.ZipFile, member: str) -> SheetScan:
    """Look through the cells of a sheet; raise `InvalidRequest` when there are too many."""
    scanner = _Scanner()
    try:
        with archive.open(member) as stream:
            for piece in _pieces(stream, at_most=MAX_UNPACKED_BYTES):
                scanner.parser.Parse(piece, False)  # noqa: FBT003  # expat's own way
            scanner.parser.Parse(b"", True)  # noqa: FBT003  # as above
    except (expat.ExpatError, zipfile.BadZipFile, EOFError, RuntimeError, KeyError) as error:
        raise InvalidRequest("The spreadsheet is damaged.", code="file_damaged") from error
    return SheetScan(
        formulas=frozenset(scanner.formulas), rows=scanner.last_row, columns=scanner.last_column
    )


def find_member(archive: zipfile.ZipFile, sheet: int) -> str:
    """Return the archive's member of a sheet by its place in the workbook, from 0."""
    try:
        sheets = _attributes(archive.read(_MAIN), "sheet", "r:id")
        relations = archive.read("xl/_rels/workbook.xml.rels")
        ids, targets = _attributes(relations, "Relationship", "Id", "Target")
        target = dict(zip(ids, targets, strict=True))[sheets[0][sheet]]
    except (expat.ExpatError, zipfile.BadZipFile, KeyError, IndexError, ValueError) as error:
        raise InvalidRequest("The spreadsheet is damaged.", code="file_damaged") from error
    return target.lstrip("/") if target.startswith("/") else f"xl/{target}"


def _attributes(document: bytes, element: str, *names: str) -> list[list[str]]:
    """Return the values of attributes of all such elements of a small document, a list a name."""
    found: list[list[str]] = [[] for _ in names]

    def start(tag: str, attributes: dict[str, str]) -> None:
        if tag.rpartition(":")[2] == element:
            for values, name in zip(found, names, strict=True):
                values.append(attributes[name])

    parser = _parser()
    parser.StartElementHandler = start
    parser.Parse(document, True)  # noqa: FBT003  # expat's own way
    return found


class _Scanner:
    """Notes formulas and the extent of a sheet as expat goes through it."""

    def __init__(self) -> None:
        self.formulas: set[tuple[int, int]] = set()
        self.last_row = 0
        self.last_column = 0
        self._first_row = 0
        self._row = 0
        self._column = 0
        self.parser = _parser()
        self.parser.StartElementHandler = self._start

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        match tag.rpartition(":")[2]:
            case "row":
                given = attributes.get("r", "")
                self._row = int(given) if given.isdecimal() else self._row + 1
                self._column = 0
            case "c":
                self._enter(attributes.get("r", ""))
            case "f":
                self.formulas.add((self._row, self._column))
            case _:
                pass

    def _enter(self, place: str) -> None:
        found = _CELL.fullmatch(place)
        if found is None:
            self._column += 1
        else:
            self._column, self._row = column_number(found[1]), int(found[2])
        self._first_row = self._first_row or self._row
        self.last_row = max(self.last_row, self._row)
        self.last_column = max(self.last_column, self._column)
        if self.last_column > MAX_COLUMNS:
            raise InvalidRequest(
                f"The sheet has more than {MAX_COLUMNS} columns.", code="columns_too_many"
            )
        if (self.last_row - self._first_row + 1) * self.last_column > MAX_CELLS:
            raise InvalidRequest(
                "The sheet is too large to be read as a spreadsheet; save it as CSV.",
                code="sheet_too_large",
            )


def column_number(letters: str) -> int:
    """Return a column's number from 1: A, B ... Z, AA."""
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number


def _parser() -> expat.XMLParserType:
    parser = expat.ParserCreate()

    def refuse(*_: object) -> None:
        # Entities are how a small document becomes a huge one; spreadsheets have none.
        raise InvalidRequest("The spreadsheet declares XML entities.", code="file_damaged")

    parser.EntityDeclHandler = refuse
    return parser


def _pieces(stream: IO[bytes], *, at_most: int) -> Iterator[bytes]:
    read = 0
    while piece := stream.read(PIECE_BYTES):
        read += len(piece)
        if read > at_most:
            raise InvalidRequest(
                "The spreadsheet unpacks to far more than it may.", code="compression_bomb"
            )
        yield piece

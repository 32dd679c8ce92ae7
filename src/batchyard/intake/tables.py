"""An uploaded CSV file as a stream: encoding, separator and header found, then row by row."""

import re
from collections.abc import Sequence

from batchyard.errors import InvalidRequest
from batchyard.intake.columns import Columns, Header, find_marks, name_columns
from batchyard.intake.decoding import DETECT_BYTES, TextDecoder
from batchyard.intake.exports import unprotect
from batchyard.intake.records import Row, RowReader
from batchyard.intake.synonyms import plain

DELIMITERS = (",", ";", "\t", "|")
BACKSLASH = "\\"
NOT_TEXT = {
    b"PK\x03\x04": "a spreadsheet or an archive",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet",
    b"\x1f\x8b": "a compressed file",
    b"%PDF": "a PDF",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"\x7fELF": "a program",
}
"""First bytes of files that people upload by mistake."""


class TableReader:
    """Turns chunks of a CSV file into its header and its rows, blank ones left out."""

    def __init__(self, columns: Columns, *, encoding: str | None = None) -> None:
        """`columns` says without which the file is refused; an encoding is found unless said."""
        self.header: Header | None = None
        self.delimiter = DELIMITERS[0]
        self._columns = columns
        self._said = encoding
        self._beginning = bytearray()
        self._decoder: TextDecoder | None = None
        self._rows: RowReader | None = None

    @property
    def encoding(self) -> str | None:
        """How the characters are written; known once there is a header."""
        return None if self._decoder is None else self._decoder.encoding

    @property
    def is_encoding_guessed(self) -> bool:
        """Whether that is only what is usual."""
        return self._decoder is not None and self._decoder.is_guessed

    def feed(self, data: bytes) -> list[Row]:
        """Return the rows complete with these bytes; raise `InvalidRequest` if it is no CSV."""
        if self._rows is None or self._decoder is None:
            self._beginning += data
            if len(self._beginning) < DETECT_BYTES:
                return []
            return self._start(is_last=False)
        return self._filled(self._rows.feed(self._decoder.decode(data)))

    def finish(self) -> list[Row]:
        """Return the rows that were still open; raise `InvalidRequest` if it is no CSV."""
        if self._rows is None or self._decoder is None:
            return self._start(is_last=True)
        rows = self._rows.feed(self._decoder.decode(b"", is_last=True))
        return self._filled(rows + self._rows.finish())

    def _start(self, *, is_last: bool) -> list[Row]:
        beginning = bytes(self._beginning)
        self._beginning.clear()
        refuse_other_formats(beginning)
        self._decoder = TextDecoder(beginning, said=self._said)
        text = self._decoder.decode(beginning, is_last=is_last)
        if not text.strip():
            raise InvalidRequest("The file is empty.", code="file_empty")
        self.delimiter = find_delimiter(text[:DETECT_BYTES], columns=self._columns)
        quote = find_quote(text[:DETECT_BYTES], delimiter=self.delimiter)
        escape = find_escape(text[:DETECT_BYTES], delimiter=self.delimiter, quote=quote)
        self._rows = RowReader(self.delimiter, quote, escape=escape)
        rows = self._rows.feed(text)
        if is_last:
            rows += self._rows.finish()
        return self._filled(rows)

    def _filled(self, rows: list[Row]) -> list[Row]:
        filled = [row for row in rows if row[2] is not None or not is_blank(row[1])]
        if self.header is None:
            if filled and is_separator_line(filled[0]):
                filled = filled[1:]
            if not filled:
                raise InvalidRequest(
                    "The file has no header that can be read; it is not a CSV.",
                    code="header_missing",
                )
            self.header = make_header(filled[0], columns=self._columns)
            return filled[1:]
        return filled


def is_blank(cells: Sequence[str]) -> bool:
    """Tell whether a row has nothing but blanks."""
    return not any(cell and not cell.isspace() for cell in cells)


def is_separator_line(row: Row) -> bool:
    """Tell whether a row is the `sep=;` line that some spreadsheets write before the header."""
    text = "".join(row[1]).strip().lower()
    return text in {"sep=", "sep=,", "sep=;", "sep=|"}


def refuse_other_formats(beginning: bytes) -> None:
    """Raise `InvalidRequest` when the first bytes belong to something else than text."""
    for start, what in NOT_TEXT.items():
        if beginning.startswith(start):
            raise InvalidRequest(
                f"The file is not a CSV but {what}; save it as CSV.", code="format_unknown"
            )


def find_delimiter(beginning: str, *, columns: Columns) -> str:
    """Return the separator that finds the columns looked for, else the one that finds most."""
    best, best_score = DELIMITERS[0], (0, 0, 0)
    for delimiter in DELIMITERS:
        quote = find_quote(beginning, delimiter=delimiter)
        cells = _first_cells(beginning, delimiter=delimiter, quote=quote)
        names = set(map(plain, cells))
        score = (len(names & columns.named), len(names & columns.likely), len(cells))
        if score > best_score:
            best, best_score = delimiter, score
    return best


def find_quote(beginning: str, *, delimiter: str) -> str:
    """Return the character around cells: an apostrophe where it is around each of the header."""
    cells = _first_cells(beginning, delimiter=delimiter, quote='"')
    is_apostrophe = all(len(cell) > 1 and cell[0] == cell[-1] == "'" for cell in cells)
    return "'" if cells and is_apostrophe else '"'


def find_escape(beginning: str, *, delimiter: str, quote: str) -> str | None:
    """Return the backslash where cells have it before their quotation marks; None where not.

    It shows where such a mark would end a cell, but the cell goes on behind it. A cell that only
    ends with a backslash, as the path of a folder may, is no sign.
    """
    mark, between = re.escape(quote), re.escape(delimiter)
    cell = re.compile(
        f"(?:{mark}([^{mark}]*(?:{mark}{mark}[^{mark}]*)*){mark})?"
        f"([^{between}\r\n]*)(?:{between}|\r\n?|\n|\\Z)"
    )
    for found in cell.finditer(beginning):
        inside, behind = found[1] or "", found[2]
        backslashes = len(inside) - len(inside.rstrip(BACKSLASH))
        if backslashes % 2 == 1 and behind.strip():
            return BACKSLASH
    return None


def _first_cells(beginning: str, *, delimiter: str, quote: str) -> list[str]:
    reader = RowReader(delimiter, quote)
    rows = reader.begin(beginning, rows=100)
    rows = [row for row in rows if not is_blank(row[1]) and not is_separator_line(row)]
    return rows[0][1] if rows else []


def make_header(row: Row, *, columns: Columns) -> Header:
    """Name the columns of a header row; raise `InvalidRequest` when it cannot be one."""
    _, cells, fault = row
    if fault is not None or any(_is_control(c) for cell in cells for c in cell):
        raise InvalidRequest(
            "The first row cannot be read as a header; the file is not a CSV.",
            code="header_missing",
        )
    # Spreadsheets leave separators of columns that were cleared.
    while cells and not cells[-1].strip():
        cells = cells[:-1]
    if find_marks(cells):
        # We wrote it ourselves, and protected its names as well as its cells.
        cells = [unprotect(cell) for cell in cells]
    return name_columns(cells, columns)


def _is_control(character: str) -> bool:
    return character < " " and character not in "\t\r\n"

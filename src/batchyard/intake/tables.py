"""An uploaded CSV file as a stream: encoding, separator and header found, then row by row."""

from collections.abc import Sequence
from dataclasses import dataclass

from batchyard.errors import InvalidRequest
from batchyard.intake.decoding import DETECT_BYTES, TextDecoder
from batchyard.intake.records import Row, RowReader

DELIMITERS = (",", ";", "\t")
MAX_COLUMNS = 2000
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """The columns of a table."""

    cells: tuple[str, ...]
    """As in the file."""
    names: tuple[str, ...]
    """Trimmed, each different from all others."""
    needed: int
    """Index of the column that must be there."""
    is_renamed: bool
    """Whether a name is not the one in the file."""


class TableReader:
    """Turns chunks of a CSV file into its header and its rows, blank ones left out."""

    def __init__(self, *, needed: str) -> None:
        """`needed` is the column without which the file is refused; case does not matter."""
        self.header: Header | None = None
        self._needed = needed
        self._beginning = bytearray()
        self._decoder: TextDecoder | None = None
        self._rows: RowReader | None = None

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
        self._decoder = TextDecoder(beginning)
        text = self._decoder.decode(beginning, is_last=is_last)
        if not text.strip():
            raise InvalidRequest("The file is empty.")
        self._rows = RowReader(find_delimiter(text[:DETECT_BYTES], needed=self._needed))
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
                raise InvalidRequest("The file has no header that can be read; it is not a CSV.")
            self.header = make_header(filled[0], needed=self._needed)
            return filled[1:]
        return filled


def is_blank(cells: Sequence[str]) -> bool:
    """Tell whether a row has nothing but blanks."""
    return not any(cell and not cell.isspace() for cell in cells)


def is_separator_line(row: Row) -> bool:
    """Tell whether a row is the `sep=;` line that some spreadsheets write before the header."""
    text = "".join(row[1]).strip().lower()
    return text in {"sep=", "sep=,", "sep=;"}


def refuse_other_formats(beginning: bytes) -> None:
    """Raise `InvalidRequest` when the first bytes belong to something else than text."""
    for start, what in NOT_TEXT.items():
        if beginning.startswith(start):
            raise InvalidRequest(f"The file is not a CSV but {what}; save it as CSV.")


def find_delimiter(beginning: str, *, needed: str) -> str:
    """Return the separator that finds the needed column, else the one that finds most columns."""
    best, best_score = DELIMITERS[0], (False, 0)
    for delimiter in DELIMITERS:
        reader = RowReader(delimiter)
        rows = reader.feed(beginning) or reader.finish()
        rows = [row for row in rows[:100] if not is_blank(row[1]) and not is_separator_line(row)]
        cells = rows[0][1] if rows else []
        score = (any(_same(cell, needed) for cell in cells), len(cells))
        if score > best_score:
            best, best_score = delimiter, score
    return best


def make_header(row: Row, *, needed: str) -> Header:
    """Name the columns; raise `InvalidRequest` when the needed one is missing."""
    _, cells, fault = row
    if fault is not None or any(_is_control(c) for cell in cells for c in cell):
        raise InvalidRequest("The first row cannot be read as a header; the file is not a CSV.")
    # Spreadsheets leave separators of columns that were cleared.
    while cells and not cells[-1].strip():
        cells = cells[:-1]
    if len(cells) > MAX_COLUMNS:
        raise InvalidRequest(f"The file has more than {MAX_COLUMNS} columns.")
    index = next((i for i, cell in enumerate(cells) if _same(cell, needed)), None)
    if index is None:
        raise InvalidRequest(f"The file has no column {needed}.")
    names: list[str] = []
    taken: set[str] = {needed}
    for position, cell in enumerate(cells):
        if position == index:
            names.append(needed)
            continue
        name = _free_name(cell.strip() or f"column_{position + 1}", taken)
        taken.add(name)
        names.append(name)
    is_renamed = any(
        name != cell.strip() and not _same(cell, name)
        for name, cell in zip(names, cells, strict=True)
    )
    return Header(cells=tuple(cells), names=tuple(names), needed=index, is_renamed=is_renamed)


def _free_name(wanted: str, taken: set[str]) -> str:
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    return name


def _same(cell: str, name: str) -> bool:
    return cell.strip().casefold() == name.casefold()


def _is_control(character: str) -> bool:
    return character < " " and character not in "\t\r\n"

"""Text to rows: the csv module, fed as the text comes in, with the line where each row starts."""

import csv
import io
import re
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice

from batchyard.errors import InvalidRequest

MAX_ROW_CHARACTERS = 1024 * 1024
MAX_UNCLOSED_QUOTES = 100
"""Each one costs reading ahead by up to a row's length, so there must be an end to them."""
KEPT_CHARACTERS = 1000
"""What is kept of a row that is too long."""

BLANK_LINES = frozenset(("\n", "\r\n", "\r"))
"""Between rows; inside quotes they belong to their cell."""

Row = tuple[int, list[str], str | None]
"""Line where the row starts, its cells, and the code of what is wrong with it as a whole.

A plain tuple: millions of them go through, some to another process.
"""

Record = tuple[int, list[str] | dict[str, object], str | None]
"""A row of any format: a list of cells in the order of the header, or one JSON object."""

FORMULA_CELL = "formula_cell"
"""The fault of a row of which all cells are there."""

# The limit belongs to the whole process; a row is cut or given up before it.
csv.field_size_limit(4 * MAX_ROW_CHARACTERS)


class RowReader:
    """Turns chunks of text into rows, whatever the borders of the chunks; empty lines are none."""

    def __init__(self, delimiter: str, quote: str = '"', *, escape: str | None = None) -> None:
        """`escape` is what stands before a quotation mark within a cell; else it is doubled."""
        self._delimiter, self._quote, self._escape = delimiter, quote, escape
        mark, between = re.escape(quote), re.escape(delimiter)
        blank = f"(?:(?!{between})[^\\S\r\n])"
        self._padding = re.compile(f"{mark}{blank}+(?={between}|[\r\n]|$)")
        self._tail = ""
        self._lines = _Lines()
        self._csv = self._read(self._lines)
        self._line = 1
        self._unclosed = 0

    def feed(self, text: str) -> list[Row]:
        """Return the rows that are complete with this text."""
        self._take(text)
        return list(self._rows(is_last=False))

    def begin(self, text: str, *, rows: int) -> list[Row]:
        """Return so many rows of the beginning of a file at most; no more of it is read."""
        self._take(text)
        return list(islice(self._rows(is_last=False), rows)) or self.finish()[:rows]

    def _take(self, text: str) -> None:
        # StringIO splits at CR, LF and CRLF only, and keeps them, as the csv module needs it.
        lines = list(io.StringIO(self._tail + text, newline=""))
        self._tail = ""
        # A CR at the very end may be half of a CRLF.
        if lines and not lines[-1].endswith("\n"):
            self._tail = self._cut(lines.pop())
        self._lines.waiting.extend(self._cut(line) for line in lines)

    def finish(self) -> list[Row]:
        """Return the rows that were still open at the end of the file."""
        if self._tail:
            self._lines.waiting.append(self._tail)
            self._tail = ""
        return list(self._rows(is_last=True))

    def _read(self, lines: Iterable[str], *, strict: bool = False) -> Iterator[list[str]]:
        return csv.reader(
            lines,
            delimiter=self._delimiter,
            quotechar=self._quote,
            escapechar=self._escape,
            strict=strict,
        )

    def _cut(self, line: str) -> str:
        """Keep an endless line from filling the memory; its row is refused as too long."""
        if len(line) <= MAX_ROW_CHARACTERS:
            return line
        ending = line[len(line.rstrip("\r\n")) :]
        return line[:MAX_ROW_CHARACTERS] + ending

    def _rows(self, *, is_last: bool) -> Iterator[Row]:
        lines = self._lines
        while lines.waiting:
            if lines.waiting[0] in BLANK_LINES:
                # Millions of them may come out of a small compressed file.
                lines.waiting.popleft()
                self._line += 1
                continue
            lines.taken.clear()
            lines.taken_characters = 0
            try:
                cells = next(self._csv)
            except _Exhausted:
                # The row is not complete: it is read anew, from its start, with more text.
                lines.put_back()
                if not is_last:
                    return
                yield self._give_up()
            except _Overlong:
                is_one_line = len(lines.taken) == 1
                lines.put_back()
                # A cell of one endless line was cut, its closing quotation mark with it.
                yield self._refuse_long() if is_one_line else self._give_up()
            else:
                if self._is_swallowed():
                    lines.put_back()
                    yield self._give_up()
                    continue
                line = self._line
                self._line += len(lines.taken)
                if lines.taken_characters >= MAX_ROW_CHARACTERS:
                    yield line, ["".join(cells)[:KEPT_CHARACTERS]], "row_too_long"
                else:
                    yield line, cells, None

    def _is_swallowed(self) -> bool:
        """Tell whether rows were taken for one because a quotation mark was never closed.

        Then it ended at the one that opens a later cell, and something stands behind that: more
        than the blanks which some programs put between a cell and the separator.
        """
        if len(self._lines.taken) == 1:
            return False
        padded = (self._padding.sub(self._quote, line) for line in self._lines.taken)
        try:
            next(self._read(padded, strict=True))
        except csv.Error:
            return True
        return False

    def _give_up(self) -> Row:
        """Refuse only the line that opened a quote, so that the rows after it are not lost."""
        self._unclosed += 1
        if self._unclosed > MAX_UNCLOSED_QUOTES:
            raise InvalidRequest(
                "The file cannot be read as CSV: too many quotation marks are never closed.",
                code="quotes_not_closed",
            )
        line = self._line
        text = self._lines.waiting.popleft().rstrip("\r\n")
        self._line += 1
        return line, text[:MAX_ROW_CHARACTERS].split(self._delimiter), "quote_not_closed"

    def _refuse_long(self) -> Row:
        """Refuse the line that is too long by itself."""
        line, self._line = self._line, self._line + 1
        return line, [self._lines.waiting.popleft()[:KEPT_CHARACTERS]], "row_too_long"


class _Exhausted(Exception):
    """No more lines for now."""


class _Overlong(Exception):
    """The row goes on beyond any sensible length."""


class _Lines:
    """Feeds the csv reader; the lines of the row it is in can be put back.

    The reader starts each row with a clean state, also after an exception in the row before.
    """

    def __init__(self) -> None:
        self.waiting: deque[str] = deque()
        self.taken: list[str] = []
        self.taken_characters = 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        if self.taken_characters >= MAX_ROW_CHARACTERS:
            raise _Overlong
        if not self.waiting:
            raise _Exhausted
        line = self.waiting.popleft()
        self.taken.append(line)
        self.taken_characters += len(line)
        return line

    def put_back(self) -> None:
        self.waiting.extendleft(reversed(self.taken))

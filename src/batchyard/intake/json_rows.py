"""JSON lists to rows, one object each, fed as the bytes come in.

Our own splitter instead of a streaming parser: those end at the first fault and hold a value of
any length, while here one broken or endless row should cost that row alone. In a list it can where
its brackets and quotation marks are in pairs: what was never closed takes everything behind along.
"""

import math
import re
from collections.abc import Iterator, Mapping

import orjson

from batchyard.errors import InvalidRequest
from batchyard.intake.blocks import Bad
from batchyard.intake.records import KEPT_CHARACTERS, MAX_ROW_CHARACTERS, Record

MAX_DEPTH = 32
LEAST_NUMBER, LARGEST_NUMBER = -(2**63), 2**64 - 1
"""Whole numbers beyond these would be rounded."""

_OPENING = re.compile(rb'\s*(?:\[|\{\s*"[A-Za-z_]{1,40}"\s*:\s*\[)')
"""The list itself, or an object whose first key holds it."""
_MARK = re.compile(rb'["{}\[\],]')
_STRING_END = re.compile(rb'["\\]')
_LONG_NUMBER = re.compile(rb"[0-9]{19}|[0-9][eE]\+?[0-9]{2}")
"""One that may have more than 64 bits, written out or with an exponent."""


def looks_like_list(beginning: bytes) -> bool:
    """Tell whether a JSON text begins as one list, not as one object a line."""
    opening = _OPENING.match(beginning)
    if opening is None:
        return False
    if opening[0].lstrip().startswith(b"["):
        return True
    # A row may also have a list under its first key; then its line is a whole object.
    first_line = beginning.lstrip().partition(b"\n")[0]
    return not _is_row(first_line) or _rows_under_first_key(first_line)


def _is_row(text: bytes) -> bool:
    try:
        return isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError:
        return False


def _rows_under_first_key(text: bytes) -> bool:
    found = orjson.loads(text)
    inner = next(iter(found.values()))
    return len(found) == 1 and bool(inner) and all(isinstance(one, dict) for one in inner)


class LineReader:
    """Turns chunks of one JSON object a line into rows; blank lines are none."""

    def __init__(self) -> None:
        self._tail = b""
        self._line = 1

    def feed(self, data: bytes) -> list[Record]:
        """Return the rows that are complete with these bytes."""
        lines = (self._tail + data).split(b"\n")
        self._tail = lines.pop()
        if len(self._tail) > 2 * MAX_ROW_CHARACTERS:
            # An endless line must not fill the memory; its row is refused as too long.
            self._tail = self._tail[: MAX_ROW_CHARACTERS + 1]
        return list(self._rows(lines))

    def finish(self) -> list[Record]:
        """Return the row that had no line end."""
        tail, self._tail = self._tail, b""
        return list(self._rows([tail]))

    def _rows(self, lines: list[bytes]) -> Iterator[Record]:
        for line in lines:
            if line.strip():
                yield read_row(self._line, line)
            self._line += 1


class ListReader:
    """Turns chunks of a JSON list of objects into rows, numbered from 1."""

    def __init__(self) -> None:
        self._text = bytearray()
        self._is_begun = False
        self._is_bare = False
        self._behind: _Behind | None = None
        """What comes after the list, once that has ended."""
        self._scanned = 0
        self._start = 0
        self._depth = 0
        self._in_string = False
        self._is_long = False
        self._number = 1

    def feed(self, data: bytes) -> list[Record]:
        """Return the rows complete with these bytes; raise `InvalidRequest` if it is no list."""
        if self._behind is not None:
            self._behind.feed(data)
            return []
        self._text += data
        if not self._is_begun and not self._begin():
            return []
        rows = list(self._split())
        self._forget()
        if self._behind is not None:
            self._behind.feed(bytes(self._text[self._scanned :]))
            self._text.clear()
        return rows

    def finish(self) -> list[Record]:
        """Return no row; raise `InvalidRequest` when the list was never closed."""
        if self._behind is None:
            raise InvalidRequest(
                "The JSON list has no end: it is cut off, or a bracket or quotation mark is never "
                "closed. With one object a line a broken row costs only itself.",
                code="file_damaged",
            )
        return []

    def _begin(self) -> bool:
        opening = _OPENING.match(self._text)
        if opening is None:
            if len(self._text) > 1024:
                raise InvalidRequest("The JSON is not a list of objects.", code="not_a_list")
            return False
        self._is_begun = True
        self._is_bare = opening[0].lstrip().startswith(b"[")
        self._scanned = self._start = opening.end()
        return True

    def _split(self) -> Iterator[Record]:
        """Walk over the marks that can end a row: only a comma or a bracket at depth 0 does."""
        while self._behind is None:
            if self._in_string and not self._leave_string():
                return
            mark = _MARK.search(self._text, self._scanned)
            if mark is None:
                self._scanned = len(self._text)
                return
            self._scanned = mark.end()
            match mark[0]:
                case b'"':
                    self._in_string = True
                case b"{" | b"[":
                    self._depth += 1
                case b"," if self._depth == 0:
                    yield self._row(mark.start())
                case b"]" if self._depth == 0:
                    self._behind = _Behind(is_bare=self._is_bare)
                    if self._text[self._start : mark.start()].strip() or self._is_long:
                        yield self._row(mark.start())
                case b"}" | b"]":
                    # A bracket too many must not swallow the rows behind it.
                    self._depth = max(0, self._depth - 1)
                case _:
                    pass

    def _leave_string(self) -> bool:
        while True:
            found = _STRING_END.search(self._text, self._scanned)
            if found is None:
                self._scanned = len(self._text)
                return False
            if found[0] == b'"':
                self._scanned = found.end()
                self._in_string = False
                return True
            if found.end() == len(self._text):
                # The escaped character comes with the next chunk.
                self._scanned = found.start()
                return False
            self._scanned = found.end() + 1

    def _row(self, end: int) -> Record:
        text = bytes(self._text[self._start : end])
        number, self._number = self._number, self._number + 1
        self._start = self._scanned
        if self._is_long:
            self._is_long = False
            return _too_long(number, text)
        return read_row(number, text)

    def _forget(self) -> None:
        """Drop what was read; of a row without end keep only its beginning."""
        if self._scanned - self._start > MAX_ROW_CHARACTERS:
            self._is_long = True
            kept = self._start + KEPT_CHARACTERS
            del self._text[kept : self._scanned]
            self._scanned = kept
        del self._text[: self._start]
        self._scanned -= self._start
        self._start = 0


class _Behind:
    """What comes behind the list: of an object its other keys, of which nothing is kept."""

    def __init__(self, *, is_bare: bool) -> None:
        self._depth = 0 if is_bare else 1
        self._in_string = False
        self._is_escaped = False

    def feed(self, data: bytes) -> None:
        """Pass over it; raise `InvalidRequest` if anything comes where all is closed."""
        at = 0
        while self._depth > 0 and at < len(data):
            if self._is_escaped:
                self._is_escaped = False
                at += 1
                continue
            found = (_STRING_END if self._in_string else _MARK).search(data, at)
            if found is None:
                return
            at = found.end()
            match found[0]:
                case b"\\":
                    self._is_escaped = True
                case b'"':
                    self._in_string = not self._in_string
                case b"{" | b"[":
                    self._depth += 1
                case b"}" | b"]":
                    self._depth -= 1
                case _:
                    pass
        if data[at:].strip():
            raise InvalidRequest("Something comes behind the end of the list.", code="file_damaged")


def read_row(number: int, text: bytes) -> Record:
    """Read one object; what is none becomes a row with a fault."""
    if len(text) > MAX_ROW_CHARACTERS:
        return _too_long(number, text)
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return number, [_shown(text)], "json_malformed"
    if not isinstance(found, dict):
        return number, [_shown(text)], "json_no_object"
    if _is_deeper(found, MAX_DEPTH):
        return number, [_shown(text)], "json_too_deep"
    if _LONG_NUMBER.search(text) and (fault := object_fault(found)):
        return number, [_shown(text)], fault.code
    return number, found, None


def object_fault(found: Mapping[str, object]) -> Bad | None:
    """Return what is wrong with an object that `read_row` did not read, so that it is one as well.

    Python takes for JSON what is none, and reads whole numbers that nobody behind it keeps.
    """
    if _is_deeper(found, MAX_DEPTH):
        return Bad(code="json_too_deep")
    for number in _numbers(found):
        if isinstance(number, int):
            if not LEAST_NUMBER <= number <= LARGEST_NUMBER:
                return Bad(code="json_number_too_long")
        elif not math.isfinite(number):
            return Bad(code="json_malformed")
        elif number.is_integer() and not LEAST_NUMBER < number < LARGEST_NUMBER:
            # A longer whole number that was rounded; or one that the database writes out so.
            return Bad(code="json_number_too_long")
    return None


def _numbers(value: object) -> Iterator[int | float]:
    match value:
        case int() | float():
            yield value
        case dict():
            for one in value.values():
                yield from _numbers(one)
        case list():
            for one in value:
                yield from _numbers(one)
        case _:
            return


def _is_deeper(value: object, levels: int) -> bool:
    if isinstance(value, dict):
        inner = list(value.values())
    elif isinstance(value, list):
        inner = value
    else:
        return False
    return levels == 0 or any(_is_deeper(one, levels - 1) for one in inner)


def _too_long(number: int, text: bytes) -> Record:
    return number, [_shown(text)], "row_too_long"


def _shown(text: bytes) -> str:
    return text.decode("utf-8", "replace").strip()[:KEPT_CHARACTERS]

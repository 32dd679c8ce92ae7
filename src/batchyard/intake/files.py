"""An uploaded file of any format as a stream of rows; what it is, its first bytes tell."""

import codecs
import re
from collections.abc import Collection, Iterable, Iterator
from enum import StrEnum

from batchyard.errors import InvalidRequest
from batchyard.intake import gunzip
from batchyard.intake.columns import Columns, Header
from batchyard.intake.decoding import DETECT_BYTES, UTF_8, TextDecoder, find_encoding
from batchyard.intake.gunzip import Gunzip
from batchyard.intake.json_rows import LineReader, ListReader, looks_like_list
from batchyard.intake.records import Record, Row
from batchyard.intake.tables import TableReader, is_blank, make_header, refuse_other_formats

MAX_UNPACKED_BYTES = 6 * 1024**3
_JSON = re.compile(rb'\s*[\[{]\s*["\[{\]}]')
_ZIP = b"PK\x03\x04"


class Format(StrEnum):
    """What a file can be; each of them gzipped too."""

    CSV = "csv"
    XLSX = "xlsx"
    JSON = "json"
    NDJSON = "ndjson"


class FileReader:
    """Turns chunks of a file into rows.

    A spreadsheet can only be read whole: its bytes are handed on in `spooled`, and its rows come
    back by `take_rows`.
    """

    def __init__(
        self,
        columns: Columns,
        *,
        formats: Collection[Format] = tuple(Format),
        takes_gzip: bool = True,
        encoding: str | None = None,
        max_unpacked_bytes: int = MAX_UNPACKED_BYTES,
    ) -> None:
        """Take an encoding that is said; raise `InvalidRequest` for one that is not read."""
        self.format: Format | None = None
        self.is_gzipped = False
        self.unpacked_bytes = 0
        self.spooled: list[bytes] = []
        """Bytes of a spreadsheet, to be kept somewhere by whoever feeds."""
        self._columns = columns
        self._formats = formats
        self._takes_gzip = takes_gzip
        self._encoding = None if encoding is None else find_encoding(encoding)
        self._max_unpacked_bytes = max_unpacked_bytes
        self._beginning = bytearray()
        self._gunzip: Gunzip | None = None
        self._is_begun = False
        self._inner: TableReader | ListReader | LineReader | None = None
        self._transcoder: TextDecoder | None = None
        self._sheet_header: Header | None = None

    @property
    def header(self) -> Header | None:
        """The columns, once they are known; files of JSON objects have none."""
        if isinstance(self._inner, TableReader):
            return self._inner.header
        return self._sheet_header

    @property
    def delimiter(self) -> str | None:
        """What separates the cells of a CSV."""
        return self._inner.delimiter if isinstance(self._inner, TableReader) else None

    @property
    def encoding(self) -> str | None:
        """How the characters of a text are written; None for a spreadsheet."""
        if isinstance(self._inner, TableReader):
            return self._inner.encoding
        if self._transcoder is not None:
            return self._transcoder.encoding
        return None if self._inner is None else UTF_8

    @property
    def is_encoding_guessed(self) -> bool:
        """Whether the encoding is only what is usual, and letters may be wrong."""
        if isinstance(self._inner, TableReader):
            return self._inner.is_encoding_guessed
        return self._transcoder is not None and self._transcoder.is_guessed

    def feed(self, data: bytes) -> Iterator[list[Record]]:
        """Yield the rows complete with these bytes, some at a time, however far they unpack.

        Raises `InvalidRequest` if it is no list.
        """
        if not self._is_begun:
            self._beginning += data
            if len(self._beginning) < len(gunzip.MAGIC):
                return
            data = bytes(self._beginning)
            self._begin_packing()
        yield from self._rows([data] if self._gunzip is None else self._gunzip.feed(data))

    def finish(self) -> Iterator[list[Record]]:
        """Yield the rows that were still open; raise `InvalidRequest` if it is no list."""
        if not self._is_begun:
            data = bytes(self._beginning)
            self._beginning.clear()
            yield from self._rows([data])
        if self._gunzip is not None:
            yield from self._rows(self._gunzip.finish())
        if self.format is None:
            yield self._begin()
        if self._transcoder is not None:
            yield self._parsed(self._transcoder.decode(b"", is_last=True).encode())
        if self._inner is not None:
            yield list(self._inner.finish())

    def take_rows(self, rows: Iterable[Row]) -> list[Record]:
        """Return the rows of a spreadsheet, blank ones and the header left out."""
        filled = [row for row in rows if row[2] is not None or not is_blank(row[1])]
        if self._sheet_header is None and filled:
            line, cells, _ = filled.pop(0)
            self._sheet_header = make_header((line, cells, None), columns=self._columns)
        return list(filled)

    def _begin_packing(self) -> None:
        self._is_begun = True
        self.is_gzipped = self._takes_gzip and self._beginning.startswith(gunzip.MAGIC)
        if self.is_gzipped:
            self._gunzip = Gunzip(max_bytes=self._max_unpacked_bytes)
        self._beginning.clear()

    def _rows(self, pieces: Iterable[bytes]) -> Iterator[list[Record]]:
        for piece in pieces:
            self.unpacked_bytes += len(piece)
            if self.format is None:
                self._beginning += piece
                if len(self._beginning) >= DETECT_BYTES:
                    yield self._begin()
            elif self._transcoder is None:
                yield self._parsed(piece)
            else:
                yield self._parsed(self._transcoder.decode(piece).encode())

    def _begin(self) -> list[Record]:
        beginning = bytes(self._beginning)
        self._beginning.clear()
        self.format, text = self._recognise(beginning)
        if self.format not in self._formats:
            refuse_other_formats(beginning)
            raise InvalidRequest(
                f"This call takes no {self.format.upper()}; save the list as CSV.",
                code="format_unknown",
            )
        match self.format:
            case Format.CSV:
                self._inner = TableReader(self._columns, encoding=self._encoding)
            case Format.JSON:
                self._inner = ListReader()
            case Format.NDJSON:
                self._inner = LineReader()
            case Format.XLSX:
                pass
        return self._parsed(text)

    def _recognise(self, beginning: bytes) -> tuple[Format, bytes]:
        """Return the format and the text to be read on: of JSON always as UTF-8."""
        if beginning.startswith(_ZIP):
            return Format.XLSX, beginning
        decoder = TextDecoder(beginning, said=self._encoding)
        text = beginning
        if decoder.encoding != UTF_8 or beginning.startswith(codecs.BOM_UTF8):
            text = decoder.decode(beginning).encode("utf-8", "replace")
        if Format.JSON not in self._formats or not _JSON.match(text):
            return Format.CSV, beginning
        if text is not beginning:
            self._transcoder = decoder
        return (Format.JSON if looks_like_list(text) else Format.NDJSON), text

    def _parsed(self, piece: bytes) -> list[Record]:
        if self._inner is None:
            self.spooled.append(piece)
            return []
        if isinstance(self._inner, TableReader):
            return list(self._inner.feed(piece))
        return self._inner.feed(piece)

"""An upload in parts (RFC 7578), read as it comes in: no part is spooled or held."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from batchyard.errors import InvalidRequest

MAX_PARTS = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class PartStart:
    """A part begins."""

    name: str
    file_name: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class PartData:
    """Some bytes of the part that began last."""

    data: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class PartEnd:
    """The part that began last is complete."""


PartEvent = PartStart | PartData | PartEnd


class MultipartReader:
    """Turns chunks of a multipart body into events."""

    def __init__(self, content_type: str) -> None:
        """Raise `InvalidRequest` when the body is not multipart or names no boundary."""
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise InvalidRequest("The body must be multipart/form-data.")
        self._events: list[PartEvent] = []
        self._headers: dict[bytes, bytes] = {}
        self._header = (bytearray(), bytearray())
        self._parts = 0
        self._is_complete = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._add_header_field,
                    "on_header_value": self._add_header_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._end_headers,
                    "on_part_data": self._add_data,
                    "on_part_end": self._end_part,
                    "on_end": self._complete,
                },
            )
        except FormParserError as error:
            raise InvalidRequest(f"The multipart body cannot be read: {error}.") from error

    def feed(self, chunk: bytes) -> Iterator[PartEvent]:
        """Return what the next bytes of the body bring."""
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise InvalidRequest(f"The multipart body is malformed: {error}.") from error
        events, self._events = self._events, []
        return iter(events)

    def finish(self) -> None:
        """Raise `InvalidRequest` unless the body came to its last boundary."""
        if not self._is_complete:
            raise InvalidRequest("The multipart body ends before its last boundary.")

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise InvalidRequest(f"The body has more than {MAX_PARTS} parts.")
        self._headers = {}

    def _add_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header[0].extend(data[start:end])

    def _add_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1].extend(data[start:end])

    def _end_header(self) -> None:
        field, value = self._header
        self._headers[bytes(field).lower()] = bytes(value)
        self._header = (bytearray(), bytearray())

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        file_name = options.get(b"filename")
        self._events.append(
            PartStart(
                name=_text(options.get(b"name", b"")),
                file_name=None if file_name is None else base_name(_text(file_name)),
            )
        )

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(PartData(data=data[start:end]))

    def _end_part(self) -> None:
        self._events.append(PartEnd())

    def _complete(self) -> None:
        self._is_complete = True


def base_name(file_name: str) -> str:
    """Return a file's name without folders of any system and without control characters."""
    last = re.split(r"[/\\]", file_name)[-1]
    return "".join(character for character in last if character.isprintable()).strip()[:255]


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")

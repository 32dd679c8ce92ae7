"""A form whose last part is a file, read as it comes in: fields first, then the file's bytes."""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing

from batchyard.errors import InvalidRequest
from batchyard.intake.multipart import MultipartReader, PartData, PartEnd, PartEvent, PartStart

FILE = "file"
MAX_FIELD_BYTES = 256 * 1024


class UploadTooLarge(InvalidRequest):
    """The upload is larger than the installation takes."""


class FileForm:
    """One upload under way; its fields are asked for first, then its chunks, then its digest."""

    def __init__(self, content_type: str, body: AsyncIterator[bytes], *, limit: int) -> None:
        """`limit` is of the whole body, in bytes."""
        self.file_name: str | None = None
        self._body = body
        self._limit = limit
        self._digests: list[bytes] = []
        self._events = self._read(content_type)

    async def read_fields(self) -> Mapping[str, str]:
        """Return the fields in front of the file; raise `InvalidRequest` where there is no file."""
        fields: dict[str, str] = {}
        name, value = "", bytearray()
        async for event in self._events:
            match event:
                case PartStart() if event.name == FILE:
                    self.file_name = event.file_name
                    return fields
                case PartStart():
                    name, value = event.name, bytearray()
                case PartData():
                    value += event.data
                    if len(value) > MAX_FIELD_BYTES:
                        raise field_fault(name, "is too long")
                case PartEnd():
                    fields[name] = _text(name, bytes(value))
        raise field_fault(FILE, "is missing; it comes behind all other fields")

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the file as it comes in."""
        is_in_file = True
        async for event in self._events:
            match event:
                case PartData() if is_in_file:
                    yield event.data
                case PartEnd():
                    is_in_file = False
                case PartStart():
                    raise field_fault(event.name, "must come before the file")

    async def read_digests(self) -> list[bytes]:
        """Return a digest of each part, once the whole form has come in."""
        async with aclosing(self._events) as events:
            async for _ in events:
                pass
        return self._digests

    async def _read(self, content_type: str) -> AsyncGenerator[PartEvent, None]:
        reader = MultipartReader(content_type)
        part, name, size = hashlib.sha256(), b"", 0
        async for chunk in self._body:
            size += len(chunk)
            if size > self._limit:
                raise UploadTooLarge(f"An upload is at most {self._limit} bytes.")
            for event in reader.feed(chunk):
                match event:
                    case PartStart():
                        part, name = hashlib.sha256(), repr((event.name, event.file_name)).encode()
                    case PartData():
                        part.update(event.data)
                    case PartEnd():
                        self._digests.append(hashlib.sha256(name + part.digest()).digest())
                yield event
        reader.finish()


def field_fault(field: str, detail: str) -> InvalidRequest:
    """Return the fault of one field."""
    return InvalidRequest(f"{field or 'A field'} {detail}.", faults={field: [detail]})


def _text(name: str, value: bytes) -> str:
    try:
        return value.decode()
    except ValueError as error:
        raise field_fault(name, "is not UTF-8") from error

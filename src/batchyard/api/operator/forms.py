"""Lists as they come in: a form whose file is read as a stream, or rows in a JSON body."""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import TypeVar

import orjson
from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

from batchyard.api.operator.keyed import MULTIPART
from batchyard.errors import InvalidRequest
from batchyard.intake.multipart import MultipartReader, PartData, PartEnd, PartEvent, PartStart
from batchyard.operations.idempotency import combine, fingerprint

Options = TypeVar("Options", bound=BaseModel)

FILE = "file"
ROWS = "rows"
MAX_FIELD_BYTES = 256 * 1024
MAX_JSON_BYTES = 16 * 1024 * 1024


class Incoming:
    """One upload: what is said beside the list first, then the list."""

    def __init__(self, request: Request, *, limit: int) -> None:
        self.file_name: str | None = None
        self.is_form = MULTIPART in request.headers.get("content-type", "")
        self._request = request
        self._limit = limit
        self._digests: list[bytes] = []
        self._events = self._form_events() if self.is_form else None
        self._rows: list[object] = []

    async def read_options(self) -> Mapping[str, object]:
        """Return the fields in front of the file, or the body without its rows."""
        if self._events is None:
            return await self._json_options()
        fields: dict[str, object] = {}
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
                        raise _fault(name, "is too long")
                case PartEnd():
                    fields[name] = _read_field(name, bytes(value))
        raise _fault(FILE, "is missing; it comes behind all other fields")

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the list as it comes in."""
        if self._events is None:
            for row in self._rows:
                yield orjson.dumps(row) + b"\n"
            return
        is_in_file = True
        async for event in self._events:
            match event:
                case PartData() if is_in_file:
                    yield event.data
                case PartEnd():
                    is_in_file = False
                case PartStart():
                    raise _fault(event.name, "must come before the file")

    async def digest(self) -> bytes:
        """Return what tells this form from another, whatever is between its parts."""
        if self._events is not None:
            async with aclosing(self._events) as events:
                async for _ in events:
                    pass
        return combine(self._digests)

    async def _json_options(self) -> Mapping[str, object]:
        content = bytearray()
        async for chunk in self._request.stream():
            content += chunk
            if len(content) > MAX_JSON_BYTES:
                raise HTTPException(413, "A JSON body is at most 16 MiB; send a file.")
        try:
            body = orjson.loads(bytes(content))
        except ValueError as error:
            raise InvalidRequest("The body is neither a form nor JSON.") from error
        if not isinstance(body, dict) or not isinstance(body.get(ROWS), list):
            raise _fault(ROWS, "must be a list of objects")
        self._rows = body.pop(ROWS)
        return body

    async def _form_events(self) -> AsyncGenerator[PartEvent, None]:
        reader = MultipartReader(self._request.headers.get("content-type", ""))
        part, name, size = hashlib.sha256(), b"", 0
        async for chunk in self._request.stream():
            size += len(chunk)
            if size > self._limit:
                raise HTTPException(413, f"An upload is at most {self._limit} bytes.")
            for event in reader.feed(chunk):
                match event:
                    case PartStart():
                        part, name = hashlib.sha256(), repr((event.name, event.file_name)).encode()
                    case PartData():
                        part.update(event.data)
                    case PartEnd():
                        self._digests.append(fingerprint(name, part.digest()))
                yield event
        reader.finish()


def parse(model: type[Options], given: Mapping[str, object]) -> Options:
    """Return what is said beside a list; raise `InvalidRequest` naming each fault."""
    try:
        return model.model_validate(given)
    except ValidationError as error:
        faults: dict[str, list[str]] = {}
        for fault in error.errors():
            place = ".".join(str(part) for part in fault["loc"])
            faults.setdefault(place, []).append(fault["msg"])
        raise InvalidRequest("The request is not valid.", faults=faults, code="invalid") from error


def _read_field(name: str, value: bytes) -> object:
    """Return a field: objects and lists are written as JSON."""
    try:
        text = value.decode()
    except ValueError as error:
        raise _fault(name, "is not UTF-8") from error
    if text[:1] in {"{", "["}:
        try:
            return orjson.loads(text)
        except ValueError as error:
            raise _fault(name, "is not JSON") from error
    return text


def _fault(field: str, detail: str) -> InvalidRequest:
    return InvalidRequest(f"{field or 'A field'} {detail}.", faults={field: [detail]})

"""Lists as they come in: a form whose file is read as a stream, or rows in a JSON body."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

import orjson
from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from batchyard.api.operator.lists import FORM, written_as_json
from batchyard.api.operator.texts import check
from batchyard.errors import BatchyardError, InvalidRequest
from batchyard.intake.file_forms import FileForm, field_fault
from batchyard.operations.idempotency import combine, fingerprint

Options = TypeVar("Options", bound=BaseModel)

ROWS = "rows"
MAX_JSON_BYTES = 16 * 1024 * 1024
DRAINED_BYTES = 16 * 1024 * 1024


class Incoming:
    """One upload: what is said beside the list first, then the list."""

    def __init__(self, request: Request, *, limit: int) -> None:
        content_type = request.headers.get("content-type", "")
        self.is_form = FORM in content_type
        self._stream = request.stream()
        self._form = FileForm(content_type, self._stream, limit=limit) if self.is_form else None
        self._rows: list[object] = []
        self._json_digest: bytes | None = None

    @property
    def file_name(self) -> str | None:
        """What the file is called; None for rows in a body."""
        return None if self._form is None else self._form.file_name

    async def read_options(self, model: type[Options]) -> Options:
        """Read the fields in front of the file, or the body without its rows.

        Raises `InvalidRequest` naming each fault.
        """
        if self._form is None:
            return _parse(model, await self._json_options())
        written = written_as_json(model)
        fields = await self._form.read_fields()
        return _parse(
            model,
            {
                name: _read_json(name, text) if name in written else text
                for name, text in fields.items()
            },
        )

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the list as it comes in."""
        if self._form is None:
            for row in self._rows:
                yield orjson.dumps(row) + b"\n"
            return
        async for chunk in self._form.chunks():
            yield chunk

    async def digest(self) -> bytes:
        """Return what tells this body from another; of a form, whatever is between its parts."""
        if self._form is not None:
            return combine(await self._form.read_digests())
        if self._json_digest is None:
            await self._json()
        return combine([] if self._json_digest is None else [self._json_digest])

    async def drain(self) -> None:
        """Read on for a while, so that a client that still sends gets to reading its answer."""
        read = 0
        with suppress(ClientDisconnect):
            async for chunk in self._stream:
                read += len(chunk)
                if read > DRAINED_BYTES:
                    return

    async def _json(self) -> bytes:
        content = bytearray()
        async for chunk in self._stream:
            content += chunk
            if len(content) > MAX_JSON_BYTES:
                raise HTTPException(413, "A JSON body is at most 16 MiB; send a file.")
        self._json_digest = fingerprint(bytes(content))
        return bytes(content)

    async def _json_options(self) -> Mapping[str, object]:
        content = await self._json()
        try:
            body = orjson.loads(content)
        except ValueError as error:
            raise InvalidRequest("The body is neither a form nor JSON.") from error
        if not isinstance(body, dict) or not isinstance(body.get(ROWS), list):
            raise field_fault(ROWS, "must be a list of objects")
        self._rows = body.pop(ROWS)
        return body


@asynccontextmanager
async def receiving(request: Request, *, limit: int) -> AsyncIterator[Incoming]:
    """Lend an upload of at most `limit` bytes; whoever sends one that is refused learns why."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise too_large(limit)
    incoming = Incoming(request, limit=limit)
    try:
        yield incoming
    except (BatchyardError, HTTPException):
        await incoming.drain()
        raise


def too_large(limit: int) -> HTTPException:
    """Return what is told of an upload that is larger than allowed."""
    return HTTPException(413, f"An upload is at most {limit} bytes.")


def _parse(model: type[Options], given: Mapping[str, object]) -> Options:
    check(given)
    try:
        return model.model_validate(given)
    except ValidationError as error:
        faults: dict[str, list[str]] = {}
        for fault in error.errors():
            place = ".".join(str(part) for part in fault["loc"])
            faults.setdefault(place, []).append(fault["msg"])
        raise InvalidRequest("The request is not valid.", faults=faults, code="invalid") from error


def _read_json(name: str, text: str) -> object:
    """Read an object or a list; what begins as neither is refused as that."""
    if text[:1] not in {"{", "["}:
        return text
    try:
        return orjson.loads(text)
    except ValueError as error:
        raise field_fault(name, "is not JSON") from error

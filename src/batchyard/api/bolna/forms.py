"""Small forms of this door, multipart or urlencoded."""

from collections.abc import AsyncIterator
from urllib.parse import parse_qsl

import orjson
from fastapi import Request

from batchyard.api.bolna.answers import Refusal
from batchyard.intake.multipart import MultipartReader, PartData, PartEnd, PartEvent, PartStart

MAX_FIELDS_BYTES = 1024 * 1024
"""All fields of a form together."""

Fields = dict[str, list[str]]


class FieldCollector:
    """Collects the fields of a multipart form."""

    def __init__(self) -> None:
        self.fields: Fields = {}
        self._name = ""
        self._value = bytearray()
        self._bytes = 0

    def take(self, event: PartEvent) -> None:
        """Take the next event of the body."""
        match event:
            case PartStart():
                self._name = event.name
                self._value.clear()
            case PartData():
                self._bytes += len(event.data)
                if self._bytes > MAX_FIELDS_BYTES:
                    raise Refusal(400, "The parts of the form are too large.")
                self._value += event.data
            case PartEnd():
                value = self._value.decode("utf-8", "replace").strip()
                self.fields.setdefault(self._name, []).append(value)


async def read_form(request: Request) -> Fields:
    """Read a small form, multipart or urlencoded."""
    content_type = request.headers.get("content-type", "")
    stream = limited(request.stream(), limit=MAX_FIELDS_BYTES)
    if not content_type.lower().startswith("multipart/"):
        body = b"".join([chunk async for chunk in stream])
        fields: Fields = {}
        for name, value in parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True):
            fields.setdefault(name, []).append(value.strip())
        return fields
    reader = MultipartReader(content_type)
    form = FieldCollector()
    async for chunk in stream:
        for event in reader.feed(chunk):
            form.take(event)
    reader.finish()
    return form.fields


def last(fields: Fields, name: str) -> str | None:
    """Return the last value of a field; an empty one counts as not given."""
    return next((value for value in reversed(fields.get(name, [])) if value), None)


async def limited(stream: AsyncIterator[bytes], *, limit: int) -> AsyncIterator[bytes]:
    """Pass a body on; raise `Refusal` once it is larger than `limit` bytes."""
    read = 0
    async for chunk in stream:
        read += len(chunk)
        if read > limit:
            raise too_large(limit)
        if chunk:
            yield chunk


def too_large(limit: int) -> Refusal:
    """Return the answer to a body that is larger than `limit` bytes."""
    return Refusal(413, f"The body is larger than {limit} bytes.")


def read_flag(fields: Fields, name: str) -> bool | None:
    """Read a yes or no; None when it is not given. Raise `Refusal` for anything else."""
    text = last(fields, name)
    if text is None:
        return None
    if text.lower() not in {"true", "false"}:
        raise Refusal(400, f"{name} must be true or false.")
    return text.lower() == "true"


def digest(fields: Fields) -> bytes:
    """Return what tells one form from another, however it was encoded."""
    return orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)

"""The upload of a list of calls, read as a stream; its parts come in any order."""

import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from uuid import UUID

from fastapi import Request
from fastapi.responses import Response
from starlette.requests import ClientDisconnect

from batchyard.api.bolna import translate, wire
from batchyard.api.bolna.answers import Refusal
from batchyard.api.bolna.forms import FieldCollector, Fields, last, limited, too_large
from batchyard.api.bolna.keyed import (
    DUPLICATE_HEADER,
    fingerprint_of,
    key_of,
    reply_of,
    response_of,
)
from batchyard.api.bolna.speaker import Speaker
from batchyard.errors import BatchyardError
from batchyard.intake.multipart import MultipartReader, PartData, PartEnd, PartEvent, PartStart
from batchyard.models import RetryPolicy
from batchyard.operations.idempotency import (
    Kept,
    Reservation,
    combine,
    fingerprint,
    replay,
    reserved,
)
from batchyard.operations.imports import CallSettings, FileImport, import_calls
from batchyard.store.db import Connection

DRAINED_BYTES = 16 * 1024 * 1024
"""How much of a refused upload is still read, so that its client gets to reading the answer."""

Created = Callable[[UUID], Response]
"""Makes the answer to an upload of the id of its batch."""


async def receive_batch(request: Request, speaker: Speaker, *, created: Created) -> Response:
    """Import the uploaded list while it comes in, and answer with the id of the new batch.

    With a key the answer commits with the last step of the import. A refused upload has done
    nothing, so it is not remembered: sent again, it is read again.
    """
    limit = speaker.config.max_upload_bytes
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit:
        raise too_large(limit)
    stream = limited(request.stream(), limit=limit)
    key = key_of(request)
    try:
        if key is None:
            return await _import(request, speaker, stream, created=created, held=None)
        async with reserved(speaker.db, team=speaker.team, key=key) as held:
            if isinstance(held, Kept):
                seen = await _read_only(request, stream)
                return response_of(replay(held, request=fingerprint_of(request, seen)))
            return await _import(request, speaker, stream, created=created, held=held)
    except (BatchyardError, Refusal):
        await _drain(stream)
        raise


async def _import(
    request: Request,
    speaker: Speaker,
    stream: AsyncIterator[bytes],
    *,
    created: Created,
    held: Reservation | None,
) -> Response:
    config = speaker.config
    reader = MultipartReader(request.headers.get("content-type", ""))
    async with import_calls(
        speaker.db,
        team=speaker.team,
        refuses_unassigned=config.phone_check == "valid",
        refuses_same_file=config.refuse_same_file,
    ) as upload:
        parts, digest = UploadParts(upload), PartsDigest()
        async for chunk in stream:
            for event in reader.feed(chunk):
                if held is not None:
                    digest.take(event)
                await parts.take(event)
        reader.finish()
        parts.require_file()
        settings = read_settings(
            parts.fields,
            file_name=parts.file_name,
            creates_agent=config.bolna_create_agents,
            webhook_format=speaker.webhook_format,
        )
        response = created(upload.batch_id)

        async def seal(conn: Connection) -> None:
            report = upload.report()
            if upload.new_agent is not None:
                after = {"name": upload.new_agent}
                await speaker.note(conn, "agent.create", subject=settings.agent_id, after=after)
            await speaker.note(
                conn,
                "batch.create",
                subject=upload.batch_id,
                after={
                    "rows": report.rows,
                    "accepted": report.accepted,
                    "refused": report.refused,
                },
            )
            if upload.duplicate_of is not None:
                response.headers[DUPLICATE_HEADER] = upload.duplicate_of.hex
            if held is not None:
                seen = fingerprint_of(request, digest.value())
                await held.complete(conn, request=seen, reply=reply_of(response))

        await upload.finish_file()
        await upload.open(settings, seal=seal)
    return response


async def _read_only(request: Request, stream: AsyncIterator[bytes]) -> bytes:
    """Return the digest of an upload that was done before."""
    reader, digest = MultipartReader(request.headers.get("content-type", "")), PartsDigest()
    async for chunk in stream:
        for event in reader.feed(chunk):
            digest.take(event)
    reader.finish()
    return digest.value()


class PartsDigest:
    """What tells one form from another: its parts, not the boundary between them.

    Clients make up a new boundary each time they send the same form.
    """

    def __init__(self) -> None:
        self._done: list[bytes] = []
        self._name = b""
        self._part = hashlib.sha256()

    def take(self, event: PartEvent) -> None:
        """Take the next event of the body."""
        match event:
            case PartStart():
                self._name = repr((event.name, event.file_name)).encode()
                self._part = hashlib.sha256()
            case PartData():
                self._part.update(event.data)
            case PartEnd():
                self._done.append(fingerprint(self._name, self._part.digest()))

    def value(self) -> bytes:
        """Return the digest of all parts so far."""
        return combine(self._done)


class UploadParts:
    """Leads the file of an upload to its import and collects the other parts."""

    def __init__(self, upload: FileImport) -> None:
        self.file_name: str | None = None
        self._upload = upload
        self._collector = FieldCollector()
        self._files = 0
        self._is_in_file = False

    @property
    def fields(self) -> Fields:
        """The parts beside the file."""
        return self._collector.fields

    async def take(self, event: PartEvent) -> None:
        """Take the next event of the body."""
        if isinstance(event, PartStart) and event.name == "file":
            self._begin_file(event)
        elif not self._is_in_file:
            self._collector.take(event)
        elif isinstance(event, PartData):
            await self._upload.feed(event.data)
        elif isinstance(event, PartEnd):
            self._is_in_file = False

    def require_file(self) -> None:
        """Raise `Refusal` when no file came."""
        if not self._files:
            raise Refusal(400, "file is missing.")

    def _begin_file(self, event: PartStart) -> None:
        self._files += 1
        if self._files > 1:
            raise Refusal(400, "Only one file can be sent.")
        self._is_in_file = True
        self.file_name = event.file_name or None
        # What is known to be wrong already is said before a large file is read.
        if "agent_id" in self.fields:
            read_agent_id(self.fields)


def read_settings(
    fields: Fields, *, file_name: str | None, creates_agent: bool, webhook_format: str
) -> CallSettings:
    """Check the parts beside the file; raise `Refusal` for the first that is wrong."""
    webhook_url = last(fields, "webhook_url")
    is_webhook_wrong = webhook_url is not None and not wire.is_web_address(webhook_url)
    return CallSettings(
        agent_id=read_agent_id(fields),
        creates_agent=creates_agent,
        file_name=file_name,
        from_numbers=_read_from_numbers(fields),
        webhook_url=None if is_webhook_wrong else webhook_url,
        webhook_format=webhook_format,
        retry_policy=_read_retry_policy(fields),
        warning_codes=["webhook_url_ignored"] if is_webhook_wrong else [],
    )


def read_agent_id(fields: Fields) -> UUID:
    """Read the agent; raise `Refusal` when it is missing or malformed."""
    text = last(fields, "agent_id")
    if text is None:
        raise Refusal(400, "agent_id is missing.")
    agent_id = translate.parse_id(text)
    if agent_id is None:
        raise Refusal(400, "agent_id is not a UUID.")
    return agent_id


def _read_from_numbers(fields: Fields) -> list[str]:
    given = [*fields.get("from_phone_numbers", []), *fields.get("from_phone_number", [])]
    numbers = list(dict.fromkeys(number for number in given if number))
    for number in numbers:
        if not wire.is_from_number(number):
            raise Refusal(422, f"from_phone_number is not an E.164 number: {number[:40]}")
    return numbers


def _read_retry_policy(fields: Fields) -> RetryPolicy:
    text = last(fields, "retry_config")
    if text is None:
        return RetryPolicy()
    try:
        return wire.read_retry_config(text)
    except ValueError as error:
        raise Refusal(422, str(error)) from error


async def _drain(stream: AsyncIterator[bytes]) -> None:
    read = 0
    with suppress(ClientDisconnect, Refusal):
        async for chunk in stream:
            read += len(chunk)
            if read > DRAINED_BYTES:
                return

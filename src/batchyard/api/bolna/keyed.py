"""`Idempotency-Key`: a POST that is sent twice is done once."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Header, Request
from fastapi.responses import Response

from batchyard.api.bolna import answers
from batchyard.api.bolna.speaker import Speaker
from batchyard.operations import idempotency
from batchyard.operations.idempotency import Reply
from batchyard.operations.transactions import Transactions

KEY_HEADER = "Idempotency-Key"
REPLAYED_HEADER = "Idempotency-Replayed"
DUPLICATE_HEADER = "Batchyard-Duplicate-Of"
"""Names the batch that the very same file went into minutes ago."""
REMEMBERED_HEADERS = (DUPLICATE_HEADER,)
"""Headers of an answer that are said again with it."""
REMEMBERED_STATUSES = (400, 404, 422)
"""Refusals by the operation itself, which the same request would meet again."""

Perform = Callable[[Transactions], Awaitable[Response]]

Key = Annotated[
    str | None,
    Header(
        alias=KEY_HEADER,
        pattern=idempotency.KEY_PATTERN,
        description="The same request with the same key within 24 hours is done once, and answered "
        f"alike: the header {REPLAYED_HEADER} says so.",
    ),
]
"""In the signature of every POST; its value is read from the request."""


def key_of(request: Request) -> str | None:
    """Return the key of a request; FastAPI has checked it."""
    return request.headers.get(KEY_HEADER)


def fingerprint_of(request: Request, *body: bytes) -> bytes:
    """Return what tells this request from any other one."""
    path: str = request.scope["path"]
    query: bytes = request.scope["query_string"]
    return idempotency.fingerprint(request.method.encode(), path.encode(), query, *body)


async def answer_once(
    request: Request, speaker: Speaker, *, body: bytes, perform: Perform
) -> Response:
    """Perform a request, in one transaction with its answer where it carries a key."""
    key = key_of(request)
    if key is None:
        return await perform(speaker.db)

    async def reply(work: Transactions) -> Reply:
        return reply_of(await perform(work))

    return response_of(
        await idempotency.answer_once(
            speaker.db,
            team=speaker.team,
            key=key,
            request=fingerprint_of(request, body),
            perform=reply,
            tell=_tell,
        )
    )


def reply_of(response: Response) -> Reply:
    """Return a response as it is remembered."""
    headers = response.headers
    return Reply(
        status=response.status_code,
        body=bytes(response.body),
        content_type=headers.get("content-type"),
        headers={name: headers[name] for name in REMEMBERED_HEADERS if name in headers},
    )


def response_of(reply: Reply) -> Response:
    """Return a remembered answer as a response."""
    headers = dict(reply.headers)
    if reply.content_type is not None:
        headers["Content-Type"] = reply.content_type
    if reply.is_replayed:
        headers[REPLAYED_HEADER] = "true"
    return Response(reply.body, reply.status, headers=headers)


def _tell(error: Exception) -> Reply | None:
    told = answers.fault_of(error)
    return None if told is None or told.status_code not in REMEMBERED_STATUSES else reply_of(told)

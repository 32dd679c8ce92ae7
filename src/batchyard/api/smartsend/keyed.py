"""`Idempotency-Key`: what is sent twice is done once (contract, section 6)."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Header, Request
from fastapi.responses import Response

from batchyard.api.smartsend import faults
from batchyard.api.smartsend.faults import KEY_HEADER
from batchyard.api.smartsend.requests import Visit
from batchyard.operations import idempotency
from batchyard.operations.idempotency import Kept, Reply
from batchyard.operations.transactions import Joined, one_transaction

REPLAYED_HEADER = "Idempotency-Replayed"
REMEMBERED_HEADERS = ("Location",)
"""Headers of an answer that are said again with it."""

Perform = Callable[[Joined], Awaitable[Response]]
"""Does what is asked for, in the transaction it is lent."""

Check = Callable[[], Awaitable[None]]
"""Raises what is wrong with a request; may take longer than a transaction waits."""

Key = Annotated[
    str | None,
    Header(
        alias=KEY_HEADER,
        pattern=idempotency.KEY_PATTERN,
        description="The same request with the same key within 24 hours is done once, and answered "
        f"alike: the header `{REPLAYED_HEADER}` says so.",
    ),
]


async def once(
    request: Request, visit: Visit, key: str | None, perform: Perform, *, check: Check | None = None
) -> Response:
    """Perform a request in one transaction, where it carries a key together with its answer.

    `check` refuses what cannot be performed. It is asked before the transaction, and only where
    there is no answer yet; what it refuses is not remembered: corrected, the request may come with
    the same key.
    """
    if key is None:
        if check is not None:
            await check()
        async with one_transaction(visit.db) as work:
            return await perform(work)
    fingerprint = fingerprint_of(request)
    if check is not None:
        found = await idempotency.find_answer(
            visit.db, team=visit.team, key=key, request=fingerprint
        )
        if found is not None:
            return response_of(found, request)
        await check()

    async def reply(work: Joined) -> Reply:
        return reply_of(await perform(work), language=visit.language)

    kept = await idempotency.answer_once(
        visit.db,
        team=visit.team,
        key=key,
        request=fingerprint,
        perform=reply,
        tell=lambda error: tell(error, visit),
    )
    return response_of(kept, request)


async def once_slowly(
    request: Request,
    visit: Visit,
    key: str,
    *,
    begin: Callable[[], Awaitable[None]],
    finish: Callable[[], Awaitable[Response]],
) -> Response:
    """Perform a request that takes longer than a transaction; who repeats it meanwhile gets 409.

    `begin` must know its own `key` again: after a crash the request may come a second time.
    """
    fingerprint = fingerprint_of(request)
    async with idempotency.reserved(
        visit.db, team=visit.team, key=key, request=fingerprint, is_for_one=True
    ) as held:
        if isinstance(held, Kept):
            return response_of(idempotency.replay(held, request=fingerprint), request)
        try:
            await begin()
        except Exception as error:
            told = faults.refusal(error, language=visit.language)
            if told is None:
                raise
            answer = told
        else:
            answer = await finish()
        async with visit.db.transaction() as connection:
            reply = reply_of(answer, language=visit.language)
            await held.complete(connection, request=fingerprint, reply=reply)
    return answer


def fingerprint_of(request: Request) -> bytes:
    """Return what tells this request from any other; only a body that is used was read."""
    path, query = str(request.scope["path"]), bytes(request.scope["query_string"])
    body: bytes = getattr(request, "_body", b"")
    return idempotency.fingerprint(request.method.encode(), path.encode(), query, body)


def tell(error: Exception, visit: Visit) -> Reply | None:
    """Return the answer to an error that is remembered: 404 and 422 of the operation itself."""
    told = faults.refusal(error, language=visit.language)
    return None if told is None else reply_of(told, language=visit.language)


def reply_of(response: Response, *, language: str) -> Reply:
    """Return an answer as it is remembered."""
    headers = response.headers
    return Reply(
        status=response.status_code,
        body=bytes(response.body),
        content_type=headers.get("content-type"),
        language=language,
        headers={name: headers[name] for name in REMEMBERED_HEADERS if name in headers},
    )


def response_of(reply: Reply, request: Request) -> Response:
    """Return a remembered answer; the request is answered in its language."""
    if reply.language is not None:
        request.state.language = reply.language
    headers = dict(reply.headers)
    if reply.is_replayed:
        headers[REPLAYED_HEADER] = "true"
    if reply.content_type is not None:
        headers["Content-Type"] = reply.content_type
    return Response(reply.body, status_code=reply.status, headers=headers)


def tell_preference(answer: Response, preference: str) -> Response:
    """Say that a preference was followed: not by a refusal, nor by an answer of before."""
    if answer.status_code < 300 and REPLAYED_HEADER not in answer.headers:
        answer.headers["Preference-Applied"] = preference
    return answer

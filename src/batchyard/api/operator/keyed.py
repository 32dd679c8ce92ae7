"""`Idempotency-Key`: a request that is sent twice is done once."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Annotated, Any

from fastapi import Depends, Header, Request
from fastapi.responses import Response

from batchyard.api.operator.access import KNOWN, Caller, Handler, KnownRoute
from batchyard.operations import idempotency
from batchyard.operations.idempotency import Kept, Reply, Reservation
from batchyard.operations.slices import Slices
from batchyard.operations.transactions import Transactions
from batchyard.store.db import Connection

KEY_HEADER = "Idempotency-Key"
REPLAYED_HEADER = "Idempotency-Replayed"
DUPLICATE_HEADER = "Batchyard-Duplicate-Of"
"""Names the batch that the very same file went into minutes ago."""
REMEMBERED_HEADERS = (DUPLICATE_HEADER,)
"""Headers of an answer that are said again with it."""


async def tell_key(
    key: Annotated[
        str | None,
        Header(
            alias=KEY_HEADER,
            pattern=idempotency.KEY_PATTERN,
            description="The same request with the same key within 24 hours is done once, and "
            f"answered alike: the header `{REPLAYED_HEADER}` says so.",
        ),
    ] = None,
) -> str | None:
    """Name the key in the document; its value is read before the request is."""
    return key


KEY = Depends(tell_key)


class LongRoute(KnownRoute):
    """A route whose POST takes longer than a transaction may, and answers for its key itself."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:  # noqa: ANN401  # as FastAPI has it
        if "POST" in (options.get("methods") or ()):
            known = [one for one in options.get("dependencies") or () if one != KEY]
            options["dependencies"] = [*known, KEY]
        super().__init__(path, endpoint, **options)


class KeyedRoute(LongRoute):
    """A route whose POST, where it carries a key, commits in one transaction with its answer.

    The transaction is lent as `Caller.work`; no other connection is to be taken meanwhile. A
    refusal undoes everything and is not remembered.
    """

    def get_route_handler(self) -> Handler:
        """Return what answers a request."""
        answer = super().get_route_handler()
        if "POST" not in (self.methods or ()):
            return answer

        async def answer_once(request: Request) -> Response:
            if key_of(request) is None:
                return await answer(request)
            caller = await self.recognise(request)

            async def perform(work: Transactions) -> Reply:
                setattr(request.state, KNOWN, replace(caller, work=work))
                return reply_of(await answer(request))

            return response_of(
                await idempotency.answer_once(
                    caller.db,
                    team=caller.team,
                    key=idempotency.check_key(key_of(request) or ""),
                    request=fingerprint_of(request, await request.body()),
                    perform=perform,
                    tell=lambda _: None,
                )
            )

        return answer_once


@asynccontextmanager
async def held(
    request: Request, caller: Caller, *, seen: bytes | None = None
) -> AsyncIterator[Reservation | Kept | None]:
    """Hold the request's key, if it has one, while the block answers; `seen` is its fingerprint."""
    text = key_of(request)
    if text is None:
        yield None
        return
    key = idempotency.check_key(text)
    async with idempotency.reserved(caller.db, team=caller.team, key=key, request=seen) as found:
        yield found


async def answer_in_slices(
    request: Request,
    caller: Caller,
    *,
    perform: Callable[[Slices], Awaitable[int]],
    trace: Callable[[Connection, int], Awaitable[None]],
    answer: Callable[[int], Response],
) -> Response:
    """Do work in several transactions; trace and answer commit with the last of them."""
    seen = fingerprint_of(request, await request.body())
    async with held(request, caller, seen=seen) as found:
        if isinstance(found, Kept):
            return response_of(idempotency.replay(found, request=seen))

        async def seal(conn: Connection, done: int) -> None:
            await trace(conn, done)
            if found is not None:
                await complete(found, conn, seen=seen, response=answer(done))

        if found is None:
            return answer(await perform(Slices(began_at=caller.db.clock(), seal=seal)))
        slices = Slices(began_at=found.began_at, done=found.done, advance=found.advance, seal=seal)
        return answer(await perform(slices))


async def complete(
    found: Reservation, conn: Connection, *, seen: bytes, response: Response
) -> None:
    """Remember the answer in a transaction."""
    await found.complete(conn, request=seen, reply=reply_of(response))


def key_of(request: Request) -> str | None:
    """Return the key of a request."""
    return request.headers.get(KEY_HEADER)


def fingerprint_of(request: Request, *body: bytes) -> bytes:
    """Return what tells this request from any other one."""
    path: str = request.scope["path"]
    query: bytes = request.scope["query_string"]
    return idempotency.fingerprint(request.method.encode(), path.encode(), query, *body)


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

"""`Idempotency-Key`: a POST that is sent twice is done once."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, Header, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute

from batchyard.api.operator.access import Caller
from batchyard.operations import idempotency
from batchyard.operations.idempotency import Kept, Reply, Reservation
from batchyard.store.db import Connection

KEY_HEADER = "Idempotency-Key"
REPLAYED_HEADER = "Idempotency-Replayed"
MULTIPART = "multipart/form-data"

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


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


class KeyedRoute(APIRoute):
    """A route whose POST obeys the key; its refusals are not remembered.

    A form is read by its own route, which then answers for the key itself.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:  # noqa: ANN401  # as FastAPI has it
        if "POST" in (options.get("methods") or ()):
            known = [one for one in options.get("dependencies") or () if one != KEY]
            options["dependencies"] = [*known, KEY]
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Handler:
        """Return what answers a request."""
        answer = super().get_route_handler()
        if "POST" not in (self.methods or ()):
            return answer

        async def answer_once(request: Request) -> Response:
            if key_of(request) is None or MULTIPART in request.headers.get("content-type", ""):
                return await answer(request)
            seen = fingerprint_of(request, await request.body())
            return await once(
                request, await self._caller(request), seen=seen, perform=lambda: answer(request)
            )

        return answer_once

    async def _caller(self, request: Request) -> Caller:
        """Return who asks: an answer is given again only to whom it might be given first."""
        for dependency in self.dependant.dependencies:
            if dependency.call is not None and hasattr(dependency.call, "scope"):
                caller: Caller = await dependency.call(request)
                return caller
        raise LookupError(f"{self.path} asks for no scope")


async def once(
    request: Request, caller: Caller, *, seen: bytes, perform: Callable[[], Awaitable[Response]]
) -> Response:
    """Perform a request that carries a key, or give the answer it got; `seen` tells which it is."""
    key = idempotency.check_key(request.headers.get(KEY_HEADER, ""))
    async with idempotency.reserved(caller.db, team=caller.team, key=key) as held:
        if isinstance(held, Kept):
            return response_of(idempotency.replay(held, request=seen))
        response = await perform()
        if response.status_code < 400:
            async with caller.db.transaction() as conn:
                await complete(held, conn, seen=seen, response=response)
            return response
    # What was refused has done nothing; the same key may come again.
    return response


async def complete(held: Reservation, conn: Connection, *, seen: bytes, response: Response) -> None:
    """Remember the answer in a transaction."""
    await held.complete(conn, request=seen, reply=reply_of(response))


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
    return Reply(
        status=response.status_code,
        body=bytes(response.body),
        content_type=response.headers.get("content-type"),
    )


def response_of(reply: Reply) -> Response:
    """Return a remembered answer as a response."""
    headers = {} if reply.content_type is None else {"Content-Type": reply.content_type}
    if reply.is_replayed:
        headers[REPLAYED_HEADER] = "true"
    return Response(reply.body, reply.status, headers=headers)

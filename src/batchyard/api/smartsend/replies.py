"""How calls of this door answer, and what of it is documented for all of them."""

import json
from collections.abc import Mapping

import orjson
from fastapi import APIRouter, Depends
from fastapi.responses import Response
from pydantic import BaseModel

from batchyard.api.smartsend import answers, requests
from batchyard.api.smartsend.gate import DoorRoute
from batchyard.api.smartsend.language import translate as say
from batchyard.api.smartsend.messages import Message
from batchyard.api.smartsend.requests import Visit

PREFIX = "/api/v2/team/{team}"

Documented = dict[int | str, dict[str, object]]

ERRORS: Documented = {
    401: {"model": answers.Done, "description": "The token is missing or not valid"},
    403: {"model": answers.Done, "description": "The token lacks the scope"},
    404: {"model": answers.Done, "description": "Not there, or another team's"},
    422: {"model": answers.Invalid, "description": "Not valid, or not in this state"},
    429: {"model": answers.Done, "description": "Too many requests; see Retry-After"},
    500: {"model": answers.Done, "description": "The fault is ours"},
}

BODY_ERRORS: Documented = {
    413: {"model": answers.Done, "description": "The body is too large"},
    415: {"model": answers.Done, "description": "The body is no JSON in UTF-8"},
}
"""Of calls that read a body."""

KEY_ERRORS: Documented = {
    409: {"model": answers.Done, "description": "The first request with this key still runs"},
}
"""Of calls that take an Idempotency-Key."""


def make_router(tag: str) -> APIRouter:
    """Return a router whose calls pass the gate."""
    return APIRouter(
        prefix=PREFIX,
        route_class=DoorRoute,
        dependencies=[Depends(requests.bearer)],
        responses=ERRORS,
        tags=[tag],
    )


def told(status: int, model: type[BaseModel], *more: Documented) -> Documented:
    """Document what a call answers when all is well, and errors beside the usual ones."""
    documented: Documented = {status: {"model": model}}
    for one in more:
        documented |= one
    return documented


def page(data: bytes, meta: Mapping[str, int | None]) -> Response:
    """Answer a part of a list that is JSON already."""
    # Not orjson: a page number may have more than 64 bits.
    described = json.dumps(meta, separators=(",", ":")).encode()
    return rendered(b'{"data":%b,"meta":%b}' % (data, described))


def data(value: object, *, status: int = 200) -> Response:
    """Answer one thing, or a list without pages."""
    return rendered(orjson.dumps({"data": value}), status=status)


def message(sentence: Message, visit: Visit) -> Response:
    """Answer a sentence."""
    return rendered(orjson.dumps({"message": say(sentence, language=visit.language)}))


def rendered(body: bytes, *, status: int = 200) -> Response:
    """Answer JSON as it is."""
    return Response(body, status_code=status, media_type="application/json")

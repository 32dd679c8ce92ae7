"""What goes wrong, as this door tells it (contract, section 5)."""

import math
from collections.abc import Iterable, Mapping, Sequence

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Match

from batchyard.api.smartsend.language import translate
from batchyard.api.smartsend.messages import Message
from batchyard.errors import Conflict, Forbidden, InvalidRequest, LimitReached, NotFound
from batchyard.models import BatchState
from batchyard.operations.idempotency import RETRY_AFTER_SECONDS, KeyBusy, KeyTaken

Faults = dict[str, list[str]]

KEY_HEADER = "Idempotency-Key"

METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")

MESSAGES_BY_STATUS = {
    401: Message.UNAUTHENTICATED,
    403: Message.FORBIDDEN,
    404: Message.NOT_FOUND,
    405: Message.METHOD_NOT_ALLOWED,
    406: Message.NOT_ACCEPTABLE,
    409: Message.KEY_BUSY,
    413: Message.TOO_LARGE,
    415: Message.NOT_JSON,
    422: Message.INVALID,
    429: Message.LIMITED,
    500: Message.BROKEN,
}

MESSAGES_BY_TYPE = {
    "missing": Message.REQUIRED,
    "model_type": Message.NO_OBJECT,
    "model_attributes_type": Message.NO_OBJECT,
    "list_type": Message.NO_LIST,
    "string_type": Message.NO_STRING,
    "int_type": Message.NO_INTEGER,
    "int_parsing": Message.NO_INTEGER,
    "int_from_float": Message.NO_INTEGER,
    "float_type": Message.NO_NUMBER,
    "finite_number": Message.NO_NUMBER,
    "too_short": Message.TOO_FEW,
    "too_long": Message.TOO_MANY,
    "string_too_short": Message.TOO_SHORT,
    "string_too_long": Message.TOO_LONG,
    "greater_than_equal": Message.AT_LEAST,
    "less_than_equal": Message.AT_MOST,
    "greater_than": Message.ABOVE,
    "string_pattern_mismatch": Message.NO_KEY,
    "uuid_parsing": Message.NO_UUID,
    "uuid_type": Message.NO_UUID,
    "literal_error": Message.ONE_OF,
    "enum": Message.ONE_OF,
}
"""By the types of pydantic's errors; what is not here is just not valid."""


def answer(
    status: int,
    message: Message,
    *,
    language: str,
    faults: Mapping[str, Sequence[str]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return an error as clients of this door know it."""
    body: dict[str, object] = {"message": translate(message, language=language)}
    if status == 422:
        body["errors"] = faults or {}
    return Response(
        orjson.dumps(body),
        status_code=status,
        media_type="application/json",
        headers=None if headers is None else dict(headers),
    )


def tell(
    errors: Iterable[ErrorDetails], *, language: str, under: Sequence[str | int] = ()
) -> Faults:
    """Return pydantic's errors in a language, under the dotted paths of their places."""
    faults: Faults = {}
    for error in errors:
        path = ".".join(str(part) for part in (*under, *error["loc"]))
        faults.setdefault(path, []).append(_sentence(error, language))
    return faults


def _sentence(error: ErrorDetails, language: str) -> str:
    kind = error["type"]
    message = Message.__members__.get(kind) or MESSAGES_BY_TYPE.get(kind, Message.WRONG_VALUE)
    values = {name: value for name, value in error.get("ctx", {}).items() if name != "text"}
    if message is Message.ONE_OF:
        values["expected"] = str(values["expected"]).replace("'", "").replace(" or ", ", ")
    return translate(message, language=language, **values)


class Refused(Exception):
    """The door itself refuses a request that an operation was never asked about."""

    def __init__(self, message: Message, *, faults: Mapping[str, Sequence[str]]) -> None:
        super().__init__(message)
        self.message = message
        self.faults = faults


def refused(message: Message, *, under: str, language: str) -> Refused:
    """Return a refusal with one fault."""
    return Refused(message, faults={under: [translate(message, language=language)]})


def install(door: FastAPI) -> None:
    """Make the door answer every error in its own way."""
    door.add_exception_handler(HTTPException, _on_http)
    door.add_exception_handler(RequestValidationError, _on_invalid_shape)
    for refusal_of_ours in (Refused, InvalidRequest, Conflict, NotFound):
        door.add_exception_handler(refusal_of_ours, _on_refusal)
    door.add_exception_handler(Forbidden, _on_forbidden)
    door.add_exception_handler(LimitReached, _on_limit)
    door.add_exception_handler(KeyBusy, _on_busy_key)
    door.add_exception_handler(KeyTaken, _on_taken_key)


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - as installed
    status = error.status_code
    language = request.state.language
    message = MESSAGES_BY_STATUS.get(status, Message.FAILED)
    headers = dict(error.headers or {})
    if status == 405:
        headers["Allow"] = ", ".join(_allowed_methods(request))
    if status == 422:
        told = translate(error.detail, language=language)
        return answer(422, message, language=language, faults={"body": [told]}, headers=headers)
    return answer(status, message, language=language, headers=headers)


def _allowed_methods(request: Request) -> list[str]:
    # Starlette names only those of the first route with this path.
    return [
        method
        for method in METHODS
        if any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL
            for route in request.app.routes
        )
    ]


async def _on_invalid_shape(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - as installed
    language = request.state.language
    faults: Faults = {}
    for one in error.errors():
        place, *path = one["loc"]
        one["loc"] = tuple(path) or (place,)
        for where, told in tell([one], language=language).items():
            faults.setdefault(where, []).extend(told)
    return answer(422, Message.INVALID, language=language, faults=faults)


def refusal(error: Exception, *, language: str) -> Response | None:
    """Return the answer to a refusal that the same request would meet again, None to others."""
    match error:
        case Refused():
            return answer(422, error.message, language=language, faults=error.faults)
        case InvalidRequest():
            return answer(422, Message.INVALID, language=language, faults=error.faults)
        case Conflict():
            # All that this door does to a batch wants it open; what is open lacks shipments.
            is_open = error.state == BatchState.OPEN
            path = "shipments" if is_open else "state"
            message = Message.BATCH_EMPTY if is_open else Message.BATCH_NOT_OPEN
            return refusal(refused(message, under=path, language=language), language=language)
        case NotFound():
            return answer(404, Message.NOT_FOUND, language=language)
        case _:
            return None


async def _on_refusal(request: Request, error: Exception) -> Response:
    told = refusal(error, language=request.state.language)
    assert told is not None  # noqa: S101 - as installed
    return told


async def _on_limit(request: Request, error: Exception) -> Response:
    assert isinstance(error, LimitReached)  # noqa: S101 - as installed
    headers = {"Retry-After": str(max(1, math.ceil(error.retry_after_seconds)))}
    return answer(429, Message.LIMITED, language=request.state.language, headers=headers)


async def _on_busy_key(request: Request, _error: Exception) -> Response:
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
    return answer(409, Message.KEY_BUSY, language=request.state.language, headers=headers)


async def _on_taken_key(request: Request, _error: Exception) -> Response:
    language = request.state.language
    told = refused(Message.KEY_TAKEN, under=KEY_HEADER, language=language)
    return answer(422, Message.INVALID, language=language, faults=told.faults)


async def _on_forbidden(request: Request, _error: Exception) -> Response:
    return answer(403, Message.LINK_EXPIRED, language=request.state.language)

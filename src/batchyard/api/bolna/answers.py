"""Errors of this door: which status they get, and the one shape they have."""

import math
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from batchyard.api.bolna.translate import Version
from batchyard.errors import (
    BatchyardError,
    Conflict,
    Forbidden,
    InvalidRequest,
    LimitReached,
    NotFound,
)
from batchyard.operations.idempotency import (
    RETRY_AFTER_SECONDS,
    KeyBusy,
    KeyMalformed,
    KeyTaken,
)

METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")

MALFORMED_AS_422 = ("from_phone_number", "idempotency-key", "retry_config")
"""Fields whose faults get 422, every other one 400; contract, section 4."""


class Refusal(Exception):
    """The request is answered with this status and message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class AccessDenied(Exception):
    """The token is missing, unknown or revoked."""

    def __init__(self, version: Version) -> None:
        super().__init__("Access denied")
        self.version = version


STATUSES: Mapping[type[BatchyardError], int] = {
    InvalidRequest: 400,
    Conflict: 400,
    Forbidden: 403,
    NotFound: 404,
    KeyBusy: 409,
    KeyMalformed: 422,
    KeyTaken: 422,
    LimitReached: 429,
}


def fault(status: int, message: str, *, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return an error in the vendor's shape."""
    return JSONResponse({"error": status, "message": message}, status, headers=headers)


def fault_of(error: Exception) -> JSONResponse | None:
    """Return the answer to an error that is no fault of ours; None for any other."""
    if isinstance(error, Refusal):
        return fault(error.status, error.message)
    for known, status in STATUSES.items():
        if isinstance(error, known):
            return fault(status, error.message, headers=_headers_of(error))
    return None


def install(app: FastAPI) -> None:
    """Give a door's application its error answers."""
    # Only those: any other error of ours is a fault, and must be logged as one.
    for known in STATUSES:
        app.add_exception_handler(known, _answer_known)
    app.add_exception_handler(Refusal, _answer_known)
    app.add_exception_handler(AccessDenied, _answer_denied)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(ClientDisconnect, _answer_gone)
    app.add_exception_handler(Exception, _answer_unknown)


def _headers_of(error: BatchyardError) -> dict[str, str] | None:
    if isinstance(error, KeyBusy):
        return {"Retry-After": str(RETRY_AFTER_SECONDS)}
    if isinstance(error, LimitReached):
        return {"Retry-After": str(max(1, math.ceil(error.retry_after_seconds)))}
    return None


async def _answer_known(request: Request, error: Exception) -> JSONResponse:
    return fault_of(error) or await _answer_unknown(request, error)


async def _answer_denied(_: Request, error: Exception) -> JSONResponse:
    if isinstance(error, AccessDenied) and error.version is Version.V2026:
        return JSONResponse({"detail": "Unrecognized access token"}, 403)
    return JSONResponse(
        {"error": 401, "message": "Access denied"}, 401, headers={"WWW-Authenticate": "Bearer"}
    )


async def _answer_http(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        return await _answer_unknown(request, error)
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_allowed_methods(request))
    return fault(error.status_code, str(error.detail), headers=headers)


def _allowed_methods(request: Request) -> list[str]:
    # Starlette names only those of the first route with this path.
    return [method for method in METHODS if _is_allowed(request, method)]


def _is_allowed(request: Request, method: str) -> bool:
    scope = {**request.scope, "method": method}
    for route in request.app.routes:
        if route.matches(scope)[0] is Match.FULL:
            # Hidden is what keeps such a path from being taken for an id.
            return bool(getattr(route, "include_in_schema", True))
    return False


async def _answer_invalid(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        return await _answer_unknown(request, error)
    status, told = 400, []
    for one in error.errors():
        place = [str(part) for part in one["loc"][1:]] or [str(one["loc"][0])]
        told.append(f"{'.'.join(place)}: {one['msg']}")
        if place[0].lower() in MALFORMED_AS_422:
            status = 422
    return fault(status, "; ".join(told))


async def _answer_gone(_: Request, __: Exception) -> JSONResponse:
    # Nobody is left to read this; but it is no fault of ours, and not logged as one.
    return fault(400, "The request was cut off.")


async def _answer_unknown(_: Request, __: Exception) -> JSONResponse:
    return fault(500, "Something went wrong on our side.")

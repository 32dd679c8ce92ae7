"""Errors of this door: which status they get, and the one shape they have."""

from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from batchyard.api.bolna.translate import Version
from batchyard.errors import BatchyardError, Conflict, InvalidRequest, LimitReached, NotFound


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
    NotFound: 404,
    LimitReached: 429,
}


def fault(status: int, message: str, *, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return an error in the vendor's shape."""
    return JSONResponse({"error": status, "message": message}, status, headers=headers)


def install(app: FastAPI) -> None:
    """Give a door's application its error answers."""
    # Only those: any other error of ours is a fault, and must be logged as one.
    for known in STATUSES:
        app.add_exception_handler(known, _answer_known)
    app.add_exception_handler(Refusal, _answer_refusal)
    app.add_exception_handler(AccessDenied, _answer_denied)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(Exception, _answer_unknown)


async def _answer_known(_: Request, error: Exception) -> JSONResponse:
    for known, status in STATUSES.items():
        if isinstance(error, known):
            headers = None
            if isinstance(error, LimitReached):
                headers = {"Retry-After": str(max(1, round(error.retry_after_seconds)))}
            return fault(status, error.message, headers=headers)
    return await _answer_unknown(_, error)


async def _answer_refusal(_: Request, error: Exception) -> JSONResponse:
    status = error.status if isinstance(error, Refusal) else 400
    return fault(status, str(error))


async def _answer_denied(_: Request, error: Exception) -> JSONResponse:
    if isinstance(error, AccessDenied) and error.version is Version.V2026:
        return JSONResponse({"detail": "Unrecognized access token"}, 403)
    return JSONResponse(
        {"error": 401, "message": "Access denied"}, 401, headers={"WWW-Authenticate": "Bearer"}
    )


async def _answer_http(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        return await _answer_unknown(_, error)
    return fault(error.status_code, str(error.detail), headers=error.headers)


async def _answer_invalid(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        return await _answer_unknown(_, error)
    faults = "; ".join(f"{one['loc'][-1]}: {one['msg']}" for one in error.errors())
    return fault(400, faults)


async def _answer_unknown(_: Request, __: Exception) -> JSONResponse:
    return fault(500, "Something went wrong on our side.")

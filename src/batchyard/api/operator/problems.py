"""Every fault as problem details (RFC 9457), `application/problem+json`."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from batchyard.errors import (
    BatchyardError,
    Conflict,
    Forbidden,
    InvalidRequest,
    LimitReached,
    NotFound,
    ProviderError,
)
from batchyard.intake.file_forms import UploadTooLarge
from batchyard.logs import name_route
from batchyard.operations.idempotency import KeyBusy, KeyMalformed, KeyTaken

MEDIA_TYPE = "application/problem+json"
STATUSES: Mapping[type[BatchyardError], int] = {
    NotFound: 404,
    Conflict: 409,
    Forbidden: 403,
    LimitReached: 429,
    ProviderError: 502,
    KeyMalformed: 422,
    KeyTaken: 422,
    KeyBusy: 409,
    UploadTooLarge: 413,
    InvalidRequest: 422,
}

log = structlog.get_logger("batchyard.api.operator")


SHAPE = {
    "title": "Problem",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "detail"],
                "properties": {"field": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}
Told = dict[int | str, dict[str, Any]]


def fault(status: int) -> dict[str, Any]:
    """Describe in the document that a call may fail so."""
    return {
        "description": HTTPStatus(status).phrase,
        "content": {MEDIA_TYPE: {"schema": SHAPE}},
    }


TOLD: Told = {status: fault(status) for status in (400, 401, 403, 404, 405, 409, 413, 422, 429)}
"""What any call may answer instead."""

UPSTREAM: Told = {502: fault(502)}
"""What a call that speaks to a provider may answer besides."""


class Unauthorized(BatchyardError):
    """A bearer token is needed, and this is none that is known."""


def install(door: FastAPI) -> None:
    """Let the door answer every fault alike."""
    door.add_exception_handler(Unauthorized, _unauthorized)
    door.add_exception_handler(BatchyardError, _known)
    door.add_exception_handler(RequestValidationError, _invalid)
    door.add_exception_handler(HTTPException, _http)
    door.add_exception_handler(ClientDisconnect, _cut_off)
    door.add_exception_handler(Exception, _unknown)


def problem(
    status: int,
    detail: str,
    *,
    errors: list[dict[str, str]] | None = None,
    headers: Mapping[str, str] | None = None,
    code: str | None = None,
) -> JSONResponse:
    """Make the answer for a fault; `errors` name each place and what is wrong there."""
    body: dict[str, object] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if code is not None:
        body["code"] = code
    if errors:
        body["errors"] = errors
    return JSONResponse(
        body, status_code=status, headers=dict(headers or {}), media_type=MEDIA_TYPE
    )


async def _unauthorized(_: Request, error: Exception) -> JSONResponse:
    return problem(401, str(error), headers={"WWW-Authenticate": "Bearer"})


async def _known(_: Request, error: Exception) -> JSONResponse:
    status = next((STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES), 500)
    errors = [
        {"field": field, "detail": detail}
        for field, details in (error.faults.items() if isinstance(error, InvalidRequest) else ())
        for detail in details
    ]
    headers = {}
    if isinstance(error, LimitReached):
        headers["Retry-After"] = str(max(1, round(error.retry_after_seconds)))
    if isinstance(error, KeyBusy):
        headers["Retry-After"] = "1"
    code = error.code if isinstance(error, InvalidRequest) else None
    return problem(status, str(error), errors=errors, headers=headers, code=code)


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    faults = error.errors() if isinstance(error, RequestValidationError) else []
    errors = [
        {"field": ".".join(str(part) for part in fault["loc"]), "detail": str(fault["msg"])}
        for fault in faults
    ]
    return problem(422, "The request is not valid.", errors=errors, code="invalid")


async def _http(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        return problem(500, "Something went wrong here.")
    headers = dict(error.headers or {})
    if error.status_code == 405 and (methods := _methods(request)):
        headers["Allow"] = ", ".join(methods)
    return problem(error.status_code, str(error.detail), headers=headers)


async def _cut_off(_: Request, __: Exception) -> JSONResponse:
    # Nobody is left to read this.
    return problem(400, "The request was cut off.")


def _methods(request: Request) -> list[str]:
    """Return what may be asked of an address: its methods are spread over several routes."""
    path = request.url.path
    calls = {
        method
        for template, here in request.app.openapi()["paths"].items()
        if re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", template), path)
        for method in here
    }
    return sorted(method.upper() for method in calls)


async def _unknown(request: Request, error: Exception) -> JSONResponse:
    log.error("request.failed", route=name_route(request.scope), exc_info=error)
    return problem(500, "Something went wrong here; the log knows more.")

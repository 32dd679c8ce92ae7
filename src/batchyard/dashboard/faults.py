"""Every fault as a page that says what happened and what to do; never a stack."""

from collections.abc import Mapping

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from batchyard.dashboard import live
from batchyard.dashboard.frame import frame_of
from batchyard.dashboard.visitors import NotSignedIn, sign_in_path
from batchyard.dashboard.voice import Voice
from batchyard.errors import (
    BatchyardError,
    Conflict,
    Forbidden,
    InvalidRequest,
    LimitReached,
    NotFound,
)
from batchyard.intake.file_forms import UploadTooLarge
from batchyard.language import negotiate
from batchyard.logs import name_route

STATUSES: Mapping[type[BatchyardError], int] = {
    NotFound: 404,
    Conflict: 409,
    Forbidden: 403,
    LimitReached: 429,
    UploadTooLarge: 413,
    InvalidRequest: 422,
}
TITLES: Mapping[int, str] = {
    403: "This is not allowed",
    404: "There is nothing here",
    405: "This cannot be asked for",
    409: "This cannot be done now",
    413: "This is too large",
    422: "Something is not right yet",
    429: "Too many attempts",
    500: "Something went wrong",
}
BROKEN = "The server could not answer. Its log knows more; try again in a moment."
NOWHERE = "This address leads nowhere. It may be mistyped, or what was here is gone."

log = structlog.get_logger("batchyard.dashboard")


def install(door: FastAPI) -> None:
    """Let the door answer every fault alike."""
    door.add_exception_handler(NotSignedIn, _send_to_sign_in)
    door.add_exception_handler(BatchyardError, _known)
    door.add_exception_handler(RequestValidationError, _invalid)
    door.add_exception_handler(HTTPException, _http)
    door.add_exception_handler(ClientDisconnect, _left)
    door.add_exception_handler(Exception, _unknown)


def status_of(error: BatchyardError) -> int:
    """Return the status that stands for an error."""
    return next((STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES), 500)


def fault_page(request: Request, status: int, message: str, *, details: object = ()) -> Response:
    """Answer with what is wrong: a page, or a paragraph where a part of a page was asked for."""
    language = negotiate(request.headers.get("accept-language"), team_locale=None)
    voice = Voice(language, timezone="UTC", clock=request.app.state.db.clock)
    html = frame_of(request).bare(
        voice,
        "fault.html",
        status=status,
        title=TITLES.get(status, TITLES[500]),
        message=message,
        details=details,
        is_piece="hx-request" in request.headers,
    )
    return HTMLResponse(html, status_code=status)


def _asks_for_stream(request: Request) -> bool:
    return live.EVENT_STREAM in request.headers.get("accept", "")


async def _send_to_sign_in(request: Request, _: Exception) -> Response:
    path = sign_in_path(request)
    if "hx-request" in request.headers:
        return Response(status_code=401, headers={"HX-Redirect": path})
    if _asks_for_stream(request):
        return live.gone()
    return RedirectResponse(path, status_code=303)


async def _known(request: Request, error: Exception) -> Response:
    if not isinstance(error, BatchyardError):
        return fault_page(request, 500, BROKEN)
    status = status_of(error)
    if status == 500:
        log.error("request.failed", route=name_route(request.scope), exc_info=error)
        return fault_page(request, 500, BROKEN)
    if isinstance(error, Forbidden | NotFound) and _asks_for_stream(request):
        return live.gone()
    faults = error.faults if isinstance(error, InvalidRequest) else {}
    details = [f"{field}: {sentence}" for field, told in faults.items() for sentence in told]
    answer = fault_page(request, status, error.message, details=details)
    if isinstance(error, LimitReached):
        answer.headers["Retry-After"] = str(max(1, round(error.retry_after_seconds)))
    return answer


async def _invalid(request: Request, error: Exception) -> Response:
    faults = error.errors() if isinstance(error, RequestValidationError) else []
    if any(fault["loc"][0] == "path" for fault in faults):
        return fault_page(request, 404, NOWHERE)
    details = [f"{fault['loc'][-1]}: {fault['msg']}" for fault in faults]
    return fault_page(request, 422, "The address is not right.", details=details)


async def _http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        return fault_page(request, 500, BROKEN)
    message = NOWHERE if error.status_code == 404 else str(error.detail)
    answer = fault_page(request, error.status_code, message)
    answer.headers.update(error.headers or {})
    return answer


async def _left(_: Request, __: Exception) -> Response:
    """Answer nobody: whoever sent a file went away before its end."""
    return Response(status_code=400)


async def _unknown(request: Request, error: Exception) -> Response:
    log.error("request.failed", route=name_route(request.scope), exc_info=error)
    return fault_page(request, 500, BROKEN)

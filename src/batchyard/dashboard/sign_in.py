"""Sign in by password or with an API token, and out."""

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from batchyard.config import Config
from batchyard.dashboard import visitors
from batchyard.dashboard.faults import status_of
from batchyard.dashboard.frame import frame_of
from batchyard.dashboard.visitors import ANYBODY, PREFIX, Visitor, address_of, find_visitor
from batchyard.dashboard.voice import Voice
from batchyard.errors import Forbidden, LimitReached
from batchyard.language import negotiate
from batchyard.operations import sessions
from batchyard.store.db import Database

router = APIRouter()

Next = Annotated[str, Query(alias="next")]


@router.get("/sign-in")
async def show_sign_in(request: Request, onward: Next = "") -> Response:
    """Show the form; whoever is signed in is sent on."""
    if await find_visitor(request) is not None:
        return RedirectResponse(_safe(onward), status_code=303)
    return _form(request, onward=onward)


@router.post("/sign-in")
async def sign_in(
    request: Request,
    email: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    token: Annotated[str, Form()] = "",
    onward: Annotated[str, Form(alias="next")] = "",
) -> Response:
    """Begin a session; a form that another site sends begins none."""
    if visitors.is_from_elsewhere(request):
        raise Forbidden("Sign in on the page of this dashboard.")
    db: Database = request.app.state.db
    config: Config = request.app.state.config
    address = address_of(request)
    try:
        if token.strip():
            secret = await sessions.sign_in_with_token(db, token=token, address=address)
        else:
            secret = await sessions.sign_in_with_password(
                db, email=email, password=password, address=address
            )
    except (Forbidden, LimitReached) as error:
        answer = _form(
            request,
            onward=onward,
            fault=error.message,
            email=email,
            with_token=bool(token.strip()),
            status=status_of(error),
        )
        if isinstance(error, LimitReached):
            answer.headers["Retry-After"] = str(max(1, round(error.retry_after_seconds)))
        return answer
    answer = RedirectResponse(_safe(onward), status_code=303)
    visitors.set_cookie(answer, config, secret=secret)
    return answer


@router.post("/sign-out")
async def sign_out(visitor: Annotated[Visitor, ANYBODY]) -> Response:
    """End the session."""
    await sessions.sign_out(visitor.db, session=visitor.session)
    answer = RedirectResponse(f"{PREFIX}/sign-in", status_code=303)
    answer.delete_cookie(visitors.COOKIE, path=PREFIX)
    return answer


def _form(
    request: Request,
    *,
    onward: str,
    fault: str | None = None,
    email: str = "",
    with_token: bool = False,
    status: int = 200,
) -> Response:
    language = negotiate(request.headers.get("accept-language"), team_locale=None)
    html = frame_of(request).bare(
        Voice(language, timezone="UTC", clock=request.app.state.db.clock),
        "sign_in.html",
        onward=onward,
        fault=fault,
        email=email,
        with_token=with_token,
        # Whom the proxy names, but nobody here knows.
        stranger=visitors.named_by_proxy(request) or None,
    )
    return HTMLResponse(html, status_code=status)


def _safe(onward: str) -> str:
    """Return where to go on to: only ever a page of ours."""
    parts = urlsplit(onward)
    is_ours = not parts.scheme and not parts.netloc and parts.path.startswith(f"{PREFIX}/")
    return onward if is_ours and "\\" not in onward else f"{PREFIX}/"

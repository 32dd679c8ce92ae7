"""What browsers have to heed in every answer of the dashboard, faults and files included."""

import re
from collections.abc import Mapping

from fastapi.responses import Response
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from batchyard.config import Config
from batchyard.dashboard.visitors import PREFIX, set_cookie

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
"""Nothing inline, nothing from elsewhere, in nobody's frame."""


MAX_FORM_BYTES = 2_000_000
TOO_LARGE = "A form has at most 2 MB."
UPLOADS = re.compile(rf"{PREFIX}/(?:new/(?:look|upload)|batches/[^/]+/refused/file)")
"""Where files come in, by people who are signed in; they are read as streams, under limits of
their own."""


class Guard:
    """Adds the headers around the whole application, and the cookie of a session just begun.

    Forms are held in memory, also those of people nobody knows yet, so they have a limit.
    """

    def __init__(self, app: ASGIApp, config: Config) -> None:
        self.app = app
        self._config = config

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        # Starlette keeps `request.state` here, so what a page notes is seen.
        state: dict[str, object] = scope.setdefault("state", {})

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
                self._add_cookie(headers, state.get("new_secret"))
            await send(message)

        is_upload = UPLOADS.fullmatch(scope.get("path", "")) is not None
        await self.app(scope, receive if is_upload else _limited(receive), send_guarded)

    def _add_cookie(self, headers: MutableHeaders, secret: object) -> None:
        if isinstance(secret, str):
            carrier = Response()
            set_cookie(carrier, self._config, secret=secret)
            headers.append("set-cookie", carrier.headers["set-cookie"])


def _limited(receive: Receive) -> Receive:
    """Return what reads a body of at most `MAX_FORM_BYTES`, whatever length was announced."""
    size = 0

    async def receive_some() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > MAX_FORM_BYTES:
            raise HTTPException(413, TOO_LARGE)
        return message

    return receive_some

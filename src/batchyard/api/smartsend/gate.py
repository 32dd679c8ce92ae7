"""What every request passes: Request-ID, language, access, and the reading of its body."""

import asyncio
import json
import re
from collections.abc import Callable, Coroutine
from tempfile import SpooledTemporaryFile
from uuid import uuid4

import structlog
from fastapi.routing import APIRoute
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.types import Message as Event

from batchyard.api.smartsend import faults
from batchyard.api.smartsend.language import translate
from batchyard.api.smartsend.messages import Message
from batchyard.errors import NotFound
from batchyard.language import negotiate
from batchyard.models import Principal
from batchyard.operations import access
from batchyard.store.db import Database

log = structlog.get_logger()

MAX_REQUEST_ID_LENGTH = 128
BYTES_PER_VALUE = 10
"""A body of the largest size may hold a value (object, list, text, number) per so many bytes."""
LARGE_BODY_BYTES = 256 * 1024
"""From this size on a body waits on the disk until it is complete and has its turn, and is parsed
beside the event loop."""
LARGE_AT_ONCE = 2
"""A large body takes many times its size while it is worked on; so many are, of all teams."""
JSON_TYPE = re.compile(
    r'application/(?:[\w.+-]+\+)?json\s*(?:;\s*charset\s*=\s*"?utf-?8"?\s*)?', re.IGNORECASE
)
BEARER = re.compile(r"bearer +([\x21-\x7e]+)", re.IGNORECASE)


def read_request_id(header: str) -> str | None:
    """Return the characters of a Request-ID as it came off the wire, or None if it is no good."""
    try:
        text = header.encode("latin-1").decode()
    except UnicodeDecodeError:
        text = header
    return text if 1 <= len(text) <= MAX_REQUEST_ID_LENGTH and text.isprintable() else None


class Frame:
    """Puts Request-ID and language on every answer, and answers when all else broke."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection (ASGI)."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given_id = headers.get("request-id")
        request_id = given_id if given_id and read_request_id(given_id) else str(uuid4())
        state = scope.setdefault("state", {})
        state["accept_language"] = ", ".join(headers.getlist("accept-language"))
        state["language"] = negotiate(state["accept_language"], team_locale=None)
        has_started = False

        async def send_framed(event: Event) -> None:
            nonlocal has_started
            if event["type"] == "http.response.start":
                has_started = True
                answered = MutableHeaders(scope=event)
                answered["Request-ID"] = request_id
                answered["Content-Language"] = state["language"]
                answered.add_vary_header("Accept-Language")
            await send(event)

        try:
            await self.app(scope, receive, send_framed)
        except Exception:
            log.exception("request.failed", door="smartsend", request_id=request_id)
            if has_started:
                raise
            answer = faults.answer(500, Message.BROKEN, language=state["language"])
            await answer(scope, receive, send_framed)


class DoorRoute(APIRoute):
    """A route that lets in only a team by its own path, by a token that may do what is asked.

    Nothing of the body is read before.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[object, object, Response]]:
        """Return FastAPI's handler behind the gate."""
        handler = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            principal = await _principal(request)
            team = principal.team
            request.state.principal = principal
            request.state.language = negotiate(
                request.state.accept_language, team_locale=team.locale
            )
            # Whether another team of this name exists is nobody's business.
            named = request.path_params["team"]
            if named != team.slug and named.lower() != str(team.uuid):
                raise NotFound
            if not access.may(principal, scope=_scope_of(request)):
                raise HTTPException(403)
            incoming = BodyRequest(request.scope, request.receive)
            try:
                return await handler(incoming)
            finally:
                incoming.end_turn()

        return guarded


def _scope_of(request: Request) -> str:
    return access.READ_SCOPE if request.method == "GET" else access.WRITE_SCOPE


async def _principal(request: Request) -> Principal:
    match = BEARER.fullmatch(request.headers.get("authorization", "").strip())
    principal = await access.authenticate(_db(request), token=match[1]) if match else None
    if principal is None:
        raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"})
    return principal


def _db(request: Request) -> Database:
    db: Database = request.app.state.db
    return db


class BodyRequest(Request):
    """A request whose body is read up to a size and is strict JSON."""

    _turn: asyncio.Semaphore | None = None
    """Held from when a large body is complete until its request is answered."""

    async def body(self) -> bytes:
        """Return the body; raise 415 and 413 before reading what would be of no use."""
        if not hasattr(self, "_body"):
            limit: int = self.app.state.config.max_body_bytes
            length = self.headers.get("content-length", "")
            if length.isdecimal() and int(length) > limit:
                raise HTTPException(413)
            if length not in ("", "0") or "transfer-encoding" in self.headers:
                self._check_type()
            self._body = await self._read(limit)
        return self._body

    async def _read(self, limit: int) -> bytes:
        # Who sends slowly holds up nobody, and has nothing of a large body in memory.
        size = 0
        with SpooledTemporaryFile(max_size=LARGE_BODY_BYTES) as spool:
            async for chunk in self.stream():
                size += len(chunk)
                if size > limit:
                    raise HTTPException(413)
                if size <= LARGE_BODY_BYTES:
                    spool.write(chunk)
                else:
                    await asyncio.to_thread(spool.write, chunk)
            spool.seek(0)
            if size <= LARGE_BODY_BYTES:
                return spool.read()
            await self._await_turn()
            return await asyncio.to_thread(spool.read)

    async def _await_turn(self) -> None:
        turn: asyncio.Semaphore = self.app.state.large_bodies
        await turn.acquire()
        self._turn = turn

    def end_turn(self) -> None:
        """Let another large body have its turn."""
        if self._turn is not None:
            self._turn.release()
            self._turn = None

    def _check_type(self) -> None:
        given = self.headers.get("content-type", "").strip()
        encoding = self.headers.get("content-encoding", "identity").strip().lower()
        if encoding != "identity" or (given and not JSON_TYPE.fullmatch(given)):
            raise HTTPException(415)

    async def json(self) -> object:
        """Return the body's value; raise 422 when it is not strict JSON."""
        body = await self.body()
        values = body.count(b",") + body.count(b"[") + body.count(b"{")
        if values > self.app.state.config.max_body_bytes // BYTES_PER_VALUE:
            raise HTTPException(413)
        if len(body) > LARGE_BODY_BYTES:
            return await asyncio.to_thread(self._parse, body)
        return self._parse(body)

    def _parse(self, body: bytes) -> object:
        try:
            # Not orjson: it takes the last of two equal keys in silence.
            return json.loads(body.decode("utf-8-sig"), object_pairs_hook=_object)
        except _DuplicateKeyError as error:
            message = translate(
                Message.DUPLICATE_KEY, language=self.state.language, key=error.args[0]
            )
            raise HTTPException(422, message) from error
        except (ValueError, RecursionError) as error:
            raise HTTPException(422, Message.INVALID_JSON) from error


class _DuplicateKeyError(Exception):
    pass


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _DuplicateKeyError(key[:100].encode("utf-8", "replace").decode())
            seen.add(key)
    return found

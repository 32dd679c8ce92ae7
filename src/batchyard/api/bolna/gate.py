"""What every request passes: who speaks is known before anything of the body is read."""

import json
import math
from collections.abc import Callable, Coroutine
from contextlib import suppress

from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from batchyard.api.bolna.speaker import recall, recognise

MAX_JSON_BYTES = 4 * 1024 * 1024
"""Lists come as files; JSON of this door is small, whatever the setting allows other doors."""
MAX_DEPTH = 100
"""Of objects and arrays inside each other."""
MAX_WHOLE_NUMBER = 2**63


class DoorRoute(APIRoute):
    """A route that lets in only a team, and whose JSON bodies are strict."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[object, object, Response]]:
        """Return FastAPI's handler behind the gate."""
        handler = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            request.state.speaker = await recognise(request)
            return await handler(BodyRequest(request.scope, request.receive))

        return guarded


class ProvingRoute(DoorRoute):
    """A route for reading whose own statement proves the token of who is remembered.

    Whatever else comes of it is not believed: who speaks is then found out first.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[object, object, Response]]:
        """Return FastAPI's handler for who is remembered, with the one behind the gate."""
        handler, guarded = APIRoute.get_route_handler(self), super().get_route_handler()

        async def proving(request: Request) -> Response:
            with suppress(Exception):
                speaker = recall(request)
                if speaker is not None:
                    request.state.speaker = speaker
                    return await handler(request)
            return await guarded(request)

        return proving


class BodyRequest(Request):
    """A request whose body is read up to a size and is JSON that PostgreSQL can hold."""

    async def body(self) -> bytes:
        """Return the body; raise 413 once it is too large."""
        if not hasattr(self, "_body"):
            limit = min(self.app.state.config.max_body_bytes, MAX_JSON_BYTES)
            length = self.headers.get("content-length", "")
            if length.isdecimal() and int(length) > limit:
                raise _too_large(limit)
            read = bytearray()
            async for chunk in self.stream():
                read += chunk
                if len(read) > limit:
                    raise _too_large(limit)
            self._body = bytes(read)
        return self._body

    async def json(self) -> object:
        """Return the body's value; raise 400 when it is not JSON, or cannot be kept."""
        body = await self.body()
        try:
            value: object = json.loads(body.decode("utf-8-sig"))
            check_value(value)
        except (ValueError, RecursionError) as error:
            raise HTTPException(400, f"The body is not JSON we can keep: {error}") from error
        return value


def check_value(value: object, *, depth: int = 0) -> None:
    """Raise `ValueError` for what JSON allows, or Python takes for JSON, and we cannot keep."""
    if depth > MAX_DEPTH:
        raise ValueError("it is nested too deeply")
    match value:
        case str():
            _check_text(value)
        case float() if not math.isfinite(value):
            raise ValueError("it holds a number that is none")
        case int() if not -MAX_WHOLE_NUMBER <= value < MAX_WHOLE_NUMBER:
            raise ValueError("it holds a whole number of more than 64 bits")
        case dict():
            for key, inner in value.items():
                _check_text(key)
                check_value(inner, depth=depth + 1)
        case list():
            for inner in value:
                check_value(inner, depth=depth + 1)
        case _:
            return


def _check_text(text: str) -> None:
    if "\0" in text:
        raise ValueError("it holds a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("it holds half a character") from error


def _too_large(limit: int) -> HTTPException:
    return HTTPException(413, f"The body is larger than {limit} bytes.")

"""Where providers tell what became of an item: `POST /callbacks/{token}`."""

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from batchyard.engine.inbox import Inbox
from batchyard.errors import Forbidden, InvalidRequest, LimitReached, NotFound
from batchyard.providers.base import Callback

MAX_BODY_BYTES = 5 * 1024**2


class TooLarge(Exception):
    """The body of a callback is too large."""


def build_door(inbox: Callable[[], Inbox]) -> Starlette:
    """Build the door; `inbox` is called for each callback, once the server has started."""

    async def take(request: Request) -> JSONResponse:
        try:
            callback = Callback(
                url=str(request.url),
                headers={name.lower(): value for name, value in request.headers.items()},
                body=await _read_body(request),
            )
            is_news = await inbox().take(request.path_params["token"], callback)
        except TooLarge:
            return _fault(413, f"A callback has at most {MAX_BODY_BYTES} bytes.")
        except NotFound as error:
            return _fault(404, error.message)
        except Forbidden as error:
            return _fault(403, error.message)
        except InvalidRequest as error:
            return _fault(422, error.message)
        except LimitReached as error:
            wait = {"Retry-After": str(int(error.retry_after_seconds))}
            return JSONResponse({"message": error.message}, status_code=503, headers=wait)
        return JSONResponse({"status": "taken" if is_news else "known already"})

    return Starlette(routes=[Route("/callbacks/{token}", take, methods=["POST"])])


async def _read_body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise TooLarge
    return bytes(body)


def _fault(status: int, message: str) -> JSONResponse:
    return JSONResponse({"message": message}, status_code=status)

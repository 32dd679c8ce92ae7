"""An http provider and the other side of its line, for tests."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import orjson

from batchyard.providers.base import Callback, Surroundings
from batchyard.providers.http import HttpProvider
from batchyard.testing import Arrived, HttpServer, Line

NOW = datetime(2026, 12, 1, 9, 0, 0, tzinfo=UTC)
SECRET = "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"

Handler = Callable[[Arrived, Line], Awaitable[None]]


def now() -> datetime:
    return datetime.now(UTC)


def make_provider(
    url: str,
    *,
    secret: str | None = None,
    allow_private: bool = True,
    clock: Callable[[], datetime] = now,
    **settings: object,
) -> HttpProvider:
    return HttpProvider(
        Surroundings(
            name="carrier",
            clock=clock,
            report=lambda _key, _answer: None,
            settings={"url": url, "timeout_seconds": 5, **settings},
            secret=secret,
            allow_private=allow_private,
            callback_address=lambda request: f"https://yard.example/callbacks/{request.key}",
        )
    )


@asynccontextmanager
async def provider_over(
    handler: Handler, *, is_askable: bool = False, **settings: object
) -> AsyncIterator[HttpProvider]:
    """Lend a provider whose other side is `handler`."""
    async with HttpServer(handler) as server:
        if is_askable:
            settings |= {"policy": "askable", "result_url": f"{server.url}/results"}
        provider = make_provider(f"{server.url}/do", **settings)  # type: ignore[arg-type]
        try:
            yield provider
        finally:
            async with asyncio.timeout(5):
                await provider.close()


def answering(status: int, body: object = b"", **headers: str) -> Handler:
    """Return a handler that always answers so; anything but bytes becomes JSON."""
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def handle(_: Arrived, line: Line) -> None:
        await line.reply(status, content, headers=named)

    return handle


def callback(body: object, **headers: str) -> Callback:
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Callback(url="https://yard.example/callbacks/x", headers=named, body=content)

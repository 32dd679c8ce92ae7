"""Builds the whole server from a Config: every door on one screen."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from batchyard.api.bolna.routes import build_door as build_bolna
from batchyard.api.smartsend.routes import build_door as build_smartsend
from batchyard.config import Config
from batchyard.store.db import Database

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]


class App:
    """An ASGI application that gives each path to its door."""

    def __init__(self, config: Config, db: Database) -> None:
        bolna = build_bolna(config, db)
        smartsend = build_smartsend(config, db)
        self._doors: tuple[tuple[str, Asgi], ...] = (
            ("/api/v2", smartsend),
            ("/batches", bolna),
            ("/v2/agent", bolna),
            ("/call", bolna),
            ("/executions", bolna),
            ("/user/me", bolna),
            ("/phone-numbers", bolna),
        )
        self._elsewhere: Asgi = bolna

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            await _answer_lifespan(receive, send)
            return
        await self._door(str(scope.get("path", "")))(scope, receive, send)

    def _door(self, path: str) -> Asgi:
        for prefix, door in self._doors:
            if path == prefix or path.startswith(f"{prefix}/"):
                return door
        return self._elsewhere


def build_app(config: Config, db: Database) -> App:
    """Build the server; the database must be open while it serves."""
    return App(config, db)


async def _answer_lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        else:
            await send({"type": "lifespan.shutdown.complete"})
            return

"""Builds the whole server from a Config: every door on one screen."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from batchyard.api.bolna.letters import render as render_for_bolna
from batchyard.api.bolna.routes import build_door as build_bolna
from batchyard.api.bolna.speaker import DOOR as BOLNA
from batchyard.api.callbacks import build_door as build_callbacks
from batchyard.api.health import build_door as build_health
from batchyard.api.operator.letters import DOOR as OPERATOR
from batchyard.api.operator.letters import render as render_for_operator
from batchyard.api.operator.routes import build_door as build_operator
from batchyard.api.smartsend.routes import build_door as build_smartsend
from batchyard.config import Config
from batchyard.engine.inbox import Inbox, open_inbox
from batchyard.errors import LimitReached
from batchyard.intake.pool import open_pool
from batchyard.store.db import Database
from batchyard.webhooks import Renderers

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

RENDERERS: Renderers = {BOLNA: render_for_bolna, OPERATOR: render_for_operator}
"""Whose words the bodies of webhooks are written in."""


class App:
    """An ASGI application that gives each path to its door."""

    def __init__(self, config: Config, db: Database) -> None:
        bolna = build_bolna(config, db)
        smartsend = build_smartsend(config, db)
        health = build_health(db)
        self._config = config
        self._db = db
        self._inbox: Inbox | None = None
        self._doors: tuple[tuple[str, Asgi], ...] = (
            ("/health", health),
            ("/metrics", health),
            ("/callbacks", build_callbacks(self._opened_inbox)),
            ("/api/v1", build_operator(config, db)),
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
            await self._live(receive, send)
            return
        await self._door(str(scope.get("path", "")))(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        """Keep open what the server needs between the start and the end of its life."""
        await receive()
        async with (
            open_pool(self._config.intake_processes),
            open_inbox(self._config, self._db) as inbox,
        ):
            self._inbox = inbox
            await send({"type": "lifespan.startup.complete"})
            await receive()
            self._inbox = None
        await send({"type": "lifespan.shutdown.complete"})

    def _opened_inbox(self) -> Inbox:
        if self._inbox is None:
            raise LimitReached("The server is starting or stopping.")
        return self._inbox

    def _door(self, path: str) -> Asgi:
        for prefix, door in self._doors:
            if path == prefix or path.startswith(f"{prefix}/"):
                return door
        return self._elsewhere


def build_app(config: Config, db: Database) -> App:
    """Build the server; the database must be open while it serves."""
    return App(config, db)

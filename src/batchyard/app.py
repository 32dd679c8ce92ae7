"""Builds the whole server from a Config: every door on one screen."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from batchyard import tracing
from batchyard.api.bolna.routes import build_door as build_bolna
from batchyard.api.callbacks import build_door as build_callbacks
from batchyard.api.health import build_door as build_health
from batchyard.api.operator.routes import build_door as build_operator
from batchyard.api.smartsend.routes import build_door as build_smartsend
from batchyard.config import Config
from batchyard.dashboard.routes import build_door as build_dashboard
from batchyard.engine.inbox import Inbox, open_inbox
from batchyard.errors import LimitReached
from batchyard.intake.pool import open_pool
from batchyard.logs import name_route
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
        health = build_health(db)
        dashboard = build_dashboard(config, db)
        self._config = config
        self._db = db
        self._inbox: Inbox | None = None
        self._doors: tuple[tuple[str, Asgi], ...] = (
            ("/ui", dashboard),
            ("/health", health),
            ("/metrics", health),
            ("/callbacks", build_callbacks(self._opened_inbox)),
            ("/api/v1", build_operator(config, db, inbox=self._opened_inbox)),
            ("/api/v2", smartsend),
            ("/batches", bolna),
            ("/v2/agent", bolna),
            ("/call", bolna),
            ("/executions", bolna),
            ("/user/me", bolna),
            ("/phone-numbers", bolna),
        )
        self._home: Asgi = dashboard
        self._elsewhere: Asgi = bolna

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        door = self._door(str(scope.get("path", "")))
        if tracing.is_on():
            await _serve_traced(door, scope, receive, send)
        else:
            await door(scope, receive, send)

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
        if path == "/":
            return self._home
        for prefix, door in self._doors:
            if path == prefix or path.startswith(f"{prefix}/"):
                return door
        return self._elsewhere


def build_app(config: Config, db: Database) -> App:
    """Build the server; the database must be open while it serves."""
    return App(config, db)


async def _serve_traced(door: Asgi, scope: Scope, receive: Receive, send: Send) -> None:
    method = str(scope.get("method", ""))
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    with tracing.request(method, headers) as span:

        async def tell(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                span.set_attribute("http.response.status_code", message["status"])
            await send(message)

        try:
            await door(scope, receive, tell)
        finally:
            # Known once it was routed.
            route = name_route(scope)
            if route is not None:
                span.update_name(f"{method} {route}")
                span.set_attribute("http.route", route)

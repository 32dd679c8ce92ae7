"""The web server as a service of this process; apart from the workers, which need not load it."""

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager, nullcontext, suppress
from ipaddress import ip_address
from typing import Any

import structlog
import uvicorn
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from batchyard.app import Asgi, Receive, Scope, Send, build_app
from batchyard.cli.services import Service
from batchyard.config import Config
from batchyard.dashboard.visitors import PEER
from batchyard.errors import ConfigError
from batchyard.store.db import Database

WEB_STOP_SECONDS = 2
"""How long requests may take to end after the signal."""
BACKLOG = 2048
STOPPING = [(b"retry-after", b"5"), (b"content-length", b"0")]

log = structlog.get_logger("batchyard.services")


@contextmanager
def listening(settings: Config) -> Iterator[tuple[Config, Service]]:
    """Take the port before anything else starts; lend the settings with it, and the web server.

    Raises `ConfigError` when the address cannot be listened on, or nobody could be signed in by the
    proxy that is named.
    """
    _check_proxies(settings)
    with _listen(settings.host, settings.port) as sock:
        port = int(sock.getsockname()[1])

        async def serve(settings: Config, db: Database, stop: asyncio.Event) -> None:
            await _serve(settings, db, stop, sock=sock)

        yield settings.model_copy(update={"port": port}), serve


class _UntilTheEnd:
    """Serves by an application; what still runs when the server ends is broken off.

    Uvicorn cancels what takes too long and would log each with its stack, as if it had failed.
    """

    def __init__(self, app: Asgi) -> None:
        self._app = app
        self._is_ending = False
        self._streams: set[asyncio.Task[object]] = set()

    def end(self) -> None:
        """Break off streams, which have no end of their own; others may take their time."""
        self._is_ending = True
        for task in self._streams:
            task.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # servers serve in tasks
        is_started = False

        async def tell(message: MutableMapping[str, Any]) -> None:
            nonlocal is_started
            if message["type"] == "http.response.start":
                is_started = True
                if _is_stream(message):
                    self._streams.add(task)
            await send(message)

        try:
            await self._app(scope, receive, tell)
        except asyncio.CancelledError:
            if not self._is_ending:
                raise
            log.info("request.broken_off")
            if not is_started:
                await send({"type": "http.response.start", "status": 503, "headers": STOPPING})
            # What was begun and has a length stays cut off: nobody may take it for the whole.
            if not is_started or task in self._streams:
                await send({"type": "http.response.body", "body": b""})
        finally:
            self._streams.discard(task)


def _check_proxies(settings: Config) -> None:
    """Raise `ConfigError` where a proxy is to sign people in and the server cannot know it."""
    if settings.trusted_proxy_header is None or "trusted_proxies" in settings.model_fields_set:
        return
    with suppress(ValueError):
        if settings.host == "localhost" or ip_address(settings.host).is_loopback:
            return
    raise ConfigError(
        "BATCHYARD_TRUSTED_PROXY_HEADER signs in whom a proxy names, and is believed only of the "
        "addresses and networks in BATCHYARD_TRUSTED_PROXIES. Name the proxy there, as the server "
        "sees it."
    )


def _believe_proxies(app: Callable[..., Awaitable[None]], trusted: str) -> Asgi:
    """Let trusted proxies say whom they speak for; the peer itself is noted before."""
    told: Callable[..., Awaitable[None]] = ProxyHeadersMiddleware(app, trusted_hosts=trusted)

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope[PEER] = scope.get("client")
        await told(scope, receive, send)

    return serve


def _is_stream(start: MutableMapping[str, Any]) -> bool:
    return any(
        name.lower() == b"content-type" and value.startswith(b"text/event-stream")
        for name, value in start.get("headers", ())
    )


class _Server(uvicorn.Server):
    """Without signal handlers of its own: one place decides when this process ends."""

    def capture_signals(self) -> nullcontext[None]:  # type: ignore[override]
        return nullcontext()


async def _serve(
    settings: Config, db: Database, stop: asyncio.Event, *, sock: socket.socket
) -> None:
    app = _UntilTheEnd(build_app(settings, db))
    server = _Server(
        uvicorn.Config(
            # Else everybody behind a proxy would share one address, and one limit of sign-ins.
            _believe_proxies(app, settings.trusted_proxies),
            proxy_headers=False,
            http="httptools",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=WEB_STOP_SECONDS,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[sock]))
    stopped = asyncio.create_task(stop.wait())
    log.info("server.started", url=_address(settings))
    try:
        await asyncio.wait([serving, stopped], return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
        app.end()
        server.should_exit = True
        await serving


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen(BACKLOG)
        except OSError:
            sock.close()
            raise
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"Port {port} of {host} is in use. Stop what listens there, or choose another "
                "with --port."
            ) from error
        raise ConfigError(
            f"Cannot listen on port {port} of {host}: {error.strerror}. Choose another address "
            "with --host or another port with --port."
        ) from error
    except UnicodeError as error:
        raise ConfigError(
            f"Cannot listen on {host}: that is no valid name. Choose another address with --host."
        ) from error
    sock.setblocking(False)  # noqa: FBT003  # the socket's own way of saying it
    return sock


def _address(settings: Config) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{settings.port}"

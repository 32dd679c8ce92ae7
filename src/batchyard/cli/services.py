"""Runs the web server and workers in this process until a signal stops them."""

import asyncio
import errno
import os
import signal
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, nullcontext

import structlog
import uvicorn
import uvloop

from batchyard.app import RENDERERS, build_app
from batchyard.cli import session
from batchyard.config import Config
from batchyard.engine.worker import run_worker
from batchyard.errors import ConfigError
from batchyard.store.db import Database
from batchyard.store.files import check_document_store
from batchyard.webhooks import run_webhooks

WEB_STOP_SECONDS = 2
"""How long requests may take to end after the signal."""
LEEWAY_SECONDS = 0.75
"""What the end itself may take beyond the time the setting gives to work that is out."""
BACKLOG = 2048

Service = Callable[[Config, Database, asyncio.Event], Coroutine[None, None, None]]
"""Runs until the event is set, then ends."""

log = structlog.get_logger("batchyard.services")


def run(settings: Config, services: Sequence[Service]) -> None:
    """Run services on one database until SIGINT or SIGTERM, or until one ends or breaks."""
    check_document_store(settings)
    with session.postgres(settings) as url:
        uvloop.run(_run(session.complete(settings), url, services))


async def _run(settings: Config, url: str, services: Sequence[Service]) -> None:
    stop = asyncio.Event()
    deadline = settings.stop_seconds + LEEWAY_SECONDS
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _stop_or_leave, stop, deadline)
    async with session.database(settings, url) as db:
        tasks = [asyncio.create_task(service(settings, db, stop)) for service in services]
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
            stop.set()
            _, late = await asyncio.wait(tasks, timeout=deadline)
            for task in late:
                task.cancel()
            await asyncio.wait(tasks)
        finally:
            stopped.cancel()
        for task in tasks:
            if not task.cancelled():
                task.result()  # raises what broke it
    log.info("process.stopped")


def _stop_or_leave(stop: asyncio.Event, deadline: float) -> None:
    """Stop at the first signal; leave at the second, or when stopping takes too long.

    Leaving at once is safe: what is out is found in the database by those who come after.
    """
    if stop.is_set():
        os._exit(1)
    log.info("process.stopping")
    stop.set()
    last_resort = threading.Timer(deadline + LEEWAY_SECONDS, os._exit, (1,))
    last_resort.daemon = True
    last_resort.start()


@contextmanager
def listening(settings: Config) -> Iterator[tuple[Config, Service]]:
    """Take the port before anything else starts; lend the settings with it, and the web server.

    Raises `ConfigError` when the address cannot be listened on.
    """
    with _listen(settings.host, settings.port) as sock:
        port = int(sock.getsockname()[1])

        async def serve(settings: Config, db: Database, stop: asyncio.Event) -> None:
            await _serve(settings, db, stop, sock=sock)

        yield settings.model_copy(update={"port": port}), serve


async def work(settings: Config, db: Database, stop: asyncio.Event) -> None:
    """Be a worker, and tell those who listen what happened."""
    await asyncio.gather(
        run_worker(settings, db, stop=stop),
        run_webhooks(settings, db, stop=stop, renderers=RENDERERS),
    )


class _Server(uvicorn.Server):
    """Without signal handlers of its own: one place decides when this process ends."""

    def capture_signals(self) -> nullcontext[None]:  # type: ignore[override]
        return nullcontext()


async def _serve(
    settings: Config, db: Database, stop: asyncio.Event, *, sock: socket.socket
) -> None:
    server = _Server(
        uvicorn.Config(
            build_app(settings, db),
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
    sock.setblocking(False)  # noqa: FBT003  # the socket's own way of saying it
    return sock


def _address(settings: Config) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{settings.port}"

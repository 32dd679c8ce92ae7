"""Runs the web server or workers in this process until a signal stops them."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Coroutine, Sequence

import structlog
import uvloop

from batchyard import tracing
from batchyard.api.letters import RENDERERS
from batchyard.cli import session
from batchyard.config import Config
from batchyard.engine.worker import run_worker
from batchyard.store.db import Database
from batchyard.store.files import check_document_store
from batchyard.webhooks import run_webhooks

TERMINAL_STOP_SECONDS = 4.0
"""At a terminal people wait for Ctrl-C, so less than a worker's ten unless the setting says so."""

LEEWAY_SECONDS = 0.7
"""What the end itself may take beyond the time the setting gives to work that is out."""

LAST_RESORT_SECONDS = 0.2
"""So long after that the process leaves, whatever hangs: at a terminal within 5 s of Ctrl-C."""

Service = Callable[[Config, Database, asyncio.Event], Coroutine[None, None, None]]
"""Runs until the event is set, then ends."""

log = structlog.get_logger("batchyard.services")


def at_a_terminal(settings: Config) -> Config:
    """Return the settings with the time to stop that suits a terminal, unless they name one."""
    if "stop_seconds" in settings.model_fields_set:
        return settings
    return settings.model_copy(update={"stop_seconds": TERMINAL_STOP_SECONDS})


def run(settings: Config, services: Sequence[Service]) -> None:
    """Run services on one database until SIGINT or SIGTERM, or until one ends or breaks."""
    check_document_store(settings)
    traces = tracing.sending(settings.otlp_endpoint, share=settings.trace_share)
    with session.postgres(settings) as url, traces:
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
    last_resort = threading.Timer(deadline + LAST_RESORT_SECONDS, os._exit, (1,))
    last_resort.daemon = True
    last_resort.start()


async def work(settings: Config, db: Database, stop: asyncio.Event) -> None:
    """Be a worker, and tell those who listen what happened."""
    await asyncio.gather(
        run_worker(settings, db, stop=stop),
        run_webhooks(settings, db, stop=stop, renderers=RENDERERS),
    )

"""The whole server on a real port, in the loop of the test."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn

from batchyard.app import build_app
from batchyard.config import Config
from batchyard.store.db import Database


@asynccontextmanager
async def serving(db: Database, config: Config | None = None) -> AsyncIterator[str]:
    """Serve every door over this database, and lend the address."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(
            build_app(config or Config(intake_processes=0), db),
            http="httptools",
            lifespan="on",
            log_config=None,
            timeout_graceful_shutdown=1,
        )
    )
    task = asyncio.create_task(server.serve([listener]))
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task

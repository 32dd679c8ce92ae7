"""The whole server as a process, with a worker whose sandbox does everything at once."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from batchyard.store.db import Database
from tests.api.smartsend.conftest import until
from tests.cli.commands import running

TOKEN = "by_acceptance_0123456789"
"""Of the team `default`."""


@asynccontextmanager
async def serving(db: Database, *, log: Path, **settings: str) -> AsyncIterator[str]:
    """Run it on a free port; lend its address."""
    address = f"http://127.0.0.1:{_free_port()}"
    given = {
        "BATCHYARD_DATABASE_URL": db.url,
        "BATCHYARD_BOOTSTRAP_TOKEN": TOKEN,
        "BATCHYARD_SANDBOX_SPEED": "0",
        **settings,
    }

    async def is_up() -> bool:
        async with httpx.AsyncClient() as http:
            try:
                return (await http.get(f"{address}/api/v2/openapi.json")).is_success
            except httpx.HTTPError:
                return False

    with running("up", "--port", address.rpartition(":")[2], log=log, **given):
        await until(is_up, seconds=60)
        yield address


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])

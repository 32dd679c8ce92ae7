"""A worker beside the door: the sandbox at once, webhooks, and a push for what waits."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from batchyard.api.bolna.letters import render
from batchyard.config import Config
from batchyard.engine.worker import run_worker
from batchyard.store import queue
from batchyard.store.db import Database
from batchyard.webhooks import run_webhooks
from tests.api.bolna.conftest import Caller
from tests.api.bolna.test_control import run

CONFIG = Config(
    sandbox_speed=0, stop_seconds=2, webhook_allow_private=True, public_url="https://yard.example"
)

SLOW = CONFIG.model_copy(update={"sandbox_speed": 0.001})
"""What is sent stays live."""


@asynccontextmanager
async def working(db: Database, config: Config = CONFIG) -> AsyncIterator[None]:
    """Run a worker, and deliver webhooks, while the block runs."""
    stop = asyncio.Event()
    tasks = [
        asyncio.create_task(run_worker(config, db, stop=stop)),
        asyncio.create_task(run_webhooks(config, db, stop=stop, renderers={"bolna": render})),
    ]
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*tasks)


async def until(condition: Callable[[], Awaitable[object]], *, seconds: float = 30) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110  # rows send no signal
            await asyncio.sleep(0.03)


async def start(db: Database, batch_id: object) -> None:
    """Let a batch run now, as if its time had come."""
    await run(
        db,
        "UPDATE batches SET state = 'scheduled', scheduled_at = %(now)s WHERE id = %(id)s",
        now=db.clock(),
        id=batch_id,
    )


async def push(caller: Caller, db: Database) -> None:
    """Let everything that waits for a time be due now."""
    await run(db, "UPDATE items SET due_at = %(now)s WHERE phase = 'ready'", now=db.clock())
    async with db.transaction() as conn:
        await queue.wake(conn, team_id=caller.team.id, now=db.clock())

"""Frees what the database says a worker holds although the worker knows nothing of it."""

import asyncio
from uuid import UUID

import structlog

from batchyard.engine.journal import Journal
from batchyard.engine.runner import Runner
from batchyard.store import queue, workers
from batchyard.store.db import TRANSIENT, Database

LOOK_SECONDS = 3.0

log = structlog.get_logger("batchyard.strays")


class Strays:
    """One per worker.

    PostgreSQL may die between committing an admission and saying so. The items are claimed then,
    but nobody serves them, and their worker lives, so nobody would take them from it.
    """

    def __init__(self, db: Database, runner: Runner, journal: Journal, *, worker_id: int) -> None:
        self._db = db
        self._runner = runner
        self._journal = journal
        self._worker_id = worker_id
        self._seen: dict[UUID, int] = {}

    async def run(self) -> None:
        """Look from time to time, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self._look()
            except TRANSIENT as error:
                log.warning("strays.unread", error=str(error))

    async def _look(self) -> None:
        """Free what was seen astray twice; an admission may just be on its way to the runner."""
        async with self._db.pool.connection() as conn:
            held = await workers.list_held(conn, worker_id=self._worker_id)
        astray = {
            item_id: lease
            for item_id, lease in held.items()
            if not self._runner.holds(item_id, lease=lease)
            and not self._journal.has_news_of(item_id)
        }
        strays = {key: lease for key, lease in astray.items() if self._seen.get(key) == lease}
        self._seen = astray
        if not strays:
            return
        now = self._db.clock()
        async with self._db.transaction() as conn:
            freed = await workers.give_back(conn, strays, worker_id=self._worker_id, now=now)
            for team_id in sorted(freed):
                await queue.wake(conn, team_id=team_id, now=now)
        log.warning("strays.freed", items=len(strays))

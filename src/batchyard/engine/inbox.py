"""Takes callbacks of providers, in a process that need not be a worker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import structlog

from batchyard.config import Config
from batchyard.engine.failpoints import Failpoint, Step
from batchyard.engine.inquiry import request_of
from batchyard.engine.journal import Journal
from batchyard.engine.reports import Reports
from batchyard.engine.switchboard import Switchboard, SwitchboardOpener, open_exchange
from batchyard.errors import LimitReached, NotFound
from batchyard.models import Phase
from batchyard.providers.base import Callback
from batchyard.signing import read_callback
from batchyard.store import inquiries, installation
from batchyard.store.db import Database
from batchyard.store.files import FileStore

log = structlog.get_logger("batchyard.inbox")


@dataclass(frozen=True, kw_only=True, slots=True)
class Inbox:
    """Judges a callback and has it written before it is answered."""

    db: Database
    switchboard: Switchboard
    reports: Reports
    callback_key: bytes
    failpoint: Failpoint

    async def take(self, token: str, callback: Callback) -> bool:
        """Record what a callback tells; False when the item no longer needed it.

        Raises `NotFound` for a token not made here, `InvalidRequest` or `Forbidden` as the
        provider decides, `LimitReached` while the provider cannot be opened.
        """
        named = read_callback(self.callback_key, token)
        if named is None:
            raise NotFound("There is no such callback address.")
        item_id, attempt = named
        async with self.db.pool.connection() as conn:
            question = await inquiries.read(conn, item_id=item_id)
        if question is None:
            raise NotFound("There is no such callback address.")
        line = self.switchboard.connected(question.provider_id)
        if line is None:
            raise LimitReached("The provider is not available now.", retry_after_seconds=10)
        answer = await line.provider.read_callback(request_of(question), callback)
        self.failpoint.reach(Step.IN_CALLBACK)
        is_news = await self.reports.deliver(f"{item_id}.{attempt}", answer)
        if not is_news:
            log.info(
                "callback.ignored",
                item=str(item_id),
                attempt=attempt,
                is_ended=question.phase == Phase.DONE,
            )
        return is_news


@asynccontextmanager
async def open_inbox(
    config: Config, db: Database, *, connect: SwitchboardOpener = open_exchange
) -> AsyncIterator[Inbox]:
    """Lend an inbox; while it is lent, its writers run."""
    failpoint = Failpoint(config.failpoint)
    grace = timedelta(seconds=config.unknown_grace_seconds)
    journal = Journal(db, unknown_grace=grace, failpoint=failpoint, files=FileStore(config))
    reports = Reports(db, journal)
    switchboard = await connect(config, db, report=reports.put)
    async with db.transaction() as conn:
        key = await installation.ensure_callback_key(conn)
    tasks = [
        asyncio.create_task(work, name=name)
        for name, work in (
            ("journal", journal.run()),
            ("reports", reports.run()),
            ("switchboard", switchboard.watch()),
        )
    ]
    try:
        yield Inbox(
            db=db,
            switchboard=switchboard,
            reports=reports,
            callback_key=key,
            failpoint=failpoint,
        )
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await switchboard.close()

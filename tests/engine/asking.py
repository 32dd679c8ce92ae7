"""Overdue items, and somebody who asks about them, without a worker."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from psycopg.types.json import Jsonb

from batchyard import tasks
from batchyard.engine.inquiry import Inquiry
from batchyard.engine.journal import Journal
from batchyard.engine.reports import Reports
from batchyard.engine.switchboard import Connected
from batchyard.models import Finding, JsonObject, Kind, Request
from batchyard.providers.base import Provider, Surroundings
from batchyard.store import providers
from tests.engine.conftest import ScriptedProvider, Yard

SANDBOX = 1
GRACE = timedelta(hours=1)


class SlowProvider(ScriptedProvider):
    """Answers questions once it is let."""

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        self.promises(is_askable=True)
        self.may_answer = asyncio.Event()

    async def ask(self, request: Request) -> Finding:
        self.asked.append(request)
        await self.may_answer.wait()
        return self.answers_when_asked(request)


class Lines:
    """A switchboard with the providers it is given."""

    def __init__(self, by_id: Mapping[int, Provider]) -> None:
        self.by_id = dict(by_id)

    def connected(self, provider_id: int) -> Connected | None:
        if (provider := self.by_id.get(provider_id)) is None:
            return None
        return Connected(provider_id=provider_id, provider=provider)

    async def choose(self, provider_id: int | None) -> Connected | None:
        return self.connected(provider_id or SANDBOX)

    async def watch(self) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        for provider in self.by_id.values():
            await provider.close()


@dataclass(frozen=True, kw_only=True, slots=True)
class Asking:
    """Who asks, and whom others tell."""

    inquiry: Inquiry
    reports: Reports

    async def look(self) -> int:
        """Ask about what is overdue now; return how many, once all of it is settled."""
        taken = await self.inquiry.ask_overdue()
        questions = [task for task in asyncio.all_tasks() if task.get_name() == "question"]
        await asyncio.gather(*questions)
        return taken


def make_inquiry(yard: Yard, lines: Lines) -> tuple[Inquiry, Journal]:
    journal = Journal(yard.db, unknown_grace=GRACE, worker_id=1)
    return Inquiry(yard.db, journal, lines, unknown_grace=GRACE), journal


@asynccontextmanager
async def asking(
    yard: Yard, lines: Lines, *, only_when_told: bool = False
) -> AsyncIterator[Asking]:
    """Ask about what is overdue, tick after tick or at each `look` only."""
    inquiry, journal = make_inquiry(yard, lines)
    reports = Reports(yard.db, journal)

    async def ask() -> None:
        while not only_when_told:
            if not await inquiry.ask_overdue():
                await asyncio.sleep(0.02)

    running = [asyncio.create_task(work) for work in (journal.run(), reports.run())]
    asker = asyncio.create_task(ask())
    try:
        yield Asking(inquiry=inquiry, reports=reports)
    finally:
        await tasks.end(asker)
        await inquiry.break_off()
        await journal.idle()
        await tasks.end(*running)


async def add_provider(yard: Yard, name: str) -> int:
    async with yard.db.transaction() as conn:
        provider_id = await providers.insert(
            conn,
            name=name,
            kind="http",
            settings={},
            secret=None,
            allow_private=False,
            now=yard.db.clock(),
        )
    assert provider_id is not None
    return provider_id


async def make_overdue(
    yard: Yard,
    *,
    items: int = 1,
    provider_id: int = SANDBOX,
    status: str = "sending",
    result: JsonObject | None = None,
) -> UUID:
    """Make items whose answer is missing, and about which to ask now."""
    batch_id = await yard.make_batch(items=items, kind=Kind.CALL, state="running")
    async with yard.db.transaction() as conn:
        await conn.execute(
            "UPDATE items SET status = %(status)s,"
            " phase = CASE %(status)s::text WHEN 'sending' THEN 'calling' ELSE 'live' END,"
            " provider_id = %(provider_id)s, intent_at = %(now)s, sends = 1,"
            " updated_at = %(now)s, deadline_at = %(now)s WHERE batch_id = %(batch_id)s",
            {
                "status": status,
                "provider_id": provider_id,
                "batch_id": batch_id,
                "now": yard.db.clock(),
            },
        )
        if result is not None:
            await conn.execute(
                "UPDATE item_data SET result = %s WHERE item_id IN"
                " (SELECT id FROM items WHERE batch_id = %s)",
                (Jsonb(dict(result)), batch_id),
            )
    return batch_id

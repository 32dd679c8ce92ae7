"""What a worker holds when a pause or a stop comes is not sent any more."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from batchyard import tasks
from batchyard.clock import monotonic
from batchyard.engine import halts
from batchyard.engine.admission import Admitter
from batchyard.engine.failpoints import Failpoint
from batchyard.engine.journal import Journal
from batchyard.engine.runner import Runner
from batchyard.models import Kind, Policy
from batchyard.operations import control, providers
from batchyard.store import providers as rows
from tests.engine.conftest import OneLine, Yard
from tests.engine.test_control import find_team

UNSENT = "SELECT bool_and(phase = 'ready' AND status = 'waiting') FROM items"
POLICIES = pytest.mark.parametrize("policy", [Policy.NEITHER, Policy.REPEATABLE])


class Desk:
    """A worker's hands: what it admits it holds, and writes nothing until it is let."""

    def __init__(self, yard: Yard) -> None:
        self.yard = yard
        self.journal = Journal(yard.db, unknown_grace=timedelta(hours=1), worker_id=1)
        self.runner = Runner(yard.db, self.journal, slots=10, failpoint=Failpoint(None))
        self.admitter = Admitter(yard.config, OneLine(yard.provider), worker_id=1)

    async def take(self, *, items: int, known_ago: float = 0) -> None:
        """Take items, of which it is known since then that they may be sent."""
        team, db = await find_team(self.yard), self.yard.db
        async with db.transaction() as conn:
            admission = await self.admitter.admit(
                conn, team, slots=lambda: items, singles_only=False, now=db.clock()
            )
        assert admission.count == items
        for assignment, claimed in admission.started:
            known_at = monotonic() - known_ago
            self.runner.start(replace(assignment, known_at=known_at), claimed)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Let intents and outcomes be written until nothing is held."""
        task = asyncio.create_task(self.journal.run())
        try:
            yield
            await self.runner.finished()
            await self.journal.idle()
        finally:
            await tasks.end(task)


async def test_provider_that_is_paused_gets_nothing_that_was_admitted_before(yard: Yard) -> None:
    desk = Desk(yard)
    await yard.make_batch(items=5)
    await desk.take(items=5)
    await providers.pause_provider(yard.db, name="sandbox", reason="a person")
    await desk.runner.halts.look()
    async with desk.writing():
        pass
    assert yard.provider.sent == []
    assert await yard.value(UNSENT)


async def test_provider_that_asks_for_time_gets_nothing_that_was_admitted_before(
    yard: Yard,
) -> None:
    """It asked another worker."""
    desk = Desk(yard)
    await yard.make_batch(items=5)
    await desk.take(items=5)
    async with yard.db.transaction() as conn:
        until = yard.db.clock() + timedelta(hours=1)
        await rows.slow_down(conn, provider_id=1, until=until)
    await desk.runner.halts.look()
    async with desk.writing():
        pass
    assert yard.provider.sent == []
    assert await yard.value(UNSENT)


@POLICIES
async def test_what_was_seen_long_ago_is_looked_at_again(yard: Yard, policy: Policy) -> None:
    yard.provider.promises(policy=policy)
    desk = Desk(yard)
    batch_id = await yard.make_batch(items=5)
    long_ago = halts.KNOWN_SECONDS + 0.01
    await desk.take(items=5, known_ago=long_ago)
    await providers.pause_provider(yard.db, name="sandbox", reason="a person")
    async with desk.writing():
        pass
    assert yard.provider.sent == []
    assert await yard.value(UNSENT)
    await providers.resume_provider(yard.db, name="sandbox")
    another = Desk(yard)
    await another.take(items=5, known_ago=long_ago)
    async with another.writing():
        pass
    assert await yard.counts(batch_id) == {"booked": 5}


async def test_admission_that_knows_the_end_of_a_pause_is_believed(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(halts, "KNOWN_SECONDS", 60)
    desk = Desk(yard)
    batch_id = await yard.make_batch(items=5)
    await desk.take(items=2)
    await providers.pause_provider(yard.db, name="sandbox", reason="a person")
    await desk.runner.halts.look()
    await providers.resume_provider(yard.db, name="sandbox")
    await desk.take(items=3)
    async with desk.writing():
        pass
    assert await yard.counts(batch_id) == {"booked": 3, "waiting": 2}


async def test_calls_not_yet_handed_over_when_their_batch_stops_end_stopped(yard: Yard) -> None:
    """The worker has not looked since, yet intends nothing."""
    desk = Desk(yard)
    batch_id = await yard.make_batch(items=5, kind=Kind.CALL)
    await desk.take(items=3)
    team = await find_team(yard)
    await control.stop_batch(yard.db, team=team, kind=Kind.CALL, batch_id=batch_id)
    assert await yard.counts(batch_id) == {"stopped": 2, "waiting": 3}
    async with desk.writing():
        pass
    await control.end_stopped_items(yard.db)
    assert yard.provider.sent == []
    assert await yard.counts(batch_id) == {"stopped": 5}


async def test_items_of_a_batch_that_was_paused_meanwhile_go_on_later(yard: Yard) -> None:
    desk = Desk(yard)
    batch_id = await yard.make_batch(items=5)
    await desk.take(items=5)
    team = await find_team(yard)
    await control.pause_batch(yard.db, team=team, kind=Kind.SHIPMENT, batch_id=batch_id)
    async with desk.writing():
        pass
    assert yard.provider.sent == []
    assert await yard.value(UNSENT)
    assert await yard.value("SELECT max(sends) FROM items") == 0
    await control.resume_batch(yard.db, team=team, kind=Kind.SHIPMENT, batch_id=batch_id)
    async with desk.writing():
        await desk.take(items=5)
    assert await yard.counts(batch_id) == {"booked": 5}

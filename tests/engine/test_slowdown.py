"""A provider that asks for time gets it from every worker, for every team."""

import asyncio

from batchyard.models import Answer, Ended, Refused, Request
from batchyard.store import queue
from tests.engine.conftest import Yard, make_team

ITEMS = 3000

HELD = "SELECT count(*) = 2 FROM batches WHERE wait_reason = 'retry_after'"
NOTHING_OUT = "SELECT count(*) = 0 FROM items WHERE phase NOT IN ('ready', 'done')"


async def test_retry_after_told_to_one_worker_holds_both_for_both_teams(yard: Yard) -> None:
    async def book(_: Request) -> Answer:
        await asyncio.sleep(0.01)
        return Ended(status="booked")

    async def refuse(_: Request) -> Answer:
        return Refused(code="http_429", message="Slow down", retry_after_seconds=600)

    # Two workers, each with its own line to the same provider: only one of them is refused.
    other = Yard(yard.db, await make_team(yard.db))
    for one in (yard, other):
        one.config = one.config.model_copy(update={"worker_slots": 5})
        await one.make_batch(items=ITEMS)
    yard.provider.script, other.provider.script = refuse, book
    async with other.working():
        await yard.until("SELECT count(DISTINCT batch_id) = 2 FROM items WHERE phase = 'done'")
        async with yard.working():
            await yard.until(HELD)
            await yard.until(NOTHING_OUT)
            refused, booked = len(yard.provider.sent), len(other.provider.sent)
            assert refused >= 1
            assert booked < 2 * ITEMS
            async with yard.db.transaction() as conn:
                for team_id in sorted((yard.team_id, other.team_id)):
                    await queue.wake(conn, team_id=team_id, now=yard.db.clock())
            await yard.until("SELECT min(wake_at) > %s FROM wakes", [yard.db.clock()])
            assert len(yard.provider.sent) == refused
            assert len(other.provider.sent) == booked
    held_for = await yard.value("SELECT min(wait_until) > %s FROM batches", [yard.db.clock()])
    assert held_for is True

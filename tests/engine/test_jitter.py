"""Items that ended at the same moment are tried again spread out, where their batch asks for it."""

import asyncio
from datetime import UTC, datetime

from batchyard import retry
from batchyard.models import Accepted, Answer, Ended, Kind, Request, RetryPolicy, key_of
from tests.clocks import StandingClock
from tests.engine.conftest import Yard

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


async def test_items_that_ended_together_are_due_apart(yard: Yard) -> None:
    async def busy(request: Request) -> Answer:
        if int(str(request.payload["n"])) % 2:
            return Ended(status="busy")
        loop = asyncio.get_running_loop()
        loop.call_soon(yard.provider.report, request.key, Ended(status="busy"))
        return Accepted()

    yard.db.clock = StandingClock(NOON)
    yard.provider.script = busy
    policy = RetryPolicy(statuses=("busy",), max_retries=1, intervals_minutes=(60,), jitter=0.5)
    await yard.make_batch(items=20, kind=Kind.CALL, retry_policy=policy)
    async with yard.working():
        await yard.until("SELECT count(*) = 20 FROM items WHERE status = 'retrying'")
    async with yard.db.pool.connection() as conn:
        rows = await (await conn.execute("SELECT id, due_at FROM items")).fetchall()
    planned = {
        item: retry.plan(
            policy,
            status="busy",
            answered_by_voicemail=False,
            attempt=1,
            key=key_of(item, 1),  # type: ignore[arg-type]  # a uuid
            now=NOON,
        )
        for item, _ in rows
    }
    assert dict(rows) == planned  # type: ignore[arg-type]  # pairs
    assert len(set(planned.values())) == 20

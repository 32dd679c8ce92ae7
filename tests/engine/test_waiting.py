"""Each cause of waiting is made, and read back."""

import asyncio
from datetime import timedelta
from uuid import UUID

from batchyard.engine.admission import BATCHES_PER_ADMISSION, Admitter
from batchyard.models import Answer, Ended, Kind, Refused, Request, RetryPolicy
from batchyard.operations import control, waiting
from batchyard.operations.waiting import BELIEVED_FOR, NOTED_AGAIN_AFTER, REASONS, Waiting
from batchyard.store import limits, providers, workers
from tests.engine.calls import set_clock
from tests.engine.conftest import OneLine, Yard
from tests.engine.test_control import find_team
from tests.engine.test_windows import NOON


async def hold(_: Request) -> Answer:
    await asyncio.sleep(30)
    return Ended(status="booked")


class Asking:
    """A batch of ten, and why it waits."""

    def __init__(self, yard: Yard) -> None:
        self.yard = yard

    async def why(self, batch_id: object) -> Waiting | None:
        team = await find_team(self.yard)
        found = await waiting.explain_batch(self.yard.db, team=team, batch_id=batch_id)  # type: ignore[arg-type]
        assert found is None or found.reason in REASONS
        return found

    async def until(self, batch_id: object, reason: str) -> Waiting:
        async with asyncio.timeout(20):
            while True:
                found = await self.why(batch_id)
                if found is not None and found.reason == reason:
                    return found
                await asyncio.sleep(0.02)


async def test_open_scheduled_and_workerless_batches_say_so(yard: Yard) -> None:
    asking = Asking(yard)
    batch_id = await yard.make_batch(items=10, state="open")
    assert await asking.why(batch_id) == Waiting(reason="not_dispatched")
    at = yard.db.clock() + timedelta(hours=1)
    async with yard.db.transaction() as conn:
        await conn.execute("UPDATE batches SET state = 'scheduled', scheduled_at = %s", (at,))
    assert await asking.why(batch_id) == Waiting(reason="scheduled", until=at)
    async with yard.db.transaction() as conn:
        await conn.execute("UPDATE batches SET state = 'queued'")
    assert await asking.why(batch_id) == Waiting(reason="no_worker")


async def test_team_cap_is_named(yard: Yard) -> None:
    yard.provider.script = hold
    yard.config = yard.config.model_copy(update={"team_concurrency": 3, "stop_seconds": 0})
    batch_id = await yard.make_batch(items=10)
    async with yard.working():
        found = await Asking(yard).until(batch_id, "team_cap")
    assert found.until is None


async def test_batch_cap_is_named_and_lifted_while_it_runs(yard: Yard) -> None:
    yard.provider.script = hold
    yard.config = yard.config.model_copy(update={"stop_seconds": 0})
    batch_id = await yard.make_batch(items=10)
    key = limits.batch_key(batch_id)
    async with yard.db.transaction() as conn:
        await limits.set_cap(conn, key=key, concurrency=4)
    async with yard.working():
        await Asking(yard).until(batch_id, "batch_cap")
        await yard.until("SELECT count(*) = 4 FROM items WHERE phase = 'calling'")
        async with yard.db.transaction() as conn:
            await limits.set_cap(conn, key=key, concurrency=6)
        await yard.until("SELECT count(*) = 6 FROM items WHERE phase = 'calling'")


async def test_rate_is_named_with_its_time(yard: Yard) -> None:
    batch_id = await yard.make_batch(items=10)
    key = limits.provider_key(1)
    async with yard.db.transaction() as conn:
        await limits.set_cap(conn, key=key, concurrency=None)
        now = yard.db.clock()
        await limits.set_rate(conn, key=key, seconds=3600, count=1, burst=1, now=now)
    async with yard.working():
        found = await Asking(yard).until(batch_id, "provider_rate")
    assert found.until is not None
    assert found.until > yard.db.clock() + timedelta(minutes=50)
    assert len(yard.provider.sent) == 1


async def test_retry_after_is_named(yard: Yard) -> None:
    async def refuse(_: Request) -> Answer:
        return Refused(code="429", message="Slow down", retry_after_seconds=600)

    yard.provider.script = refuse
    yard.config = yard.config.model_copy(update={"worker_slots": 2})
    batch_id = await yard.make_batch(items=10)
    async with yard.working():
        found = await Asking(yard).until(batch_id, "retry_after")
    assert found.until is not None


async def test_paused_provider_is_named_and_sends_nothing(yard: Yard) -> None:
    async with yard.db.transaction() as conn:
        await providers.set_paused(conn, name="sandbox", reason="a person", now=yard.db.clock())
    batch_id = await yard.make_batch(items=10)
    async with yard.working():
        await Asking(yard).until(batch_id, "provider_paused")
    assert yard.provider.sent == []


async def test_planned_retry_is_named(yard: Yard) -> None:
    async def busy(_: Request) -> Answer:
        return Ended(status="busy")

    yard.provider.script = busy
    policy = RetryPolicy(statuses=("busy",), max_retries=1, intervals_minutes=(30,))
    batch_id = await yard.make_batch(items=3, kind=Kind.CALL, retry_policy=policy)
    async with yard.working():
        found = await Asking(yard).until(batch_id, "retry")
    assert found.until is not None


async def test_brake_pauses_a_failing_batch_until_it_is_resumed(yard: Yard) -> None:
    async def fail(_: Request) -> Answer:
        await asyncio.sleep(0.02)
        return Ended(status="failed", error_code="no_such_street", error_message="?")

    yard.provider.script = fail
    yard.config = yard.config.model_copy(update={"worker_slots": 5})
    batch_id = await yard.make_batch(items=5000)
    async with yard.working():
        assert await Asking(yard).until(batch_id, "brake") == Waiting(reason="brake")
        # What is out ends meanwhile.
        assert await yard.value("SELECT count(*) >= 20 FROM items WHERE status = 'failed'")
        assert await yard.value("SELECT count(*) > 0 FROM items WHERE status = 'waiting'")
        assert await yard.value("SELECT count(*) FROM events WHERE type = 'batch.braked'") == 1
        team = await find_team(yard)
        await control.resume_batch(yard.db, team=team, kind=Kind.SHIPMENT, batch_id=batch_id)
        before = len(yard.provider.sent)
        await yard.until("SELECT count(*) > %s FROM items WHERE phase = 'done'", [before + 5])
        await control.stop_batch(yard.db, team=team, kind=Kind.SHIPMENT, batch_id=batch_id)


async def test_longer_retry_after_is_told_and_a_moment_more_is_not_written(yard: Yard) -> None:
    await yard.make_batch(items=3)
    admitter = Admitter(yard.config, OneLine(yard.provider), worker_id=1)
    team, now = await find_team(yard), yard.db.clock()
    for seconds, told in ((60.0, 60), (60.5, 60), (120.0, 120)):
        async with yard.db.transaction() as conn:
            until = now + timedelta(seconds=seconds)
            await providers.slow_down(conn, provider_id=1, until=until)
            await admitter.admit(conn, team, slots=lambda: 5, singles_only=False, now=now)
        kept = await yard.value("SELECT wait_until FROM batches WHERE wait_reason = 'retry_after'")
        assert kept == now + timedelta(seconds=told)


async def test_time_that_has_passed_is_not_told(yard: Yard) -> None:
    batch_id = await yard.make_batch(items=3)
    now = yard.db.clock()
    async with yard.db.transaction() as conn:
        await workers.register(conn, host="here", pid=1, now=now)
        await conn.execute(
            "UPDATE batches SET wait_reason = 'batch_rate', wait_until = %s, wait_noted_at = %s",
            (now - timedelta(seconds=1), now),
        )
    assert await Asking(yard).why(batch_id) == Waiting(reason="batch_rate")


class Queue:
    """More batches than one admission looks at, the last of the lowest priority; a worker lives."""

    def __init__(self, yard: Yard) -> None:
        self.yard = yard
        self.clock = set_clock(yard, NOON)
        self.admitter = Admitter(yard.config, OneLine(yard.provider), worker_id=1)

    async def fill(self) -> list[UUID]:
        batches = [await self.yard.make_batch(items=5) for _ in range(BATCHES_PER_ADMISSION + 2)]
        async with self.yard.db.transaction() as conn:
            await conn.execute("UPDATE batches SET priority = 9 WHERE id <> %s", (batches[-1],))
        return batches

    async def admit(self, *, after: timedelta = timedelta(0)) -> int:
        """Admit up to three items so much later; return how many were let in."""
        self.clock.set(self.clock() + after)
        team, now = await find_team(self.yard), self.clock()
        async with self.yard.db.transaction() as conn:
            await workers.register(conn, host="here", pid=1, now=now)
            admission = await self.admitter.admit(
                conn, team, slots=lambda: 3, singles_only=False, now=now
            )
        return admission.count

    async def set_cap(self, cap: int) -> None:
        async with self.yard.db.transaction() as conn:
            await limits.set_cap(conn, key=limits.team_key(self.yard.team_id), concurrency=cap)


async def test_batches_that_admission_never_comes_to_say_so(yard: Yard) -> None:
    queue = Queue(yard)
    first, *others = await queue.fill()
    assert await queue.admit() == 3
    asking = Asking(yard)
    assert await asking.why(first) is None
    for batch_id in others:
        assert await asking.why(batch_id) == Waiting(reason="earlier_batch")


async def test_reason_that_no_admission_finds_any_more_is_not_told(yard: Yard) -> None:
    queue, asking = Queue(yard), Asking(yard)
    last = (await queue.fill())[-1]
    await queue.set_cap(3)
    assert (await queue.admit(), await queue.admit()) == (3, 0)
    assert await asking.why(last) == Waiting(reason="team_cap")

    await queue.set_cap(9)
    assert await queue.admit(after=BELIEVED_FOR) == 3
    assert await yard.value("SELECT wait_reason FROM batches WHERE id = %s", [last]) == "team_cap"
    assert await asking.why(last) == Waiting(reason="earlier_batch")


async def test_reason_that_holds_on_is_told_as_long(yard: Yard) -> None:
    queue, asking = Queue(yard), Asking(yard)
    last = (await queue.fill())[-1]
    await queue.set_cap(3)
    assert (await queue.admit(), await queue.admit()) == (3, 0)
    for _ in range(2 * (BELIEVED_FOR // NOTED_AGAIN_AFTER)):
        assert await queue.admit(after=NOTED_AGAIN_AFTER) == 0
        assert await asking.why(last) == Waiting(reason="team_cap")


async def test_item_due_later_says_what_holds_it_then(yard: Yard) -> None:
    clock = set_clock(yard, NOON)
    batch_id = await yard.make_batch(items=3, kind=Kind.CALL)
    team, now, tomorrow = await find_team(yard), clock(), NOON + timedelta(days=1)
    async with yard.db.transaction() as conn:
        await workers.register(conn, host="here", pid=1, now=now)
        found = await conn.execute(
            "UPDATE items SET status = 'rescheduled', due_at = %s"
            " WHERE id = (SELECT id FROM items ORDER BY id LIMIT 1) RETURNING id",
            (tomorrow,),
        )
        row = await found.fetchone()
    assert row is not None
    item_id = UUID(str(row[0]))
    for seconds, told in (
        (1, Waiting(reason="window", until=tomorrow)),
        (48 * 3600, Waiting(reason="provider_rate", until=now + timedelta(days=2))),
    ):
        async with yard.db.transaction() as conn:
            await conn.execute(
                "UPDATE batches SET wait_reason = 'provider_rate', wait_until = %s,"
                " wait_noted_at = %s",
                (now + timedelta(seconds=seconds), now),
            )
        whole = await Asking(yard).why(batch_id)
        assert whole is not None
        assert whole.reason == "provider_rate"
        assert await waiting.explain_item(yard.db, team=team, item_id=item_id) == told
    await control.pause_batch(yard.db, team=team, kind=Kind.CALL, batch_id=batch_id)
    found_last = await waiting.explain_item(yard.db, team=team, item_id=item_id)
    assert found_last == Waiting(reason="paused")

"""A worker in the test's process, over a provider whose answers the test writes."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from psycopg.types.json import Jsonb

from batchyard.config import Config
from batchyard.engine import inquiry, repeats
from batchyard.engine.switchboard import Connected, Switchboard
from batchyard.engine.worker import run_worker
from batchyard.models import Answer, Ended, Finding, Kind, NotReceived, Policy, Request, RetryPolicy
from batchyard.providers.base import (
    Keep,
    Promise,
    Provider,
    Report,
    Surroundings,
    keep_nothing,
)
from batchyard.retry import to_json
from batchyard.store import queue
from batchyard.store.db import Database
from batchyard.store.ids import new_id
from batchyard.store.item_intake import NewItem, copy_items
from tests.clocks import StandingClock
from tests.engine.moves import read_moves, record_moves, unknown_moves

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


class ScriptedProvider(Provider):
    """Answers as its script says, and counts what would have happened outside."""

    kinds = frozenset(Kind)

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        self.policy_promise = Promise(policy=Policy.NEITHER)
        self.script: Callable[[Request], Awaitable[Answer]] = _booked
        self.answers_when_asked: Callable[[Request], Finding] = lambda _: NotReceived()
        self.sent: list[Request] = []
        self.asked: list[Request] = []
        self.busy = 0
        self.most_busy = 0

    @property
    def promise(self) -> Promise:
        return self.policy_promise

    @property
    def effects(self) -> Counter[str]:
        """How often each key was sent."""
        return Counter(request.key for request in self.sent)

    def promises(self, **changes: object) -> None:
        self.policy_promise = replace(self.policy_promise, **changes)  # type: ignore[arg-type]

    async def send(self, request: Request) -> Answer:
        self.sent.append(request)
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        try:
            return await self.script(request)
        finally:
            self.busy -= 1

    async def ask(self, request: Request) -> Finding:
        self.asked.append(request)
        return self.answers_when_asked(request)


async def _booked(request: Request) -> Answer:
    return Ended(status="booked" if request.kind is Kind.SHIPMENT else "completed")


class OneLine:
    """A switchboard with one provider."""

    def __init__(self, provider: Provider) -> None:
        self._line = Connected(
            provider_id=1,
            provider=provider,
            concurrency=provider.concurrency,
            rate=provider.rate,
        )

    async def choose(self, provider_id: int | None) -> Connected:
        del provider_id
        return self._line

    def connected(self, provider_id: int) -> Connected | None:
        return self._line if provider_id == 1 else None

    async def watch(self) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        await self._line.provider.close()


class Yard:
    """A team, its batches, and workers on them."""

    def __init__(self, db: Database, team_id: int) -> None:
        self.db = db
        self.team_id = team_id
        self.config = Config(stop_seconds=2)
        self.provider = ScriptedProvider(
            Surroundings(name="scripted", clock=db.clock, report=lambda _key, _answer: None)
        )
        self.report: Report = lambda _key, _answer: None

    async def connect(
        self, config: Config, db: Database, *, report: Report, keep: Keep = keep_nothing
    ) -> Switchboard:
        del config, db
        self.provider.report = self.report = report
        self.provider.keep = keep
        return OneLine(self.provider)

    async def make_batch(
        self,
        *,
        items: int,
        kind: Kind = Kind.SHIPMENT,
        retry_policy: RetryPolicy | None = None,
        state: str = "queued",
        is_single: bool = False,
    ) -> UUID:
        """Make a batch of `items` and dispatch it."""
        batch_id = new_id()
        now = self.db.clock()
        agent_id = await self._agent() if kind is Kind.CALL else None
        async with self.db.transaction() as conn:
            await conn.execute(
                "INSERT INTO batches (id, team_id, kind, state, agent_id, retry_policy,"
                " created_at, updated_at, total_rows, is_single)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                (
                    batch_id,
                    self.team_id,
                    kind,
                    state,
                    agent_id,
                    Jsonb(to_json(retry_policy or RetryPolicy())),
                    now,
                    now,
                    items,
                    is_single,
                ),
            )
            await copy_items(
                conn,
                batch_id=batch_id,
                team_id=self.team_id,
                rows=[NewItem(id=new_id(), position=i, payload={"n": i}) for i in range(items)],
                now=now,
            )
            await queue.wake(conn, team_id=self.team_id, now=now)
        return batch_id

    async def _agent(self) -> UUID:
        agent_id, now = uuid4(), self.db.clock()
        async with self.db.transaction() as conn:
            await conn.execute(
                "INSERT INTO agents (id, team_id, name, created_at, updated_at)"
                " VALUES (%s, %s, 'agent', %s, %s)",
                (agent_id, self.team_id, now, now),
            )
        return agent_id

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Run a worker."""
        stop = asyncio.Event()
        worker = asyncio.create_task(
            run_worker(self.config, self.db, stop=stop, connect=self.connect)
        )
        try:
            yield
        finally:
            stop.set()
            await worker

    async def until(self, query: str, args: Sequence[object] = (), *, seconds: float = 60) -> None:
        """Wait until a query's first value is true."""
        async with asyncio.timeout(seconds):
            while not await self.value(query, args):  # noqa: ASYNC110  # rows send no signal
                await asyncio.sleep(0.02)

    async def value(self, query: str, args: Sequence[object] = ()) -> object:
        """Return the first value of a query."""
        async with self.db.pool.connection() as conn:
            row = await (await conn.execute(query.encode(), args)).fetchone()
        return row[0] if row else None

    async def until_ended(self, batch_id: UUID, *, seconds: float = 60) -> str:
        """Wait until a batch ended; return its state."""
        await self.until(
            "SELECT finished_at IS NOT NULL FROM batches WHERE id = %s", [batch_id], seconds=seconds
        )
        return str(await self.value("SELECT state FROM batches WHERE id = %s", [batch_id]))

    async def counts(self, batch_id: UUID) -> dict[str, int]:
        """Return the counts by status, after checking that they balance."""
        async with self.db.pool.connection() as conn:
            kept = await (
                await conn.execute(
                    "SELECT phase, status, n FROM batch_counts WHERE batch_id = %s AND n <> 0",
                    (batch_id,),
                )
            ).fetchall()
            real = await (
                await conn.execute(
                    "SELECT phase, status, count(*) FROM items WHERE batch_id = %s"
                    " GROUP BY phase, status",
                    (batch_id,),
                )
            ).fetchall()
        assert sorted(map(str, kept)) == sorted(map(str, real))
        by_status: Counter[str] = Counter()
        for _, status, n in real:
            by_status[str(status)] += int(str(n))
        return dict(by_status)


async def make_team(db: Database) -> int:
    """Make a team of any name; return its id."""
    team = uuid4()
    async with db.transaction() as conn:
        row = await (
            await conn.execute(
                "INSERT INTO teams (uuid, slug, name, created_at)"
                " VALUES (%s, %s, 'Yard', %s) RETURNING id",
                (team, f"yard-{team.hex}", db.clock()),
            )
        ).fetchone()
    assert row is not None
    return int(str(row[0]))


@pytest.fixture
async def yard(db: Database) -> Yard:
    """Lend a team with a scripted provider."""
    return Yard(db, await make_team(db))


@pytest.fixture
def clock(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> StandingClock:
    """Let time stand still at noon, so that nothing is late because the machine was busy."""
    for module in (inquiry, repeats):
        monkeypatch.setattr(module, "monotonic", lambda: 0.0)
    clock = yard.db.clock = StandingClock(NOON)
    return clock


@pytest.fixture
async def known_moves(yard: Yard) -> AsyncIterator[None]:
    """Let items of the test go only the ways that the lifecycle's table has."""
    await record_moves(yard.db)
    yield
    assert unknown_moves(await read_moves(yard.db)) == set()

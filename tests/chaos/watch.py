"""Watches a run from outside: do the books balance, and how soon is work taken up again."""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

import psycopg

from batchyard.engine.inquiry import HOLD
from tests.chaos.plan import Blow
from tests.chaos.processes import Program

LOOK_SECONDS = 0.1
BALANCE_SECONDS = 0.5
LANDING_SECONDS = 3.0
"""Longer than a statement takes that was on its way; no worker is taken for dead so soon."""

# One snapshot: what the triggers counted against what is there, and against what was put in.
BALANCE = """
WITH kept AS (
    SELECT batch_id, phase, status, n FROM batch_counts WHERE n <> 0
), real AS (
    SELECT batch_id, phase, status, count(*)::int AS n FROM items GROUP BY 1, 2, 3
)
SELECT (SELECT count(*) FROM (TABLE kept EXCEPT TABLE real) AS a)
     + (SELECT count(*) FROM (TABLE real EXCEPT TABLE kept) AS b)
     + (SELECT count(*) FROM batches b
         WHERE b.total_rows <> (SELECT coalesce(sum(n), 0) FROM kept k WHERE k.batch_id = b.id))
"""

ENDED = "SELECT coalesce(sum(n), 0)::int FROM batch_counts WHERE phase = 'done'"

LIFE = "SELECT max(id) FROM workers WHERE pid = %s"
HELD = """
SELECT id, phase = 'calling' FROM items
 WHERE worker_id = %s AND phase IN ('claimed', 'calling')
"""
STILL_HELD = """
SELECT EXISTS (SELECT FROM items WHERE worker_id = %s AND phase IN ('claimed', 'calling'))
"""

# Nothing but asking sets a deadline so far ahead, so these are questions the leader had taken.
ASKED = """
SELECT id, lease FROM items
 WHERE worker_id IS NULL AND phase IN ('calling', 'live')
   AND deadline_at > clock_timestamp() + %s
"""
STILL_ASKED = """
SELECT EXISTS (
    SELECT FROM unnest(%s::uuid[], %s::bigint[]) AS a (id, lease) JOIN items i USING (id, lease)
     WHERE i.phase IN ('calling', 'live'))
"""


class Eye:
    """A connection that comes back by itself; None is the answer while PostgreSQL is away."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: psycopg.AsyncConnection[tuple[object, ...]] | None = None

    async def read(
        self, query: str, args: Sequence[object] = ()
    ) -> list[tuple[object, ...]] | None:
        """Ask PostgreSQL."""
        try:
            if self._connection is None or self._connection.closed:
                self._connection = await psycopg.AsyncConnection.connect(
                    self._url, autocommit=True, connect_timeout=2
                )
            return await (await self._connection.execute(query.encode(), args)).fetchall()
        except psycopg.OperationalError:
            await self.close()
            return None

    async def insist(self, query: str, args: Sequence[object] = ()) -> list[tuple[object, ...]]:
        """Ask PostgreSQL until it answers."""
        while True:
            rows = await self.read(query, args)
            if rows is not None:
                return rows
            await asyncio.sleep(LOOK_SECONDS)

    async def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Eye]:
    """Lend an eye."""
    eye = Eye(url)
    try:
        yield eye
    finally:
        await eye.close()


@dataclass(kw_only=True, slots=True)
class Interruption:
    """A blow that fell, and what came of it."""

    blow: Blow
    name: str
    at: float
    held: int = 0
    seconds: float | None = None
    """Until work was taken up again, less what the plan itself kept PostgreSQL down."""


@dataclass(kw_only=True)
class Watch:
    """Everything seen during a run."""

    url: str
    interruptions: list[Interruption] = field(default_factory=list)
    held_by_dead: set[UUID] = field(default_factory=set)
    """Items that a killed or frozen worker may have sent without writing the outcome."""
    balance_checks: int = 0
    balance_faults: int = 0
    _downs: list[tuple[float, float]] = field(default_factory=list)
    _down_since: float | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def check_balance(self) -> None:
        """Compare the counts with the rows, again and again, until cancelled."""
        async with opened(self.url) as eye:
            while True:
                rows = await eye.read(BALANCE)
                if rows is not None:
                    self.balance_checks += 1
                    self.balance_faults += rows[0][0] != 0
                await asyncio.sleep(BALANCE_SECONDS)

    def database_down(self) -> None:
        """Note that the plan stopped PostgreSQL."""
        self._down_since = self._down_since or time.monotonic()

    def database_up(self) -> None:
        """Note that PostgreSQL takes connections again."""
        if self._down_since is not None:
            self._downs.append((self._down_since, time.monotonic()))
            self._down_since = None

    def worker_died(self, blow: Blow, one: Program, *, pid: int, is_leader: bool) -> None:
        """Measure until nothing is held by a dead worker and an outcome was written again."""
        self._begin(blow, one.name, self._until_freed(pid, is_leader=is_leader))

    def frozen(self, blow: Blow, one: Program, *, is_leader: bool) -> None:
        """Measure the same for a worker that is not dead, only silent."""
        self._begin(blow, one.name, self._until_freed(one.pid, is_leader=is_leader))

    def database_died(self, blow: Blow) -> None:
        """Measure until an outcome was written again."""
        self._begin(blow, "postgres", self._until_outcome())

    def server_died(self, blow: Blow, answers: "asyncio.Future[None]") -> None:
        """Measure until the server answers again."""

        async def until() -> int:
            await answers
            return 0

        self._begin(blow, "serve", until())

    async def settle(self, *, seconds: float) -> None:
        """Wait until every interruption is over, at most so long."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        for task in self._tasks:
            task.cancel()

    def _begin(self, blow: Blow, name: str, until: "asyncio.Future[int] | object") -> None:
        interruption = Interruption(blow=blow, name=name, at=time.monotonic())
        self.interruptions.append(interruption)
        self._beside(self._measure(interruption, until))

    def _beside(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _measure(self, interruption: Interruption, until: object) -> None:
        interruption.held = await until  # type: ignore[misc]
        now = time.monotonic()
        down = sum(
            max(0.0, min(up, now) - max(since, interruption.at)) for since, up in self._downs
        )
        interruption.seconds = now - interruption.at - down

    async def _until_freed(self, pid: int, *, is_leader: bool) -> int:
        async with opened(self.url) as eye:
            ended = (await eye.insist(ENDED))[0][0]
            worker_id = (await eye.insist(LIFE, (pid,)))[0][0]
            held = await self._note_held(eye, worker_id)
            self._beside(self._note_what_lands(worker_id))
            asked = await eye.insist(ASKED, (HOLD / 4,)) if is_leader else []
            while (await eye.insist(STILL_HELD, (worker_id,)))[0][0]:
                await asyncio.sleep(LOOK_SECONDS)
            questions = ([row[0] for row in asked], [row[1] for row in asked])
            while (await eye.insist(STILL_ASKED, questions))[0][0]:
                await asyncio.sleep(LOOK_SECONDS)
            await self._wait_for_more(eye, ended)
            return len(held) + len(asked)

    async def _note_held(self, eye: Eye, worker_id: object) -> list[tuple[object, ...]]:
        held = await eye.insist(HELD, (worker_id,))
        self.held_by_dead |= {row[0] for row in held if isinstance(row[0], UUID) and row[1]}
        return held

    async def _note_what_lands(self, worker_id: object) -> None:
        """Note also what a worker had sent to PostgreSQL, which commits it after the blow."""
        async with opened(self.url) as eye:
            until = time.monotonic() + LANDING_SECONDS
            while time.monotonic() < until:
                await self._note_held(eye, worker_id)
                await asyncio.sleep(LOOK_SECONDS)

    async def _until_outcome(self) -> int:
        async with opened(self.url) as eye:
            await self._wait_for_more(eye, (await eye.insist(ENDED))[0][0])
            return 0

    async def _wait_for_more(self, eye: Eye, ended: object) -> None:
        """Wait for another ended item, or until nothing is left that could end."""
        while True:
            rows = await eye.insist(
                ENDED + " UNION ALL SELECT coalesce(sum(n), 0)::int"
                " FROM batch_counts WHERE phase NOT IN ('done', 'unknown')"
            )
            if rows[0][0] != ended or rows[1][0] == 0:
                return
            await asyncio.sleep(LOOK_SECONDS)

"""No cap or rate is exceeded and no slot leaks, whatever two workers do; counted from outside."""

import asyncio
import random
from collections.abc import Awaitable
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from batchyard import lifecycle
from batchyard.engine.admission import Admitter
from batchyard.engine.outcome import Sent, hand_back, news_of
from batchyard.models import Ended, Kind, Policy, Rate, RetryPolicy, key_of
from batchyard.operations import limits
from batchyard.store import items, teams, workers
from batchyard.store.db import Database
from batchyard.store.items import ClaimedItem, Settlement
from tests.engine.conftest import OneLine, Yard, make_team
from tests.engine.test_control import find_team

T = TypeVar("T")

SECONDS = 10
COUNT = 2


class Limits(RuleBasedStateMachine):
    """Two workers admit, end, hand back and die over two batches under caps and a rate."""

    url: str

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.db = Database(self.url)
        self.run(self.db.open())
        self.yard = Yard(self.db, self.run(make_team(self.db)))
        self.team = self.run(find_team(self.yard))
        self.batches = [self.run(self.yard.make_batch(items=40)) for _ in range(2)]
        self.admitters = [self.run(self._new_worker()) for _ in range(2)]
        self.held: list[list[ClaimedItem]] = [[], []]
        self.now = self.db.clock() + timedelta(seconds=1)
        self.caps = {"team": 7, "batch": 4}
        self.rated: list[datetime] = []
        for scope, cap in (
            (f"team:{self.team.slug}", self.caps["team"]),
            (f"batch:{self.batches[0]}", self.caps["batch"]),
        ):
            self.run(limits.set_limit(self.db, scope=scope, concurrency=cap, rates=[]))
        rates = [Rate(count=COUNT, seconds=SECONDS)]
        scope = f"batch:{self.batches[1]}"
        self.run(limits.set_limit(self.db, scope=scope, concurrency=None, rates=rates))

    def run(self, work: Awaitable[T]) -> T:
        async def do() -> T:
            return await work

        return self.runner.run(do())

    def teardown(self) -> None:
        """Nothing leaked: once all is settled, a whole cap is free again."""
        for which in range(2):
            self.give_back(which)
        assert self.run(self._in_flight()) == (0, 0)
        self.run(self.db.close())
        self.runner.close()

    async def _new_worker(self) -> tuple[int, Admitter]:
        async with self.db.transaction() as conn:
            worker_id = await workers.register(conn, host="here", pid=1, now=self.db.clock())
        switchboard = OneLine(self.yard.provider)
        return worker_id, Admitter(self.yard.config, switchboard, worker_id=worker_id)

    @rule(which=st.integers(0, 1), slots=st.integers(1, 20))
    def admit(self, which: int, slots: int) -> None:
        async def do() -> list[tuple[UUID, ClaimedItem]]:
            async with self.db.transaction() as conn:
                team = await teams.find_by_id(conn, team_id=self.team.id)
                assert team is not None
                admission = await self.admitters[which][1].admit(
                    conn, team, slots=slots, singles_only=False, now=self.now
                )
            return [(a.batch_id, item) for a, claimed in admission.started for item in claimed]

        started = self.run(do())
        assert len(started) <= slots
        self.held[which] += [item for _, item in started]
        self.rated += [self.now for batch_id, _ in started if batch_id == self.batches[1]]

    @rule(which=st.integers(0, 1), chance=st.randoms(use_true_random=False))
    def end_some(self, which: int, chance: random.Random) -> None:
        ended = [item for item in self.held[which] if chance.random() < 0.5]
        self.held[which] = [item for item in self.held[which] if item not in ended]
        news = []
        for item in ended:
            answer = Ended(status="booked")
            change = lifecycle.change_for_answer(
                answer,
                kind=Kind.SHIPMENT,
                attempt=item.attempt,
                key=key_of(item.id, item.attempt),
                retry_policy=RetryPolicy(),
                provider_policy=Policy.NEITHER,
                undecided_until=self.now,
                now=self.now,
            )
            key = Sent(
                id=item.id,
                attempt=item.attempt,
                key=key_of(item.id, item.attempt),
                provider="p",
                sent_at=self.now,
            )
            news.append(news_of(key, answer, change, lease=None, now=self.now).settlement)
        self._settle([*news], intents=[(which, item) for item in ended])

    @rule(which=st.integers(0, 1))
    def give_back(self, which: int) -> None:
        mine, self.held[which] = self.held[which], []
        news = [
            hand_back(
                item_id=i.id, attempt=i.attempt, lease=i.lease, status=i.status, due_at=self.now
            ).settlement
            for i in mine
        ]
        self._settle(news, intents=[])

    @rule(which=st.integers(0, 1))
    def worker_dies(self, which: int) -> None:
        dead = self.admitters[which][0]

        async def do() -> None:
            async with self.db.transaction() as conn:
                await workers.end(conn, worker_id=dead, now=self.now)
                await workers.take_back(conn, now=self.now)

        self.run(do())
        self.held[which] = []
        self.admitters[which] = self.run(self._new_worker())

    @rule(seconds=st.floats(0.5, 4))
    def time_passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(cap=st.integers(1, 9))
    def change_cap(self, cap: int) -> None:
        """Lowering cancels nothing; the new cap holds for what comes after."""
        scope = f"team:{self.team.slug}"
        self.run(limits.set_limit(self.db, scope=scope, concurrency=cap, rates=[]))
        in_flight, _ = self.run(self._in_flight())
        self.caps["team"] = max(cap, in_flight)

    @invariant()
    def caps_hold(self) -> None:
        in_flight, in_first = self.run(self._in_flight())
        assert in_flight <= self.caps["team"]
        assert in_first <= self.caps["batch"]
        assert in_flight == sum(len(held) for held in self.held)

    @invariant()
    def rate_holds_over_every_stretch(self) -> None:
        stretch = timedelta(seconds=SECONDS)
        for first in self.rated:
            assert sum(first <= later < first + stretch for later in self.rated) <= COUNT

    async def _in_flight(self) -> tuple[int, int]:
        query = (
            "SELECT count(*), count(*) FILTER (WHERE batch_id = %s) FROM items"
            " WHERE team_id = %s AND phase IN ('claimed', 'calling', 'live')"
        )
        async with self.db.pool.connection() as conn:
            cursor = await conn.execute(query.encode(), (self.batches[0], self.team.id))
            row = await cursor.fetchone()
        assert row is not None
        return int(str(row[0])), int(str(row[1]))

    def _settle(self, news: list[Settlement], *, intents: list[tuple[int, ClaimedItem]]) -> None:
        async def do() -> None:
            async with self.db.transaction() as conn:
                for which, item in intents:
                    intent = items.Intent(id=item.id, lease=item.lease, deadline=timedelta(0))
                    worker_id = self.admitters[which][0]
                    await items.intend(conn, [intent], worker_id=worker_id, now=self.now)
                await items.settle(conn, news, now=self.now)

        if news:
            self.run(do())


def test_limits_hold_whatever_workers_do(database_url: str) -> None:
    class Here(Limits):
        url = database_url

    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=15,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )

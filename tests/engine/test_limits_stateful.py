"""No cap or rate is exceeded and no slot leaks, whatever two workers do; counted from outside."""

import asyncio
import random
from collections.abc import Awaitable
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from batchyard import lifecycle
from batchyard.engine.admission import Admitter
from batchyard.engine.outcome import Sent, hand_back, news_of
from batchyard.models import Ended, Kind, Policy, RetryPolicy, key_of
from batchyard.store import items, limits, teams, workers
from batchyard.store.db import Database
from batchyard.store.items import ClaimedItem, Settlement
from tests.engine.conftest import OneLine, Yard, make_team

T = TypeVar("T")

SECONDS = 10
COUNT = 2
PROVIDER_ID = 1
CAPS = {"team": 7, "agent": 6, "batch": 4, "provider": 8}
"""What may be in flight: of the first team, of the agent of both its batches, of its first batch,
and of everybody at the provider."""


class Limits(RuleBasedStateMachine):
    """Two workers admit, end, hand back and die over batches of two teams, under caps and rates."""

    url: str

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.db = Database(self.url)
        self.run(self.db.open())
        self.yards = [Yard(self.db, self.run(make_team(self.db))) for _ in range(2)]
        self.batches = [
            self.run(self.yards[owner].make_batch(items=40, kind=Kind.CALL)) for owner in (0, 0, 1)
        ]
        self.admitters = [self.run(self._new_worker()) for _ in range(2)]
        self.held: list[list[ClaimedItem]] = [[], []]
        self.now = self.db.clock() + timedelta(seconds=1)
        self.keys = self.run(self._share_agent())
        self.caps = dict(CAPS)
        self.before = dict.fromkeys(CAPS, 0)
        self.rated: dict[str, list[datetime]] = {}
        for scope, cap in CAPS.items():
            self.run(self._set_cap(scope, cap))
        self.run(self._clear_rates("provider"))

    @initialize(scope=st.sampled_from(["slow batch", "agent", "provider"]))
    def set_rates(self, scope: str) -> None:
        """Give the second batch a rate, and maybe what it goes through."""
        for rated in sorted({"slow batch", scope}):
            self.run(self._set_rate(rated))
            self.rated[rated] = []

    def run(self, work: Awaitable[T]) -> T:
        async def do() -> T:
            return await work

        return self.runner.run(do())

    def teardown(self) -> None:
        """Nothing leaked: once all is settled, a whole cap is free again."""
        for which in range(2):
            self.give_back(which)
        assert self.run(self._in_flight()) == dict.fromkeys(CAPS, 0)
        self.run(self.db.close())
        self.runner.close()

    async def _share_agent(self) -> dict[str, str]:
        """Give both batches of the first team one agent; return the keys of the limits."""
        first, second, _ = self.batches
        async with self.db.transaction() as conn:
            found = await conn.execute(
                "UPDATE batches SET agent_id = (SELECT agent_id FROM batches WHERE id = %s)"
                " WHERE id = %s RETURNING agent_id",
                (first, second),
            )
            row = await found.fetchone()
        assert row is not None
        return {
            "team": limits.team_key(self.yards[0].team_id),
            "agent": limits.agent_key(UUID(str(row[0]))),
            "batch": limits.batch_key(first),
            "slow batch": limits.batch_key(second),
            "provider": limits.provider_key(PROVIDER_ID),
        }

    async def _set_cap(self, scope: str, cap: int) -> None:
        async with self.db.transaction() as conn:
            await limits.set_cap(conn, key=self.keys[scope], concurrency=cap)

    async def _clear_rates(self, scope: str) -> None:
        """Forget what the example before has set for everybody."""
        async with self.db.transaction() as conn:
            await limits.clear_rates(conn, key=self.keys[scope], kept=[])

    async def _set_rate(self, scope: str) -> None:
        key = self.keys[scope]
        async with self.db.transaction() as conn:
            if scope not in self.caps:
                await limits.set_cap(conn, key=key, concurrency=None)
            await limits.set_rate(
                conn, key=key, seconds=SECONDS, count=COUNT, burst=1, now=self.now
            )

    def _scopes_of(self, batch_id: UUID) -> set[str]:
        first, second, _ = self.batches
        own = {first: {"team", "agent", "batch"}, second: {"team", "agent", "slow batch"}}
        return {"provider", *own.get(batch_id, ())}

    async def _new_worker(self) -> tuple[int, Admitter]:
        async with self.db.transaction() as conn:
            worker_id = await workers.register(conn, host="here", pid=1, now=self.db.clock())
        switchboard = OneLine(self.yards[0].provider)
        return worker_id, Admitter(self.yards[0].config, switchboard, worker_id=worker_id)

    @rule(which=st.integers(0, 1), owner=st.sampled_from([0, 0, 1]), slots=st.integers(1, 20))
    def admit(self, which: int, owner: int, slots: int) -> None:
        async def do() -> list[tuple[UUID, ClaimedItem]]:
            async with self.db.transaction() as conn:
                team = await teams.find_by_id(conn, team_id=self.yards[owner].team_id)
                assert team is not None
                admission = await self.admitters[which][1].admit(
                    conn, team, slots=lambda: slots, singles_only=False, now=self.now
                )
            return [(a.batch_id, item) for a, claimed in admission.started for item in claimed]

        started = self.run(do())
        assert len(started) <= slots
        self.held[which] += [item for _, item in started]
        for scope, times in self.rated.items():
            times += [self.now for batch_id, _ in started if scope in self._scopes_of(batch_id)]

    @rule(which=st.integers(0, 1), chance=st.randoms(use_true_random=False))
    def end_some(self, which: int, chance: random.Random) -> None:
        ended = [item for item in self.held[which] if chance.random() < 0.5]
        self.held[which] = [item for item in self.held[which] if item not in ended]
        news = []
        for item in ended:
            answer = Ended(status="completed")
            change = lifecycle.change_for_answer(
                answer,
                kind=Kind.CALL,
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

    @rule(scope=st.sampled_from(list(CAPS)), cap=st.integers(1, 9))
    def change_cap(self, scope: str, cap: int) -> None:
        """Lowering cancels nothing; the new cap holds for what comes after."""
        self.run(self._set_cap(scope, cap))
        self.caps[scope] = cap

    @invariant()
    def caps_hold(self) -> None:
        in_flight = self.run(self._in_flight())
        for scope, n in in_flight.items():
            assert n <= max(self.caps[scope], self.before[scope]), scope
        assert in_flight["provider"] == sum(len(held) for held in self.held)
        self.before = in_flight

    @invariant()
    def rate_holds_over_every_stretch(self) -> None:
        stretch = timedelta(seconds=SECONDS)
        for scope, times in self.rated.items():
            for first in times:
                assert sum(first <= later < first + stretch for later in times) <= COUNT, scope

    async def _in_flight(self) -> dict[str, int]:
        query = (
            "SELECT batch_id, count(*) FROM items"
            " WHERE batch_id = ANY (%s) AND phase IN ('claimed', 'calling', 'live')"
            " GROUP BY batch_id"
        )
        found = dict.fromkeys(CAPS, 0)
        async with self.db.pool.connection() as conn:
            rows = await (await conn.execute(query.encode(), (self.batches,))).fetchall()
        for batch_id, n in rows:
            for scope in self._scopes_of(UUID(str(batch_id))) & found.keys():
                found[scope] += int(str(n))
        return found

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
            suppress_health_check=list(HealthCheck),
        ),
    )

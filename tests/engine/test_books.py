"""The books always balance: any interleaving of claims, answers, callbacks and crashes."""

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
from batchyard.asking import Asking
from batchyard.engine.outcome import Sent, hand_back, news_of
from batchyard.models import (
    Accepted,
    Answer,
    Ended,
    Finding,
    Kind,
    Lost,
    NotReceived,
    Phase,
    Policy,
    Progress,
    Refused,
    RetryPolicy,
    key_of,
)
from batchyard.store import inquiries, items, runs, workers
from batchyard.store.db import Database
from batchyard.store.items import ClaimedItem, Intent, Settlement
from tests.engine.conftest import Yard, make_team
from tests.engine.moves import Moves, read_moves, record_moves, unknown_moves

T = TypeVar("T")

ITEMS = 12
RETRIES = RetryPolicy(statuses=("busy",), max_retries=1, intervals_minutes=(0.0,))
PROVIDER_POLICIES = st.sampled_from(list(Policy))
ANSWERS: st.SearchStrategy[Answer] = st.sampled_from(
    [
        Accepted(reference="r"),
        Progress(status="ringing"),
        Progress(status="in-progress"),
        Ended(status="completed", result={"duration_seconds": 3}),
        Ended(status="busy"),
        Ended(status="failed", error_code="x", error_message="y"),
        Refused(code="429", message="later", retry_after_seconds=0),
        Lost(code="reset", message="gone"),
    ]
)
FINDINGS: st.SearchStrategy[Finding | Refused] = st.sampled_from(
    [
        Accepted(status="initiated"),
        Ended(status="completed"),
        Ended(status="busy"),
        NotReceived(),
        Lost(code="500", message="?"),
        Refused(code="429", message="later"),
    ]
)


WAYS_OUT = {
    (Phase.READY, Phase.CLAIMED),
    (Phase.CLAIMED, Phase.CALLING),
    (Phase.CALLING, Phase.DONE),
}
"""What every item does that ends: if these were not seen, nothing was."""


class Books(RuleBasedStateMachine):
    """Two workers and a provider that do anything in any order over one batch."""

    url: str

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.db = Database(self.url)
        self.run(self.db.open())
        self.run(record_moves(self.db))
        self.yard = Yard(self.db, self.run(make_team(self.db)))
        self.batch_id: UUID = self.run(
            self.yard.make_batch(items=ITEMS, kind=Kind.CALL, state="running")
        )
        self.workers = [self.run(self._register()) for _ in range(2)]
        self.held: dict[int, list[ClaimedItem]] = {worker: [] for worker in self.workers}
        self.sent: list[tuple[ClaimedItem, datetime]] = []
        self.finished = 0

    def run(self, work: Awaitable[T]) -> T:
        async def do() -> T:
            return await work

        return self.runner.run(do())

    def teardown(self) -> None:
        self.run(self.db.close())
        self.runner.close()

    @property
    def now(self) -> datetime:
        return self.db.clock()

    async def _register(self) -> int:
        async with self.db.transaction() as conn:
            return await workers.register(conn, host="here", pid=1, now=self.db.clock())

    @rule(which=st.integers(0, 1), limit=st.integers(1, ITEMS), with_intent=st.booleans())
    def claim(self, which: int, limit: int, with_intent: bool) -> None:
        async def do() -> list[ClaimedItem]:
            async with self.db.transaction() as conn:
                return await items.claim(
                    conn,
                    batch_id=self.batch_id,
                    worker_id=self.workers[which],
                    provider_id=1,
                    from_numbers=[],
                    limit=limit,
                    intent_deadline=timedelta(0) if with_intent else None,
                    now=self.now,
                )

        claimed = self.run(do())
        if with_intent:
            self.sent += [(item, self.now) for item in claimed]
        else:
            self.held[self.workers[which]] += claimed

    @rule(which=st.integers(0, 1), chance=st.randoms(use_true_random=False))
    def intend(self, which: int, chance: random.Random) -> None:
        worker = self.workers[which]
        mine = self.held[worker]
        chosen = [item for item in mine if chance.random() < 0.7]
        self.held[worker] = [item for item in mine if item not in chosen]
        intents = [Intent(id=i.id, lease=i.lease, deadline=timedelta(0)) for i in chosen]

        async def do() -> set[UUID]:
            async with self.db.transaction() as conn:
                return await items.intend(conn, intents, worker_id=worker, now=self.now)

        intended = self.run(do())
        self.sent += [(item, self.now) for item in chosen if item.id in intended]

    @rule(which=st.integers(0, 1))
    def give_back(self, which: int) -> None:
        mine, self.held[self.workers[which]] = self.held[self.workers[which]], []
        self._settle(
            [
                hand_back(
                    item_id=i.id, attempt=i.attempt, lease=i.lease, status=i.status, due_at=self.now
                ).settlement
                for i in mine
            ]
        )

    @rule(data=st.data(), policy=PROVIDER_POLICIES)
    def answer(self, data: st.DataObject, policy: Policy) -> None:
        """Answer something that was sent at any time: also late, doubled, out of order."""
        if not self.sent:
            return
        chosen = data.draw(
            st.lists(st.sampled_from(self.sent), max_size=4, unique_by=lambda s: s[0].id)
        )
        news = []
        for item, sent_at in chosen:
            given = data.draw(ANSWERS)
            change = lifecycle.change_for_answer(
                given,
                kind=Kind.CALL,
                attempt=item.attempt,
                key=key_of(item.id, item.attempt),
                retry_policy=RETRIES,
                provider_policy=policy,
                undecided_until=self.now,
                now=self.now,
            )
            proves_little = isinstance(given, Refused | Lost)
            key = Sent(
                id=item.id,
                attempt=item.attempt,
                key=key_of(item.id, item.attempt),
                provider="p",
                sent_at=sent_at,
            )
            lease = item.lease if proves_little else None
            news.append(news_of(key, given, change, lease=lease, now=self.now).settlement)
        self._settle(news)

    @rule(which=st.integers(0, 1))
    def worker_dies(self, which: int) -> None:
        """Lose the memory of a worker; housekeeping frees what it held."""
        dead = self.workers[which]

        async def do() -> None:
            async with self.db.transaction() as conn:
                await workers.end(conn, worker_id=dead, now=self.now)
                await workers.take_back(conn, now=self.now)

        self.run(do())
        self.workers[which] = self.run(self._register())
        self.held[self.workers[which]] = []

    @rule(finding=FINDINGS, can_be_asked_again=st.booleans())
    def ask(self, finding: Finding | Refused, can_be_asked_again: bool) -> None:
        async def do() -> list[inquiries.OpenQuestion]:
            async with self.db.transaction() as conn:
                return await inquiries.take(
                    conn,
                    limit=5,
                    hold=timedelta(0),
                    now=self.now + timedelta(hours=2),
                    of_batch=self.batch_id,
                )

        news = []
        for question in self.run(do()):
            change = lifecycle.change_for_finding(
                finding,
                kind=Kind.CALL,
                phase=Phase(question.phase),
                status=question.status,
                attempt=question.attempt,
                key=key_of(question.id, question.attempt),
                retry_policy=RETRIES,
                undecided_since=question.undecided_since,
                can_be_asked_again=can_be_asked_again,
                asking=Asking(intent_at=question.intent_at, arrives_until=self.now),
                now=self.now,
            )
            key = Sent(
                id=question.id,
                attempt=question.attempt,
                key=key_of(question.id, question.attempt),
                provider="p",
                sent_at=question.intent_at,
            )
            lease = None if isinstance(finding, Ended) else question.lease
            news.append(news_of(key, finding, change, lease=lease, now=self.now).settlement)
        self._settle(news)

    @rule()
    def finish(self) -> None:
        async def do() -> int:
            async with self.db.transaction() as conn:
                ended = await runs.finish(
                    conn,
                    batch_ids=[self.batch_id],
                    unknown_before=self.now - timedelta(hours=1),
                    now=self.now,
                )
                return len(ended)

        self.finished += self.run(do())
        assert self.finished <= 1

    @invariant()
    def total_is_the_sum_of_counts(self) -> None:
        counts = self.run(self.yard.counts(self.batch_id))
        assert sum(counts.values()) == ITEMS

    @invariant()
    def phases_follow_the_lifecycle(self) -> None:
        wrong = "SELECT count(*) FROM items WHERE phase = 'claimed' AND worker_id IS NULL"
        assert self.run(self.yard.value(wrong)) == 0
        assert unknown_moves(self.run(read_moves(self.db))) == set()

    def _settle(self, news: list[Settlement]) -> None:
        async def do() -> None:
            async with self.db.transaction() as conn:
                await items.settle(conn, news, now=self.now)

        if news:
            self.run(do())


def test_books_balance_after_any_interleaving(database_url: str) -> None:
    class Here(Books):
        url = database_url

    # What is drawn need not go every way in one round.
    for _ in range(4):
        run_state_machine_as_test(
            Here,
            settings=settings(
                max_examples=25,
                stateful_step_count=30,
                suppress_health_check=list(HealthCheck),
            ),
        )
        if asyncio.run(seen(database_url)) >= WAYS_OUT:
            break
    assert asyncio.run(seen(database_url)) >= WAYS_OUT


async def seen(url: str) -> Moves:
    """Return the moves of all interleavings together."""
    db = Database(url)
    await db.open()
    try:
        return await read_moves(db)
    finally:
        await db.close()

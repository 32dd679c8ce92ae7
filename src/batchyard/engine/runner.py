"""Sends what was admitted: intent, provider, outcome. Requests in flight belong to the worker."""

import asyncio
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from batchyard import lifecycle, tasks, tracing
from batchyard.clock import monotonic
from batchyard.contact_rules import Block
from batchyard.engine.assignment import Assignment, intent_of
from batchyard.engine.contact import ask_once, send_once
from batchyard.engine.failpoints import Failpoint, Step
from batchyard.engine.halts import Halts, Watch
from batchyard.engine.journal import Journal
from batchyard.engine.lanes import Lanes
from batchyard.engine.news import News, Stop
from batchyard.engine.outcome import Sent, cancel, hand_back, news_of, slow_of
from batchyard.engine.patience import Patience
from batchyard.engine.switchboard import Connected
from batchyard.metrics import provider_answers, provider_seconds
from batchyard.models import (
    Answer,
    Lost,
    NotReceived,
    Policy,
    Refused,
    Request,
    Team,
    key_of,
)
from batchyard.operations.senders import with_sender
from batchyard.store import number_claims
from batchyard.store.db import Database
from batchyard.store.items import ClaimedItem
from batchyard.store.number_claims import NumberHeld

EXPRESS_SHARE = 20
"""One slot in so many is kept for single calls and bookings."""

NEVER_PROVEN = "never_proven"
"""Of a key that may have been used before a restore, at a provider that can only prove a yes."""

SEND_WITHIN_SECONDS = lifecycle.SEND_WITHIN.total_seconds()

STOPPED_HERE = timedelta(seconds=5)
"""So long this worker leaves a stopped provider alone by itself; then the database says so."""


class Errand(NamedTuple):
    """What the items of one admission from one batch have in common here."""

    assignment: Assignment
    watch: Watch
    issued_at: float
    """`monotonic()` before their intents were written: it dates them."""
    intent_at: datetime
    undecided_until: datetime
    """When to ask about a lost answer: never while the request may arrive."""


class Runner:
    """Has at most `slots` requests out at once."""

    def __init__(self, db: Database, journal: Journal, *, slots: int, failpoint: Failpoint) -> None:
        self._failpoint = failpoint
        self._db = db
        self._journal = journal
        self._slots = slots
        self._intending = Lanes(self._intend, ended=self.look_again)
        self._sending = Lanes(self._send, ended=self.look_again)
        self._out = 0
        self._held: dict[UUID, int] = {}
        self.halts = Halts(db)
        self._slow_until: dict[int, datetime] = {}
        self._by_team: Counter[str] = Counter()
        self._weights: dict[str, int] = {}
        self._express = slots // EXPRESS_SHARE
        self._changed = asyncio.Event()
        self._patience = Patience()
        self.is_fenced = False
        """Set when this worker was given up or must end: nothing is sent any more."""

    @contextmanager
    def serving(self, team: Team) -> Iterator[None]:
        """Count a team among those that share the slots, by weight, while it has its turn."""
        self.weigh(team)
        try:
            yield
        finally:
            del self._weights[team.slug]

    def weigh(self, team: Team) -> None:
        """Let a team that is served have the share that its weight gives it now."""
        self._weights[team.slug] = team.weight

    def room(self, team: Team) -> int:
        """How many more requests of this team may go out now; a lone team may use every slot.

        A few slots stay free of batches, so that a single call need not wait for a batch's. What a
        share has beyond whole slots is had only while the other teams have their whole ones.
        """
        slots = self._slots - self._express
        free = slots - self._out
        if len(self._weights) > 1:
            per_weight = slots / sum(self._weights.values())
            share, out = per_weight * team.weight, self._by_team[team.slug]
            owed = sum(
                max(0, int(per_weight * weight) - self._by_team[slug])
                for slug, weight in self._weights.items()
                if slug != team.slug
            )
            free = min(free, max(int(share) - out, min(math.ceil(share) - out, free - owed)))
        return max(0, free)

    @property
    def is_busy(self) -> bool:
        """Whether anything is out, or its outcome not yet written."""
        return self._out > 0 or self._journal.has_news

    @property
    def express_room(self) -> int:
        """How many single calls or bookings may go out now."""
        return max(0, self._slots - self._out)

    async def changed(self, *, within_seconds: float | None = None) -> None:
        """Wait until a request ended, a turn was asked to look again, or the time is over."""
        self._changed.clear()
        async with tasks.at_most(within_seconds):
            await self._changed.wait()

    def look_again(self) -> None:
        """Wake turns that wait for a slot: something new is there."""
        self._changed.set()

    def start(self, assignment: Assignment, claimed: Sequence[ClaimedItem]) -> None:
        """Send these items, each once; returns at once."""
        self._failpoint.reach(Step.AFTER_CLAIM)
        watch = self.halts.hold(assignment.place, len(claimed))
        self._out += len(claimed)
        self._by_team[assignment.team] += len(claimed)
        self._held.update((item.id, item.lease) for item in claimed)
        intent_at = claimed[0].intent_at
        if intent_at is None:
            self._intending.put((assignment, watch, claimed))
        else:
            until = intent_at + assignment.deadline
            errand = Errand(assignment, watch, assignment.issued_at, intent_at, until)
            self._sending.put(*[(errand, item) for item in claimed])

    def holds(self, item_id: UUID, *, lease: int) -> bool:
        """Tell whether an item is being served here under this lease."""
        return self._held.get(item_id) == lease

    async def finished(self) -> None:
        """Wait until nothing is out."""
        await self._intending.finished()
        await self._sending.finished()

    async def break_off(self) -> None:
        """Wait no longer for what is out, which leaves it to be asked for."""
        await self._intending.break_off()
        await self._sending.break_off()

    def _let_go(self, assignment: Assignment, watch: Watch, item: ClaimedItem) -> None:
        """Hold an item no more: whatever became of it, the journal has it by now."""
        self._held.pop(item.id, None)
        self._out -= 1
        self._by_team[assignment.team] -= 1
        watch.held -= 1

    async def _intend(self, block: tuple[Assignment, Watch, Sequence[ClaimedItem]]) -> None:
        """Write the intents of what was claimed without; send what may be sent.

        All of an admission at once: each by itself would wait in a lane of its own.
        """
        assignment, watch, claimed = block
        try:
            await self._journal.room()
            await self.halts.renew(watch, known_at=assignment.known_at)
            intent_at, deadline = self._db.clock(), assignment.deadline
            errand = Errand(assignment, watch, monotonic(), intent_at, intent_at + deadline)
            written = await self._journal.intend(
                [
                    intent_of(assignment, item, intent_at, deadline)
                    for item in claimed
                    if self._may_send(errand, item)
                ]
            )
        except BaseException:
            for item in claimed:
                self._let_go(assignment, watch, item)
            raise
        for item in claimed:
            obstacle = written.get(item.id)
            if obstacle is None and item.id in written:
                self._sending.put((errand, item))
            else:
                self._set_aside(item, obstacle)
                self._let_go(assignment, watch, item)

    def _set_aside(self, item: ClaimedItem, obstacle: Block | NumberHeld | None) -> None:
        """Decide what becomes of an item that may not be sent."""
        match obstacle:
            case Block():
                self.cancel(item, obstacle)
            case NumberHeld():
                self._wait_for_number(item, obstacle)
            case None:
                # Not to be sent now, or its batch runs no more. Of a claim that was taken away this
                # changes nothing.
                self._hand_back(item)

    async def _send(self, work: tuple[Errand, ClaimedItem]) -> None:
        errand, item = work
        assignment, watch = errand.assignment, errand.watch
        try:
            if self._journal.is_crowded:
                await self._journal.room()
            if watch.is_old(known_at=assignment.known_at):
                await self.halts.renew(watch, known_at=assignment.known_at)
            if not self._may_send(errand, item):
                self._hand_back(item)
                return
            self._failpoint.reach(Step.AFTER_INTENT)
            key = key_of(item.id, item.attempt)
            answer = await self._reach_out(errand, item, key)
            self._failpoint.reach(Step.AFTER_SEND)
            if answer is None:
                self._hand_back(item)
            else:
                self._record(errand, item, key, answer)
        finally:
            self._let_go(assignment, watch, item)

    def cancel(self, item: ClaimedItem, block: Block) -> None:
        """End an item that was not sent, and must not be."""
        self._journal.write(
            cancel(item_id=item.id, attempt=item.attempt, lease=item.lease, block=block)
        )

    def _may_send(self, errand: Errand, item: ClaimedItem) -> bool:
        assignment = errand.assignment
        slow_until = self._slow_until.get(assignment.line.provider_id)
        return (
            not self.is_fenced
            and (slow_until is None or slow_until <= self._db.clock())
            and errand.watch.allows(known_at=assignment.known_at)
            and monotonic() - errand.issued_at <= SEND_WITHIN_SECONDS
            and (
                assignment.hours is None
                or assignment.hours.is_open(item.zone_set, self._db.clock())
            )
        )

    def _hand_back(self, item: ClaimedItem) -> None:
        """Return an item unsent and due.

        Where its window has closed the next admission puts it off: that one knows if the window is
        still the same, which here nobody holds.
        """
        self._journal.write(
            hand_back(
                item_id=item.id,
                attempt=item.attempt,
                lease=item.lease,
                status=item.status,
                due_at=self._db.clock(),
            )
        )

    def _wait_for_number(self, item: ClaimedItem, held: NumberHeld) -> None:
        due_at = lifecycle.due_after_same_number(held_since=held.since, now=self._db.clock())
        self._journal.write(
            hand_back(
                item_id=item.id,
                attempt=item.attempt,
                lease=item.lease,
                status=item.status,
                due_at=due_at,
            )
        )

    async def _reach_out(self, errand: Errand, item: ClaimedItem, key: str) -> Answer | None:
        """Send the request, or after a restore ask first; None when it was not sent at all."""
        assignment = errand.assignment
        request = Request(
            key=key,
            item_id=item.id,
            batch_id=assignment.batch_id,
            team=assignment.team,
            kind=assignment.kind,
            attempt=item.attempt,
            delivery=item.delivery,
            sent_at=errand.intent_at,
            payload=with_sender(item.payload, assignment.sender),
            number=item.number,
            from_number=item.from_number,
            reference=item.provider_reference,
            is_repeat=assignment.repeats(item.ordered_at),
        )
        if assignment.backup_at is not None and assignment.may_be_forgotten(
            item.ordered_at, now=self._db.clock()
        ):
            return Lost(
                code="key_forgotten",
                message="It may have been sent before the restore, and the provider no longer "
                "knows such old keys.",
            )
        if assignment.asks_first(item.ordered_at):
            finding = await ask_once(
                assignment.provider,
                await self._with_earlier(assignment, request),
                self._patience,
            )
            if not isinstance(finding, NotReceived):
                return finding
            if not assignment.provider.promise.proves_absence:
                return Lost(
                    code=NEVER_PROVEN,
                    message="It may have been sent before the restore; that it is not found there "
                    "proves nothing.",
                )
            if self._db.clock() < assignment.settled_at:
                return Lost(code="not_settled", message="Too early to believe 'not received'.")
            if not self._may_send(errand, item):
                return None
        provider, began = assignment.provider.name, monotonic()
        if tracing.is_on():
            answer = await _send_traced(assignment, request, self._patience)
        else:
            answer = await send_once(assignment.provider, request, self._patience)
        provider_seconds(provider).observe(monotonic() - began)
        provider_answers(provider, type(answer).__name__.lower()).inc()
        return answer

    async def _with_earlier(self, assignment: Assignment, request: Request) -> Request:
        """Say since when the key may have been used, and what belongs to other keys."""
        request = replace(request, since=assignment.backup_at)
        if not assignment.provider.promise.is_exclusive_per_number or request.number is None:
            return request
        async with self._db.pool.connection() as conn:
            taken = await number_claims.read_taken(
                conn, number=request.number, item_id=request.item_id
            )
        return replace(request, taken=taken)

    def _record(self, errand: Errand, item: ClaimedItem, key: str, answer: Answer) -> None:
        assignment, now = errand.assignment, self._db.clock()
        proves_little = isinstance(answer, (Refused, Lost))
        change = lifecycle.change_for_answer(
            answer,
            kind=assignment.kind,
            attempt=item.attempt,
            key=key,
            retry_policy=assignment.retry_policy,
            provider_policy=_policy(assignment, item, answer, now=now),
            undecided_until=max(now, errand.undecided_until),
            sends=item.delivery,
            now=now,
        )
        sent = Sent(
            id=item.id,
            attempt=item.attempt,
            key=key,
            provider=assignment.provider.name,
            sent_at=errand.intent_at,
        )
        news = news_of(sent, answer, change, lease=item.lease if proves_little else None, now=now)
        if isinstance(answer, (Refused, Lost)):
            self._heed(assignment.line, answer, news, errand.intent_at, now=now)
        self._journal.write(news)

    def _heed(
        self,
        line: Connected,
        answer: Refused | Lost,
        news: News,
        intent_at: datetime,
        *,
        now: datetime,
    ) -> None:
        """Leave a provider alone that wants it, and tell everyone with the news.

        At once here; the row that admissions of all workers obey follows with the outcome.
        """
        news.slow = slow_of(answer, provider_id=line.provider_id, now=now)
        if news.slow is not None:
            self._slow_until[line.provider_id] = news.slow[1]
        if answer.stops_provider:
            self._slow_until[line.provider_id] = now + STOPPED_HERE
            news.stop = Stop(
                provider_id=line.provider_id,
                provider=line.provider.name,
                reason=answer.message,
                sent_at=intent_at,
            )


def _policy(assignment: Assignment, item: ClaimedItem, answer: Answer, *, now: datetime) -> Policy:
    """Return what may be done about an answer that is lost."""
    if isinstance(answer, Lost) and (
        answer.code == NEVER_PROVEN or assignment.may_be_forgotten(item.ordered_at, now=now)
    ):
        return Policy.NEITHER
    return assignment.provider.promise.policy


async def _send_traced(assignment: Assignment, request: Request, patience: Patience) -> Answer:
    with tracing.provider_call(
        assignment.provider.name,
        traceparent=assignment.traceparent,
        batch_id=request.batch_id,
        item_id=request.item_id,
        attempt=request.attempt,
    ) as span:
        answer = await send_once(assignment.provider, request, patience)
        span.set_attribute("batchyard.answer", type(answer).__name__.lower())
        if isinstance(answer, Lost | Refused):
            span.set_attribute("error.type", answer.code)
    return answer

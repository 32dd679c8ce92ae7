"""Sends what was admitted: intent, provider, outcome. Requests in flight belong to the worker."""

import asyncio
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from batchyard import lifecycle, tracing
from batchyard.clock import monotonic
from batchyard.contact_rules import Block
from batchyard.engine.assignment import Assignment, intent_of
from batchyard.engine.contact import ask_once, send_once
from batchyard.engine.failpoints import Failpoint, Step
from batchyard.engine.halts import Halts
from batchyard.engine.journal import Journal, Stop
from batchyard.engine.lanes import Lanes
from batchyard.engine.outcome import Sent, cancel, hand_back, news_of, slow_of
from batchyard.engine.patience import Patience
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

STOPPED_HERE = timedelta(seconds=5)
"""So long this worker leaves a stopped provider alone by itself; then the database says so."""


class Runner:
    """Has at most `slots` requests out at once."""

    def __init__(self, db: Database, journal: Journal, *, slots: int, failpoint: Failpoint) -> None:
        self._failpoint = failpoint
        self._db = db
        self._journal = journal
        self._slots = slots
        self._lanes = Lanes(self._serve_one, ended=self.look_again)
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
        free = slots - self._lanes.count
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
        return self._lanes.count > 0 or self._journal.has_news

    @property
    def express_room(self) -> int:
        """How many single calls or bookings may go out now."""
        return max(0, self._slots - self._lanes.count)

    async def changed(self, *, within_seconds: float | None = None) -> None:
        """Wait until a request ended, a turn was asked to look again, or the time is over."""
        self._changed.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(within_seconds):
                await self._changed.wait()

    def look_again(self) -> None:
        """Wake turns that wait for a slot: something new is there."""
        self._changed.set()

    def start(self, assignment: Assignment, claimed: Sequence[ClaimedItem]) -> None:
        """Send these items, each once; returns at once."""
        self._failpoint.reach(Step.AFTER_CLAIM)
        for item in claimed:
            self.halts.add(assignment.place)
            self._by_team[assignment.team] += 1
            self._held[item.id] = item.lease
            self._lanes.put((assignment, item))

    def holds(self, item_id: UUID, *, lease: int) -> bool:
        """Tell whether an item is being served here under this lease."""
        return self._held.get(item_id) == lease

    async def finished(self) -> None:
        """Wait until nothing is out."""
        await self._lanes.finished()

    async def break_off(self) -> None:
        """Wait no longer for what is out, which leaves it to be asked for."""
        await self._lanes.break_off()

    async def _serve_one(self, work: tuple[Assignment, ClaimedItem]) -> None:
        assignment, item = work
        try:
            await self._serve(assignment, item)
        finally:
            self._held.pop(item.id, None)
            self._by_team[assignment.team] -= 1
            self.halts.remove(assignment.place)

    async def _serve(self, assignment: Assignment, item: ClaimedItem) -> None:
        await self._journal.room()
        await self.halts.renew(assignment.place, known_at=assignment.known_at)
        issued_at, intent_at = assignment.issued_at, item.intent_at
        if intent_at is None and self._may_send(assignment, item, monotonic()):
            issued_at, intent_at = monotonic(), self._db.clock()
            if not await self._intend(assignment, item, intent_at):
                return
            await self.halts.renew(assignment.place, known_at=assignment.known_at)
        if intent_at is None or not self._may_send(assignment, item, issued_at):
            self._hand_back(item)
            return
        self._failpoint.reach(Step.AFTER_INTENT)
        key = key_of(item.id, item.attempt)
        answer = await self._reach_out(assignment, item, key, intent_at, issued_at)
        self._failpoint.reach(Step.AFTER_SEND)
        if answer is None:
            self._hand_back(item)
        else:
            self._record(assignment, item, key, answer, intent_at)

    async def _intend(self, assignment: Assignment, item: ClaimedItem, now: datetime) -> bool:
        """Write the intent; where it may not be sent, decide what becomes of the item instead."""
        intended = await self._journal.intend(intent_of(assignment, item, now))
        match intended:
            case Block():
                self.cancel(item, intended)
            case NumberHeld():
                self._wait_for_number(item, intended)
            case False:
                # Its batch does not run any more; where its claim was taken away this does nothing.
                self._hand_back(item)
        return intended is True

    def cancel(self, item: ClaimedItem, block: Block) -> None:
        """End an item that was not sent, and must not be."""
        self._journal.write(
            cancel(item_id=item.id, attempt=item.attempt, lease=item.lease, block=block)
        )

    def _may_send(self, assignment: Assignment, item: ClaimedItem, issued_at: float) -> bool:
        slow_until = self._slow_until.get(assignment.line.provider_id)
        return (
            not self.is_fenced
            and (slow_until is None or slow_until <= self._db.clock())
            and self.halts.allows(assignment.place, known_at=assignment.known_at)
            and monotonic() - issued_at <= lifecycle.SEND_WITHIN.total_seconds()
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

    async def _reach_out(
        self,
        assignment: Assignment,
        item: ClaimedItem,
        key: str,
        intent_at: datetime,
        issued_at: float,
    ) -> Answer | None:
        """Send the request, or after a restore ask first; None when it was not sent at all."""
        request = Request(
            key=key,
            item_id=item.id,
            batch_id=assignment.batch_id,
            team=assignment.team,
            kind=assignment.kind,
            attempt=item.attempt,
            delivery=item.delivery,
            sent_at=intent_at,
            payload=with_sender(item.payload, assignment.sender),
            number=item.number,
            from_number=item.from_number,
            reference=item.provider_reference,
            is_repeat=assignment.repeats(item.ordered_at),
        )
        if assignment.may_be_forgotten(item.ordered_at, now=self._db.clock()):
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
            if not self._may_send(assignment, item, issued_at):
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

    def _record(
        self,
        assignment: Assignment,
        item: ClaimedItem,
        key: str,
        answer: Answer,
        intent_at: datetime,
    ) -> None:
        now = self._db.clock()
        policy = assignment.provider.promise.policy
        if isinstance(answer, Lost) and (
            answer.code == NEVER_PROVEN or assignment.may_be_forgotten(item.ordered_at, now=now)
        ):
            policy = Policy.NEITHER
        change = lifecycle.change_for_answer(
            answer,
            kind=assignment.kind,
            attempt=item.attempt,
            key=key,
            retry_policy=assignment.retry_policy,
            provider_policy=policy,
            undecided_until=max(now, intent_at + assignment.deadline),
            sends=item.delivery,
            now=now,
        )
        proves_little = isinstance(answer, Refused | Lost)
        sent = Sent(
            id=item.id,
            attempt=item.attempt,
            key=key,
            provider=assignment.provider.name,
            sent_at=intent_at,
        )
        news = news_of(sent, answer, change, lease=item.lease if proves_little else None, now=now)
        slow = slow_of(answer, provider_id=assignment.line.provider_id, now=now)
        if slow is not None:
            # At once here; the row that admissions of all workers obey follows with the outcome.
            self._slow_until[assignment.line.provider_id] = slow[1]
            news = replace(news, slow=slow)
        if isinstance(answer, Refused | Lost) and answer.stops_provider:
            line = assignment.line
            self._slow_until[line.provider_id] = now + STOPPED_HERE
            stop = Stop(
                provider_id=line.provider_id,
                provider=line.provider.name,
                reason=answer.message,
                sent_at=intent_at,
            )
            news = replace(news, stop=stop)
        self._journal.write(news)


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

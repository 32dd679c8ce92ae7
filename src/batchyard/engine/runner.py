"""Sends what was admitted: intent, provider, outcome. Requests in flight belong to the worker."""

import asyncio
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from batchyard import lifecycle
from batchyard.clock import monotonic
from batchyard.contact_rules import Block
from batchyard.engine.contact import ask_once, send_once
from batchyard.engine.failpoints import Failpoint, Step
from batchyard.engine.hours import Hours
from batchyard.engine.journal import Journal
from batchyard.engine.outcome import Sent, cancel, hand_back, news_of
from batchyard.engine.screening import contact_of
from batchyard.engine.switchboard import Connected
from batchyard.metrics import PROVIDER_ANSWERS, PROVIDER_SECONDS
from batchyard.models import (
    Answer,
    Kind,
    Lost,
    NotReceived,
    Policy,
    Refused,
    Request,
    RetryPolicy,
    Team,
)
from batchyard.providers.base import Provider
from batchyard.store import runs
from batchyard.store.db import TRANSIENT, Database
from batchyard.store.items import ClaimedItem, Intent
from batchyard.store.windows import ZoneSets

HALT_CHECK_SECONDS = 0.25
"""How old the knowledge of a batch's state may be when one of its items is sent."""

EXPRESS_SHARE = 20
"""One slot in so many is kept for single calls and bookings."""

LONGEST_SLOWDOWN = timedelta(hours=1)
"""However long a provider asks us to wait, nobody waits longer."""

log = structlog.get_logger("batchyard.runner")


@dataclass(frozen=True, kw_only=True, slots=True)
class Assignment:
    """What the items of one admission from one batch have in common."""

    batch_id: UUID
    team_id: int
    team: str
    kind: Kind
    retry_policy: RetryPolicy
    line: Connected
    restored_at: datetime | None = None
    backup_at: datetime | None = None
    """Set after a restore: ask about a key before it is sent."""
    issued_at: float
    """`monotonic()` before the claim; dates the intent where the claim carries it."""
    hours: Hours | None = None
    """The calling window; None where there is none."""
    counted_zones: ZoneSets | None = None
    """Where the team limits attempts: the zones, for the recipient's day."""

    @property
    def provider(self) -> Provider:
        """Who does the items."""
        return self.line.provider

    @property
    def is_repeatable(self) -> bool:
        """Whether claiming an item may carry its intent: nothing is lost by a key never sent."""
        return self.provider.promise.policy is Policy.REPEATABLE

    def may_be_forgotten(self, now: datetime) -> bool:
        """Tell whether, after a restore, a key may be in use that its provider would not know."""
        promise = self.provider.promise
        return (
            self.backup_at is not None
            and promise.policy is Policy.REPEATABLE
            and not promise.is_askable
            and promise.key_ttl is not None
            and now - self.backup_at + promise.timeout >= promise.key_ttl
        )

    @property
    def deadline(self) -> timedelta:
        """How long after an intent its request can no longer arrive unanswered."""
        return lifecycle.SEND_WITHIN + self.provider.promise.timeout


class Runner:
    """Has at most `slots` requests out at once."""

    def __init__(self, db: Database, journal: Journal, *, slots: int, failpoint: Failpoint) -> None:
        self._failpoint = failpoint
        self._db = db
        self._journal = journal
        self._slots = slots
        self._tasks: set[asyncio.Task[None]] = set()
        self._held: dict[UUID, int] = {}
        self._by_batch: Counter[UUID] = Counter()
        self._halted: set[UUID] = set()
        self._slow_until: dict[int, datetime] = {}
        self._by_team: Counter[str] = Counter()
        self._weights: dict[str, int] = {}
        self._express = slots // EXPRESS_SHARE
        self._changed = asyncio.Event()
        self.is_fenced = False
        """Set when this worker was given up or must end: nothing is sent any more."""

    @contextmanager
    def serving(self, team: Team) -> Iterator[None]:
        """Count a team among those that share the slots, by weight, while it has its turn."""
        self._weights[team.slug] = team.weight
        try:
            yield
        finally:
            del self._weights[team.slug]

    def room(self, team: Team) -> int:
        """How many more requests of this team may go out now; a lone team may use every slot.

        A few slots stay free of batches, so that a single call need not wait for a batch's.
        """
        free = self._slots - self._express - len(self._tasks)
        if len(self._weights) > 1:
            share = self._slots * team.weight / sum(self._weights.values())
            free = min(free, math.ceil(share) - self._by_team[team.slug])
        return max(0, free)

    @property
    def is_busy(self) -> bool:
        """Whether anything is out, or its outcome not yet written."""
        return bool(self._tasks) or self._journal.has_news

    @property
    def express_room(self) -> int:
        """How many single calls or bookings may go out now."""
        return max(0, self._slots - len(self._tasks))

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
            self._by_batch[assignment.batch_id] += 1
            self._by_team[assignment.team] += 1
            self._held[item.id] = item.lease
            task = asyncio.create_task(self._serve(assignment, item))
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def holds(self, item_id: UUID, *, lease: int) -> bool:
        """Tell whether an item is being served here under this lease."""
        return self._held.get(item_id) == lease

    async def drain(self, *, seconds: float) -> None:
        """Wait for what is out; then break off, which leaves the rest to be asked for."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        left = list(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def watch_batches(self) -> None:
        """Learn of pauses and stops; run until cancelled."""
        while True:
            await asyncio.sleep(HALT_CHECK_SECONDS)
            held = list(self._by_batch)
            if not held:
                self._halted = set()
                continue
            try:
                async with self._db.pool.connection() as conn:
                    self._halted = await runs.list_halted(conn, batch_ids=held)
            except TRANSIENT as error:
                log.warning("runner.batches_unread", error=str(error))

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._changed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("runner.item_broke", exc_info=error)

    async def _serve(self, assignment: Assignment, item: ClaimedItem) -> None:
        try:
            await self._journal.room()
            issued_at, intent_at = assignment.issued_at, item.intent_at
            if intent_at is None and self._may_send(assignment, item, monotonic()):
                issued_at, intent_at = monotonic(), self._db.clock()
                intended = await self._journal.intend(_intent(assignment, item, intent_at))
                if isinstance(intended, Block):
                    self.cancel(item, intended)
                if intended is not True:
                    return
            if intent_at is None or not self._may_send(assignment, item, issued_at):
                self._hand_back(assignment, item)
                return
            self._failpoint.reach(Step.AFTER_INTENT)
            answer = await self._reach_out(assignment, item, intent_at, issued_at)
            self._failpoint.reach(Step.AFTER_SEND)
            if answer is None:
                self._hand_back(assignment, item)
            else:
                self._record(assignment, item, answer, intent_at)
        finally:
            self._by_team[assignment.team] -= 1
            self._by_batch[assignment.batch_id] -= 1
            if self._by_batch[assignment.batch_id] <= 0:
                del self._by_batch[assignment.batch_id]

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
            and assignment.batch_id not in self._halted
            and monotonic() - issued_at <= lifecycle.SEND_WITHIN.total_seconds()
            and (
                assignment.hours is None
                or assignment.hours.is_open(item.zone_set, self._db.clock())
            )
        )

    def _hand_back(self, assignment: Assignment, item: ClaimedItem) -> None:
        """Return an item unsent, where its window has closed to when that opens again."""
        now = self._db.clock()
        status, due_at = item.status, now
        if assignment.hours is not None and not assignment.hours.is_open(item.zone_set, now):
            opens_at = assignment.hours.opening(item.zone_set, now)
            if opens_at is None:
                self.cancel(item, Block.ZONE_UNKNOWN)
                return
            status, due_at = lifecycle.RESCHEDULED_STATUS, opens_at
        self._journal.write(
            hand_back(
                item_id=item.id,
                attempt=item.attempt,
                lease=item.lease,
                status=status,
                due_at=due_at,
            )
        )

    async def _reach_out(
        self, assignment: Assignment, item: ClaimedItem, intent_at: datetime, issued_at: float
    ) -> Answer | None:
        """Send the request, or after a restore ask first; None when it was not sent at all."""
        request = Request(
            key=f"{item.id}.{item.attempt}",
            item_id=item.id,
            batch_id=assignment.batch_id,
            team=assignment.team,
            kind=assignment.kind,
            attempt=item.attempt,
            delivery=item.sends if item.intent_at is not None else item.sends + 1,
            sent_at=intent_at,
            payload=item.payload,
            number=item.number,
            from_number=item.from_number,
            reference=item.provider_reference,
        )
        if assignment.may_be_forgotten(self._db.clock()):
            return Lost(
                code="key_forgotten",
                message="It may have been sent before the restore, and the provider no longer "
                "knows such old keys.",
            )
        if assignment.restored_at is not None and assignment.provider.promise.is_askable:
            finding = await ask_once(assignment.provider, request)
            if not isinstance(finding, NotReceived):
                return finding
            settled_at = (
                assignment.restored_at
                + assignment.deadline
                + assignment.provider.promise.ask_settles_after
            )
            if assignment.provider.promise.is_one_sided or self._db.clock() < settled_at:
                return Lost(code="not_settled", message="Too early to believe 'not received'.")
            if not self._may_send(assignment, item, issued_at):
                return None
        provider = assignment.provider.name
        with PROVIDER_SECONDS.labels(provider=provider).time():
            answer = await send_once(assignment.provider, request)
        PROVIDER_ANSWERS.labels(provider=provider, answer=type(answer).__name__.lower()).inc()
        return answer

    def _record(
        self, assignment: Assignment, item: ClaimedItem, answer: Answer, intent_at: datetime
    ) -> None:
        now = self._db.clock()
        policy = assignment.provider.promise.policy
        if isinstance(answer, Lost) and assignment.may_be_forgotten(now):
            policy = Policy.NEITHER
        change = lifecycle.change_for_answer(
            answer,
            kind=assignment.kind,
            attempt=item.attempt,
            retry_policy=assignment.retry_policy,
            provider_policy=policy,
            undecided_until=max(now, intent_at + assignment.deadline),
            now=now,
        )
        proves_little = isinstance(answer, Refused | Lost)
        sent = Sent(
            id=item.id,
            attempt=item.attempt,
            provider=assignment.provider.name,
            sent_at=intent_at,
        )
        news = news_of(sent, answer, change, lease=item.lease if proves_little else None, now=now)
        if isinstance(answer, Refused) and answer.retry_after_seconds:
            until = now + min(timedelta(seconds=answer.retry_after_seconds), LONGEST_SLOWDOWN)
            # At once here; the row that admissions of all workers obey follows with the outcome.
            self._slow_until[assignment.line.provider_id] = until
            news = replace(news, slow=(assignment.line.provider_id, until))
        self._journal.write(news)


def _intent(assignment: Assignment, item: ClaimedItem, now: datetime) -> Intent:
    contact = contact_of(item, team_id=assignment.team_id, zones=assignment.counted_zones, now=now)
    return Intent(id=item.id, lease=item.lease, deadline=assignment.deadline, contact=contact)

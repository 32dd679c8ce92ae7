"""Asks what became of items whose answer is missing, or repeats their key where that is safe."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import structlog

from batchyard import lifecycle, retry, tasks
from batchyard.asking import Asking
from batchyard.clock import monotonic
from batchyard.engine.contact import ask_once, send_once
from batchyard.engine.journal import Journal
from batchyard.engine.news import News, Stop
from batchyard.engine.outcome import Sent, news_of, slow_of
from batchyard.engine.patience import Patience
from batchyard.engine.repeats import Repeat, Repeats, Ruling
from batchyard.engine.switchboard import Switchboard
from batchyard.models import (
    Ended,
    Finding,
    Kind,
    Lost,
    NotReceived,
    Phase,
    Policy,
    Refused,
    Request,
    key_of,
)
from batchyard.operations.senders import with_sender
from batchyard.providers.base import Provider
from batchyard.store import inquiries, number_claims
from batchyard.store.db import TRANSIENT, Database
from batchyard.store.inquiries import OpenQuestion

PARALLEL = 50
"""Questions that are out at once, of each provider and phase: what is due in a live call does not
wait behind lost answers."""
NOT_ASKABLE = "not_askable"
"""Of a provider that cannot be asked, about this item or at all."""
OUR_CODES = frozenset({"held", "not_settled", NOT_ASKABLE})
"""Why nobody looks or believes yet; what the other side said last tells a person more."""
HOLD = timedelta(seconds=10)
"""How long others leave a question alone. The leader knows what it asks, however long that takes,
so another asks the same only after a crash, and then it should be soon; asking twice at once harms
nothing."""

log = structlog.get_logger("batchyard.inquiry")


class Inquiry:
    """Asks about overdue items, each by itself, so that none waits for the slowest."""

    def __init__(
        self, db: Database, journal: Journal, switchboard: Switchboard, *, unknown_grace: timedelta
    ) -> None:
        self._db = db
        self._journal = journal
        self._switchboard = switchboard
        self._unknown_grace = unknown_grace
        self._repeats = Repeats(db)
        self._patience = Patience()
        self._out: dict[UUID, asyncio.Task[None]] = {}
        self._counts: Counter[tuple[int, str]] = Counter()
        self._has_room = asyncio.Event()
        self._unopened_since: dict[int, datetime] = {}
        self._refused_since: dict[int, tuple[datetime, datetime]] = {}
        """By provider: the first and the last of the looks in a row that were refused it."""

    async def ask_overdue(self) -> int:
        """Begin to ask about overdue items that there is room for; return how many."""
        taken_at = monotonic()
        self._has_room.clear()
        for provider_id in list(self._unopened_since):
            if self._switchboard.connected(provider_id) is not None:
                del self._unopened_since[provider_id]
        async with self._db.transaction() as conn:
            questions = await inquiries.take(
                conn,
                limit=PARALLEL,
                hold=HOLD,
                now=self._db.clock(),
                out=self._counts,
                but=self._out,
            )
        for question in questions:
            task = asyncio.create_task(self._settle(question, taken_at=taken_at), name="question")
            self._out[question.id] = task
            self._counts[question.provider_id, question.phase] += 1
            task.add_done_callback(partial(self._end, question))
        return len(questions)

    async def room(self, *, within_seconds: float) -> None:
        """Wait until there is room for more, or the time is over."""
        async with tasks.at_most(within_seconds):
            await self._has_room.wait()

    async def break_off(self) -> None:
        """Ask no further; what is out is asked again later, by whoever leads then."""
        await tasks.end(*self._out.values())

    def _end(self, question: OpenQuestion, task: asyncio.Task[None]) -> None:
        del self._out[question.id]
        place = question.provider_id, question.phase
        self._counts[place] -= 1
        if self._counts[place] <= PARALLEL / 2:
            self._has_room.set()
        error = None if task.cancelled() else task.exception()
        if isinstance(error, TRANSIENT):
            log.warning("inquiry.postponed", item=str(question.id), error=str(error))
        elif error is not None:
            log.error("inquiry.broke", item=str(question.id), exc_info=error)

    async def _settle(self, question: OpenQuestion, *, taken_at: float) -> None:
        if monotonic() - taken_at > HOLD.total_seconds() / 2:
            return
        line = self._switchboard.connected(question.provider_id)
        if line is not None:
            asked = await self._ask(question, line.provider)
            if asked is None:
                return
            news = asked
        elif self._is_out_of_reach(question):
            news = self._give_up(question)
        else:
            return
        # Only once it is written down may it be taken again.
        written: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._journal.write(replace(news, written=written))
        await written

    def _is_out_of_reach(self, question: OpenQuestion) -> bool:
        """Tell whether nobody could be asked for so long that a person has to decide."""
        now = self._db.clock()
        since = self._unopened_since.setdefault(question.provider_id, now)
        return now - max(since, question.updated_at) >= self._unknown_grace

    def _give_up(self, question: OpenQuestion) -> News:
        now = self._db.clock()
        lost = Lost(
            code="provider_unusable",
            message=f"The provider {question.provider} cannot be opened; `batchyard provider list` "
            "says why.",
        )
        change = lifecycle.Change(
            phase=Phase.UNKNOWN,
            status=lifecycle.UNKNOWN_STATUS,
            attempt=question.attempt,
            from_phases=(Phase(question.phase),),
        )
        return _news(question, question.provider, lost, change, now=now)

    async def _ask(self, question: OpenQuestion, provider: Provider) -> News | None:
        """Find out what became of a question; None when it is no longer open."""
        repeat = await self._repeats.decide(question, provider)
        if repeat.ruling is Ruling.DROP:
            return None
        asked_at = self._db.clock()
        finding = await self._find_out(question, provider, repeat)
        now = self._db.clock()
        change = self._change(question, provider, repeat, finding, now=now)
        if isinstance(finding, NotReceived) and change.phase is Phase.READY:
            async with self._db.transaction() as conn:
                await inquiries.note_absence(conn, question)
        news = _news(question, provider.name, finding, change, now=now)
        news = replace(news, slow=slow_of(finding, provider_id=question.provider_id, now=now))
        if isinstance(finding, Refused | Lost) and finding.stops_provider:
            stop = Stop(
                provider_id=question.provider_id,
                provider=provider.name,
                reason=finding.message,
                sent_at=asked_at,
            )
            news = replace(news, stop=stop)
        return news

    def _change(
        self,
        question: OpenQuestion,
        provider: Provider,
        repeat: Repeat,
        finding: Finding | Refused,
        *,
        now: datetime,
    ) -> lifecycle.Change:
        is_askable = provider.promise.is_askable
        if isinstance(finding, Lost) and self._is_held(question, repeat, finding, now=now):
            # Where it can be asked meanwhile, that goes on.
            return lifecycle.change_for_hold(
                phase=Phase(question.phase),
                status=question.status,
                attempt=question.attempt,
                told_at=question.updated_at,
                until=repeat.until if repeat.is_in_line or not is_askable else None,
                empty_looks=question.empty_looks,
                now=now,
            )
        silent_at = _silent_at(question, provider, finding)
        if silent_at is not None and silent_at > now:
            return lifecycle.change_for_silence(
                status=question.status, attempt=question.attempt, until=silent_at
            )
        return lifecycle.change_for_finding(
            finding,
            kind=Kind(question.kind),
            phase=Phase(question.phase),
            status=question.status,
            attempt=question.attempt,
            key=key_of(question.id, question.attempt),
            retry_policy=retry.from_json(question.retry_policy),
            undecided_since=question.undecided_since,
            can_be_asked_again=_can_be_asked_again(question, provider, repeat),
            asking=_asking(question, provider),
            sends=repeat.sends,
            now=now,
        )

    def _note_access(self, provider_id: int, finding: Finding) -> None:
        """Note since when a provider refuses its credentials; a fault on the way says nothing."""
        now = self._db.clock()
        first, last = self._refused_since.get(provider_id, (now, now))
        if not isinstance(finding, Lost):
            self._refused_since.pop(provider_id, None)
        elif finding.stops_provider:
            # What is held is asked about every minute: after a long silence it is another refusal.
            is_in_a_row = now - last < self._unknown_grace
            self._refused_since[provider_id] = first if is_in_a_row else now, now

    def _is_held(
        self, question: OpenQuestion, repeat: Repeat, lost: Lost, *, now: datetime
    ) -> bool:
        """Tell whether a look was none: the key has to wait, or nobody is let ask.

        The latter is waited out for the grace alone: an account that is gone is never mended.
        """
        if not lost.stops_provider:
            return repeat.ruling is Ruling.HOLD
        since, _ = self._refused_since.get(question.provider_id, (now, now))
        return now - max(since, question.updated_at) < self._unknown_grace

    async def _find_out(
        self, question: OpenQuestion, provider: Provider, repeat: Repeat
    ) -> Finding | Refused:
        if repeat.ruling is Ruling.SEND:
            again = replace(request_of(question), delivery=repeat.sends, is_repeat=True)
            return await send_once(provider, again, self._patience)
        if not provider.promise.is_askable:
            if repeat.ruling is Ruling.HOLD:
                return Lost(code="held", message="It must not be sent again now.")
            if repeat.ruling is Ruling.OVER:
                return Lost(
                    code="batch_over",
                    message="Its answer is lost, and its batch was stopped or deleted before it "
                    "could be sent again.",
                )
            if question.result is None:
                return Lost(code=NOT_ASKABLE, message=f"{provider.name} cannot be asked.")
        return await self._look_up(question, provider)

    async def _look_up(self, question: OpenQuestion, provider: Provider) -> Finding:
        request = request_of(question)
        if provider.promise.is_exclusive_per_number and question.number is not None:
            async with self._db.pool.connection() as conn:
                taken = await number_claims.read_taken(
                    conn, number=question.number, item_id=question.id
                )
            request = replace(request, taken=taken)
        finding = await ask_once(provider, request, self._patience)
        self._note_access(question.provider_id, finding)
        if isinstance(finding, NotReceived) and not self._is_believed(finding, question, provider):
            if provider.promise.proves_absence:
                return Lost(code="not_settled", message="Too early to believe 'not received'.")
            return Lost(code="not_found", message="It is not found there, which proves nothing.")
        return finding

    def _is_believed(
        self, finding: NotReceived, question: OpenQuestion, provider: Provider
    ) -> bool:
        """Tell whether "not received" may count; where it takes several looks, as one of them."""
        promise = provider.promise
        is_certain = finding.is_certain and _is_booked_here(question)
        if not (promise.proves_absence or is_certain):
            return False
        if promise.looks:
            return True
        return self._db.clock() >= _arrives_until(question, provider) + promise.ask_settles_after


def _news(
    question: OpenQuestion,
    provider: str,
    finding: Finding | Refused,
    change: lifecycle.Change,
    *,
    now: datetime,
) -> News:
    """Put together what was found; a true end is written whoever brings it, else by the holder."""
    sent = Sent(
        id=question.id,
        attempt=question.attempt,
        key=key_of(question.id, question.attempt),
        provider=provider,
        sent_at=question.intent_at,
    )
    is_held = not isinstance(finding, Ended)
    news = news_of(
        sent,
        finding,
        change,
        lease=question.lease if is_held else None,
        held_until=question.held_until if is_held else None,
        known=question.result or {},
        now=now,
    )
    if change.is_undecided and isinstance(finding, Lost) and finding.code in OUR_CODES:
        del news.settlement["error_code"], news.settlement["error_message"]
    return news


def _is_booked_here(question: OpenQuestion) -> bool:
    """Tell whether our books know all that was done for a key: not where a backup cut them off."""
    return question.restored_at is None or question.intent_at > question.restored_at


def _can_be_asked_again(question: OpenQuestion, provider: Provider, repeat: Repeat) -> bool:
    """Tell whether another look may decide more; one is enough where nothing is promised of a key.

    What such a provider does find is used.
    """
    promise = provider.promise
    if promise.policy is Policy.NEITHER and question.phase == Phase.CALLING:
        return False
    return promise.is_askable or repeat.ruling is not Ruling.NEVER


def _silent_at(
    question: OpenQuestion, provider: Provider, finding: Finding | Refused
) -> datetime | None:
    """Return when a live item that nobody can be asked about has been silent for too long.

    It counts from the last news. The deadline counts from the first: news does not put off a look,
    and only here it is known that there is none to be had.
    """
    is_unasked = isinstance(finding, Lost) and finding.code == NOT_ASKABLE
    if not is_unasked or provider.promise.is_askable or question.phase != Phase.LIVE:
        return None
    return question.updated_at + lifecycle.LIVE_CHECK


def _asking(question: OpenQuestion, provider: Provider) -> Asking:
    return Asking(
        intent_at=question.intent_at,
        arrives_until=_arrives_until(question, provider),
        patience=provider.promise.ask_patience,
        looks=provider.promise.looks,
        empty_looks=question.empty_looks,
    )


def _arrives_until(question: OpenQuestion, provider: Provider) -> datetime:
    sent_at = max(question.intent_at, question.repeated_at or question.intent_at)
    return sent_at + lifecycle.SEND_WITHIN + provider.promise.timeout


def request_of(question: OpenQuestion) -> Request:
    """Build the request that was sent, or would be sent again, for a question."""
    return Request(
        key=key_of(question.id, question.attempt),
        item_id=question.id,
        batch_id=question.batch_id,
        team=question.team,
        kind=Kind(question.kind),
        attempt=question.attempt,
        delivery=question.sends,
        sent_at=question.intent_at,
        payload=with_sender(question.payload, question.sender),
        number=question.number,
        from_number=question.from_number,
        reference=question.provider_reference,
        known_result=question.result,
        since=question.backup_at,
        absences=question.absences,
    )

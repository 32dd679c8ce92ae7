"""Asks what became of items whose answer is missing, or repeats their key where that is safe."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from batchyard import lifecycle, retry
from batchyard.asking import Asking
from batchyard.clock import monotonic
from batchyard.contact_rules import TeamRules
from batchyard.engine.contact import ask_once, send_once
from batchyard.engine.hours import HoursBook
from batchyard.engine.journal import Journal, Stop
from batchyard.engine.outcome import Sent, news_of
from batchyard.engine.patience import Patience
from batchyard.engine.screening import judge_numbers
from batchyard.engine.switchboard import Switchboard
from batchyard.errors import InvalidRequest
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
from batchyard.store import contacts, inquiries, number_claims, runs
from batchyard.store.db import Database
from batchyard.store.inquiries import OpenQuestion

BLOCK = 500
PARALLEL = 50
HOLD = timedelta(seconds=10)
"""How long others leave a question alone. One leader asks block after block, so another asks the
same only after a crash, and then it should be soon; asking twice at once harms nothing."""

log = structlog.get_logger("batchyard.inquiry")


class Inquiry:
    """Works through overdue items block by block."""

    def __init__(self, db: Database, journal: Journal, switchboard: Switchboard) -> None:
        self._db = db
        self._journal = journal
        self._switchboard = switchboard
        self._book = HoursBook()
        self._patience = Patience()

    async def ask_overdue(self) -> int:
        """Ask for one block of overdue items; return how many there were."""
        taken_at = monotonic()
        async with self._db.transaction() as conn:
            questions = await inquiries.take(conn, limit=BLOCK, hold=HOLD, now=self._db.clock())
        gate = asyncio.Semaphore(PARALLEL)

        async def settle(question: OpenQuestion) -> None:
            async with gate:
                await self._settle(question, taken_at=taken_at)

        async with asyncio.TaskGroup() as tasks:
            for question in questions:
                tasks.create_task(settle(question))
        return len(questions)

    async def _settle(self, question: OpenQuestion, *, taken_at: float) -> None:
        line = self._switchboard.connected(question.provider_id)
        if line is None or monotonic() - taken_at > HOLD.total_seconds() / 2:
            return
        provider = line.provider
        repeatable_at = await self._repeatable_at(question, provider)
        finding = await self._find_out(question, provider, repeatable_at=repeatable_at)
        now, key = self._db.clock(), key_of(question.id, question.attempt)
        change = lifecycle.change_for_finding(
            finding,
            kind=Kind(question.kind),
            phase=Phase(question.phase),
            status=question.status,
            attempt=question.attempt,
            key=key,
            retry_policy=retry.from_json(question.retry_policy),
            undecided_since=question.updated_at,
            can_be_asked_again=provider.promise.is_askable or repeatable_at is not None,
            asking=_asking(question, provider),
            now=now,
        )
        sent = Sent(
            id=question.id,
            attempt=question.attempt,
            key=key,
            provider=provider.name,
            sent_at=question.intent_at,
        )
        # A true end is written whoever brings it; everything else only by the holder.
        lease = None if isinstance(finding, Ended) else question.lease
        news = news_of(sent, finding, change, lease=lease, now=now)
        if isinstance(finding, Refused) and finding.stops_provider:
            stop = Stop(
                provider_id=question.provider_id,
                provider=provider.name,
                reason=finding.message,
                sent_at=now,
            )
            news = replace(news, stop=stop)
        self._journal.write(news)

    async def _find_out(
        self, question: OpenQuestion, provider: Provider, *, repeatable_at: datetime | None
    ) -> Finding | Refused:
        request = request_of(question)
        if repeatable_at is not None:
            wait_seconds = (repeatable_at - self._db.clock()).total_seconds()
            if wait_seconds <= 0:
                again = replace(request, delivery=question.sends + 1, is_repeat=True)
                return await send_once(provider, again, self._patience)
            if not provider.promise.is_askable:
                return Refused(code="window", message="Not now.", retry_after_seconds=wait_seconds)
        if not provider.promise.is_askable and question.result is None:
            return Lost(code="not_askable", message=f"{provider.name} cannot be asked.")
        if provider.promise.is_exclusive_per_number and question.number is not None:
            async with self._db.pool.connection() as conn:
                taken = await number_claims.read_taken(
                    conn, number=question.number, item_id=question.id
                )
            request = replace(request, taken=taken)
        finding = await ask_once(provider, request, self._patience)
        if isinstance(finding, NotReceived) and not self._is_believed(finding, question, provider):
            return Lost(code="not_settled", message="Too early to believe 'not received'.")
        return finding

    async def _repeatable_at(self, question: OpenQuestion, provider: Provider) -> datetime | None:
        """Return when the key may be sent again, None for never.

        What is sent again may be the first that arrives, so the rules of sending hold.
        """
        now = self._db.clock()
        if not self._is_honoured(question, provider):
            return None
        if question.kind != Kind.CALL or question.number is None:
            return now
        async with self._db.pool.connection() as conn:
            run = await runs.read(conn, batch_id=question.batch_id)
            if run is None:
                return None
            rules = TeamRules()
            if run.has_rules:
                rules = await contacts.read_rules(conn, team_id=question.team_id)
            listed = await contacts.find_listed(
                conn, team_id=question.team_id, numbers=[question.number], now=now
            )
            if listed or await judge_numbers({question.id: question.number}, rules):
                return None
            try:
                hours = await self._book.find(conn, run, rules)
            except InvalidRequest:
                return now + lifecycle.LIVE_CHECK
            return now if hours is None else hours.opening(question.zone_set, now)

    def _is_honoured(self, question: OpenQuestion, provider: Provider) -> bool:
        promise = provider.promise
        if promise.policy is not Policy.REPEATABLE or question.phase != Phase.CALLING:
            return False
        age = self._db.clock() - question.intent_at
        return promise.key_ttl is None or age + promise.timeout < promise.key_ttl

    def _is_believed(
        self, finding: NotReceived, question: OpenQuestion, provider: Provider
    ) -> bool:
        """Tell whether "not received" may count; where it takes several looks, as one of them."""
        promise = provider.promise
        if promise.is_one_sided and not (finding.is_certain and _is_booked_here(question)):
            return False
        if promise.looks:
            return True
        return self._db.clock() >= _arrives_until(question, provider) + promise.ask_settles_after


def _is_booked_here(question: OpenQuestion) -> bool:
    """Tell whether our books know all that was done for a key: not where a backup cut them off."""
    return question.restored_at is None or question.intent_at > question.restored_at


def _asking(question: OpenQuestion, provider: Provider) -> Asking:
    return Asking(
        intent_at=question.intent_at,
        arrives_until=_arrives_until(question, provider),
        patience=provider.promise.ask_patience,
        looks=provider.promise.looks,
        empty_looks=question.empty_looks,
    )


def _arrives_until(question: OpenQuestion, provider: Provider) -> datetime:
    return question.intent_at + lifecycle.SEND_WITHIN + provider.promise.timeout


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
    )

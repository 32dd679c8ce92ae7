"""Whether the key of a lost answer is sent again: by all the rules of sending."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from batchyard import lifecycle
from batchyard.clock import monotonic
from batchyard.contact_rules import TeamRules
from batchyard.engine.hours import HoursBook
from batchyard.engine.screening import judge_numbers
from batchyard.errors import InvalidRequest
from batchyard.limits import Allowance, strictest
from batchyard.models import Kind, Phase, Policy
from batchyard.providers.base import Provider
from batchyard.store import contacts, inquiries, limits, runs
from batchyard.store.db import Connection, Database
from batchyard.store.inquiries import OpenQuestion, RepeatIntent

LONGEST_LINE = timedelta(minutes=1)
"""Who would wait longer for a token than this takes none ahead, and looks again: the rate may be
another one, and what is new has to leave too."""

KEPT_FOR = timedelta(seconds=2)
"""Who comes later for its tokens, after a pause, takes others: else all would leave at once."""

FORGOTTEN_AFTER = timedelta(minutes=10)
"""Who does not come back for its tokens was answered."""

Effect = tuple[UUID, int]
"""An item and its attempt: what a key names."""


class Ruling(StrEnum):
    """What the rules say about sending a key again."""

    SEND = "send"
    """At once: the intent is written."""
    HOLD = "hold"
    """Not now, but when what holds it has passed."""
    OVER = "over"
    """Not while its batch is over, though the provider would honour it."""
    NEVER = "never"
    DROP = "drop"
    """The question is no longer open: it was answered, or somebody else took it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Repeat:
    """A ruling, with what belongs to it."""

    ruling: Ruling
    until: datetime | None = None
    """Of a hold: when it has passed, where time alone tells."""
    is_in_line: bool = False
    """Of a hold: tokens that are there by then are taken for it."""
    sends: int = 0
    """How often the item is sent, where it is sent now."""


class Repeats:
    """Decides about the keys of one process."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._book = HoursBook()
        self._one_at_a_time = asyncio.Lock()
        """Who waits for a limit that others hold must not wait with every connection there is."""
        self._reserved: dict[Effect, datetime] = {}
        """Who has taken tokens ahead, and when they are there."""

    async def decide(self, question: OpenQuestion, provider: Provider) -> Repeat:
        """Decide about the key of a taken question; where it is to be sent, the intent is written.

        What is sent again may be the first that arrives, so the rules of sending hold.
        """
        if not _is_honoured(question, provider, now=self._db.clock()):
            return Repeat(ruling=Ruling.NEVER)
        async with self._one_at_a_time:
            repeat = await self._rule(question, provider)
        self._note((question.id, question.attempt), repeat)
        return repeat

    async def _rule(self, question: OpenQuestion, provider: Provider) -> Repeat:
        opens_at = await self._opening(question)
        if opens_at is None:
            return Repeat(ruling=Ruling.NEVER)
        async with self._db.transaction() as conn:
            now, began = self._db.clock(), monotonic()
            reserved_at = self._reserved_at((question.id, question.attempt), now=now)
            if (held_until := max(opens_at, reserved_at or opens_at)) > now:
                return Repeat(ruling=Ruling.HOLD, until=held_until)
            rates = await self._lock_rates(conn, question, provider, now=now)
            _, holder = strictest(rates, at_most=1)
            has_token = reserved_at is not None or holder is None
            intent = await inquiries.intend_repeat(conn, question, has_token=has_token, now=now)
            repeat = _judge(intent, now=now)
            if repeat is None:
                repeat = Repeat(ruling=Ruling.DROP) if has_token else _line_up(rates, now=now)
            takes = repeat.ruling is Ruling.SEND or repeat.is_in_line
            if takes and reserved_at is None:
                await limits.write_tokens(conn, [rate.take(1) for rate in rates])
        if monotonic() - began > lifecycle.SEND_WITHIN.total_seconds():
            # Somebody may count on it that what was intended then does not leave any more.
            return Repeat(ruling=Ruling.DROP)
        return repeat

    async def _lock_rates(
        self, conn: Connection, question: OpenQuestion, provider: Provider, *, now: datetime
    ) -> list[Allowance]:
        """Lock what the key's rates still allow: to them it is an item like any other."""
        keys = limits.keys_of(
            team_id=question.team_id,
            provider_id=question.provider_id,
            batch_id=question.batch_id,
            agent_id=question.agent_id,
        )
        key = limits.provider_key(question.provider_id)
        defaults = {} if provider.rate is None else {key: provider.rate}
        return await limits.lock_rates(conn, keys, defaults=defaults, now=now)

    def _reserved_at(self, effect: Effect, *, now: datetime) -> datetime | None:
        """Return when the tokens that were taken ahead are there; they are not kept for long."""
        at = self._reserved.get(effect)
        return None if at is None or now - at > KEPT_FOR else at

    def _note(self, effect: Effect, repeat: Repeat) -> None:
        """Remember who has taken tokens ahead, once that is committed."""
        if repeat.ruling is Ruling.SEND:
            self._reserved.pop(effect, None)
        elif repeat.is_in_line and repeat.until is not None:
            old = repeat.until - FORGOTTEN_AFTER
            self._reserved = {one: at for one, at in self._reserved.items() if at > old}
            self._reserved[effect] = repeat.until

    async def _opening(self, question: OpenQuestion) -> datetime | None:
        """Return when its recipient may be called, None for never."""
        now = self._db.clock()
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


def _line_up(rates: Sequence[Allowance], *, now: datetime) -> Repeat:
    """Take tokens that are not there yet; who comes back for them finds them.

    Without that, admission, which wakes with each token, would always be there first; and all that
    wait would take turns in finding nothing, thousands of times for each token.
    """
    at = max((opens_at for rate in rates if (opens_at := rate.opens_at)), default=now)
    if at - now > LONGEST_LINE:
        return Repeat(ruling=Ruling.HOLD, until=now + LONGEST_LINE)
    return Repeat(ruling=Ruling.HOLD, until=at, is_in_line=True)


def _is_honoured(question: OpenQuestion, provider: Provider, *, now: datetime) -> bool:
    promise = provider.promise
    if promise.policy is not Policy.REPEATABLE or question.phase != Phase.CALLING:
        return False
    age = now - question.intent_at
    return promise.key_ttl is None or age + promise.timeout < promise.key_ttl


def _judge(intent: RepeatIntent | None, *, now: datetime) -> Repeat | None:
    """Return what the batch and the provider have to say; None where they hold nothing back."""
    if intent is None:
        return Repeat(ruling=Ruling.DROP)
    if intent.sends is not None:
        return Repeat(ruling=Ruling.SEND, sends=intent.sends)
    if intent.is_deleted or intent.state in lifecycle.ENDED_STATES:
        return Repeat(ruling=Ruling.OVER)
    if intent.state not in lifecycle.ADMITTING_STATES or intent.is_provider_paused:
        return Repeat(ruling=Ruling.HOLD)
    if intent.slow_until is not None and intent.slow_until > now:
        return Repeat(ruling=Ruling.HOLD, until=intent.slow_until)
    return None

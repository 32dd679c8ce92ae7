"""Sums up what a flush of the journal did: for the brake, the charts, the overview, the queue."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from batchyard.engine.news import News, Stop
from batchyard.lifecycle import IN_FLIGHT_PHASES
from batchyard.models import Phase
from batchyard.store import privacy, tallies
from batchyard.store.items import Settled, Settlement
from batchyard.store.tallies import LONGEST_REASON, Tally

NOTHING = Tally()

TELLS_WHO = re.compile(privacy.TELLS_WHO)
"""A code in which there may be somebody's address or number is no reason that charts show."""


@dataclass(kw_only=True, slots=True)
class Aftermath:
    """What is to be done after outcomes were committed; those of several flushes add up."""

    ended: set[UUID] = field(default_factory=set)
    """Batches in which something ended, so that they may be over."""
    wakes: dict[int, datetime] = field(default_factory=dict)
    """Teams that can do something again, and when."""
    freed: Counter[int] = field(default_factory=Counter)
    """Items that are no longer in flight, by their providers."""
    outcomes: dict[str, Tally] = field(default_factory=dict)
    """How attempts went, by batch, by team and by provider."""
    failures: Counter[tuple[int, str]] = field(default_factory=Counter)
    """Why attempts failed, by team and reason: the error's code, else the status."""
    stops: dict[int, Stop] = field(default_factory=dict)
    """By provider, the one of what was sent last: a person may have resumed it in between."""
    slow: dict[int, datetime] = field(default_factory=dict)
    """Until when providers want nothing."""
    flushes: int = 0

    def add(self, block: Mapping[UUID, News], settled: Sequence[Settled], *, now: datetime) -> None:
        """Add what one flush wrote: the news of a block, and what of it fitted."""
        self.flushes += 1
        for group in settled:
            if group.phase == Phase.DONE:
                self.ended.add(group.batch_id)
            if group.provider_id is not None and group.phase not in IN_FLIGHT_PHASES:
                self.freed[group.provider_id] += len(group.ids)
            self._count(group, [block[item_id] for item_id in group.ids], now=now)
        for news in block.values():
            if news.stop is not None:
                known = self.stops.setdefault(news.stop.provider_id, news.stop)
                if known.sent_at < news.stop.sent_at:
                    self.stops[news.stop.provider_id] = news.stop
            if news.slow is not None:
                provider_id, until = news.slow
                self.slow[provider_id] = max(until, self.slow.get(provider_id, until))

    def _count(self, group: Settled, block: Sequence[News], *, now: datetime) -> None:
        n, seconds, failures = 0, 0.0, 0
        is_over = False
        for news in block:
            settlement = news.settlement
            is_over = is_over or "worker_id" not in settlement
            if news.is_failure is None:
                continue
            n += 1
            seconds += _lasted(settlement)
            if news.is_failure:
                failures += 1
                self.failures[group.team_id, _reason(settlement)[:LONGEST_REASON]] += 1
        if is_over:
            at = group.due_at if group.phase == Phase.READY else now
            self.wakes[group.team_id] = min(at, self.wakes.get(group.team_id, at))
        if n:
            self._tally(group, Tally(ok=n - failures, failed=failures, seconds=seconds))

    def _tally(self, group: Settled, more: Tally) -> None:
        scopes = [tallies.batch_scope(group.batch_id), tallies.team_scope(group.team_id)]
        if group.provider_id is not None:
            scopes.append(tallies.provider_scope(group.provider_id))
        for scope in scopes:
            self.outcomes[scope] = self.outcomes.get(scope, NOTHING).plus(more)


def _reason(settlement: Settlement) -> str:
    """Return what went wrong; the item itself may be on its way to the next attempt."""
    code = settlement.get("error_code")
    if code and not TELLS_WHO.search(code):
        return code
    return str(settlement.get("entry", {}).get("status") or settlement["status"])


def _lasted(settlement: Settlement) -> float:
    entry = settlement.get("entry")
    if entry is None:
        return 0.0
    sent_at, ended_at = entry.get("sent_at"), entry.get("ended_at")
    if not isinstance(sent_at, datetime) or not isinstance(ended_at, datetime):
        return 0.0
    return max(0.0, (ended_at - sent_at).total_seconds())

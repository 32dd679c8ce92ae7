"""Admission: which due items may start now, under every limit at once."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from batchyard import retry
from batchyard.clock import monotonic
from batchyard.config import Config
from batchyard.engine.runner import Assignment
from batchyard.engine.switchboard import Connected, Switchboard
from batchyard.limits import Allowance, strictest
from batchyard.models import Kind, Policy, Team
from batchyard.store import items, limits, providers, runs
from batchyard.store.db import Connection
from batchyard.store.items import ClaimedItem
from batchyard.store.providers import Closed
from batchyard.store.runs import Order, Run

BATCHES_PER_ADMISSION = 10

BATCHES_LOOKED_AT = 500
"""How far admission looks when everything before is held back."""

AGING_ROUND = 14
"""Of so many admissions of a team one begins with the batch of lowest priority and one with the
batch unserved for longest, so that nothing starves: each gets seven percent."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Admission:
    """What one admission let in, and what holds the rest."""

    started: Sequence[tuple[Assignment, Sequence[ClaimedItem]]]
    is_capped: bool
    """Something due is held by a cap, so freed capacity matters to the team."""
    opens_at: datetime | None
    """When time alone lets something in: an item falls due, a rate or a provider opens."""

    @property
    def count(self) -> int:
        """How many items were let in."""
        return sum(len(claimed) for _, claimed in self.started)


@dataclass(frozen=True, kw_only=True, slots=True)
class Wait:
    """Why nothing of a batch was let in."""

    reason: str
    """One of the words of `operations.waiting`."""
    until: datetime | None = None
    is_cap: bool = False


class Admitter:
    """Admits for one worker."""

    def __init__(self, config: Config, switchboard: Switchboard, *, worker_id: int) -> None:
        self._config = config
        self._switchboard = switchboard
        self._worker_id = worker_id
        self._admissions: Counter[int] = Counter()

    async def admit(
        self, conn: Connection, team: Team, *, slots: int, singles_only: bool, now: datetime
    ) -> Admission:
        """Claim up to `slots` due items of a team; part of the caller's transaction.

        With `singles_only` nothing but single calls and bookings is looked at.

        1. List the team's batches with due items, in the order they are served.
        2. Lock every limit concerned; only then count what is in flight.
        3. Claim from each batch what the strictest of its limits allows.
        4. Keep what is left of the rates.
        """
        order = self._order(team.id)
        admission = Admission(started=(), is_capped=False, opens_at=None)
        for limit in (BATCHES_PER_ADMISSION, BATCHES_LOOKED_AT):
            candidates = await runs.list_admissible(
                conn,
                team_id=team.id,
                order=order,
                singles_only=singles_only,
                limit=limit,
                now=now,
            )
            admission = await self._admit_from(conn, team, candidates, slots=slots, now=now)
            # All of them held back: then those behind them get their chance.
            if admission.count or len(candidates) < limit:
                break
        if admission.count == 0:
            due_at = await runs.next_due(conn, team_id=team.id, after=now)
            openings = [at for at in (due_at, admission.opens_at) if at is not None]
            admission = replace(admission, opens_at=min(openings, default=None))
        return admission

    async def _admit_from(
        self,
        conn: Connection,
        team: Team,
        candidates: Sequence[Run],
        *,
        slots: int,
        now: datetime,
    ) -> Admission:
        routed = [(run, self._connect(team, run)) for run in candidates]
        allowances = await self._lock_limits(conn, team, routed, now=now)
        closed = await providers.list_closed(
            conn, {line.provider_id for _, line in routed}, now=now
        )
        started: list[tuple[Assignment, Sequence[ClaimedItem]]] = []
        waits: dict[UUID, Wait] = {}
        for run, line in routed:
            concerned = [
                allowances[key] for key in self._keys(team, run, line) if key in allowances
            ]
            room, wait = _room(concerned, closed.get(line.provider_id), at_most=slots)
            if wait is not None:
                waits[run.id] = wait
                continue
            assignment, claimed = await self._claim(conn, team, run, line, limit=room, now=now)
            if claimed:
                started.append((assignment, claimed))
                slots -= len(claimed)
                allowances |= {a.key: a.take(len(claimed)) for a in concerned}
        if started:
            await limits.write_tokens(conn, list(allowances.values()))
        news = {run.id: waits[run.id] for run in candidates if _is_news(run, waits.get(run.id))}
        if news:
            await runs.note_waits(conn, {key: (w.reason, w.until) for key, w in news.items()})
        untils = [wait.until for wait in waits.values() if wait.until is not None]
        return Admission(
            started=started,
            is_capped=any(wait.is_cap for wait in waits.values()),
            opens_at=min(untils, default=None),
        )

    def _order(self, team_id: int) -> Order:
        self._admissions[team_id] += 1
        match self._admissions[team_id] % AGING_ROUND:
            case 0:
                return Order.LOWEST_FIRST
            case 7:
                return Order.LONGEST_UNSERVED_FIRST
            case _:
                return Order.BY_PRIORITY

    def _connect(self, team: Team, run: Run) -> Connected:
        return self._switchboard.choose(team_id=team.id, kind=Kind(run.kind), agent_id=run.agent_id)

    def _keys(self, team: Team, run: Run, line: Connected) -> list[str]:
        keys = [
            limits.team_key(team.id),
            limits.provider_key(line.provider_id),
            limits.batch_key(run.id),
        ]
        return keys if run.agent_id is None else [*keys, limits.agent_key(run.agent_id)]

    async def _lock_limits(
        self,
        conn: Connection,
        team: Team,
        routed: Sequence[tuple[Run, Connected]],
        *,
        now: datetime,
    ) -> dict[str, Allowance]:
        if not routed:
            return {}
        defaults = {limits.team_key(team.id): self._config.team_concurrency}
        for _, line in routed:
            if line.concurrency is not None:
                defaults[limits.provider_key(line.provider_id)] = line.concurrency
        keys = {key for run, line in routed for key in self._keys(team, run, line)}
        caps = await limits.lock(conn, keys, defaults=defaults)
        return await limits.read_allowances(conn, caps, team_id=team.id, now=now)

    async def _claim(
        self,
        conn: Connection,
        team: Team,
        run: Run,
        line: Connected,
        *,
        limit: int,
        now: datetime,
    ) -> tuple[Assignment, Sequence[ClaimedItem]]:
        assignment = Assignment(
            batch_id=run.id,
            team=team.slug,
            kind=Kind(run.kind),
            retry_policy=retry.from_json(run.retry_policy),
            line=line,
            restored_at=run.restored_at,
            issued_at=monotonic(),
        )
        if not await runs.mark_served(conn, batch_id=run.id, now=now):
            return assignment, []
        is_repeatable = line.provider.promise.policy is Policy.REPEATABLE
        claimed = await items.claim(
            conn,
            batch_id=run.id,
            worker_id=self._worker_id,
            provider_id=line.provider_id,
            from_numbers=run.from_numbers,
            limit=limit,
            intent_deadline=assignment.deadline if is_repeatable else None,
            now=now,
        )
        return assignment, claimed


def _room(
    concerned: Sequence[Allowance], closed: Closed | None, *, at_most: int
) -> tuple[int, Wait | None]:
    """Return how many items of a batch may start, or why none may."""
    if closed is not None:
        return 0, Wait(reason=closed.reason, until=closed.until)
    room, holder = strictest(concerned, at_most=at_most)
    if room > 0:
        return room, None
    if holder is None:
        return 0, Wait(reason="earlier_batch")
    scope = holder.key.partition(":")[0]
    if holder.opens_at is None:
        return 0, Wait(reason=f"{scope}_cap", is_cap=True)
    return 0, Wait(reason=f"{scope}_rate", until=holder.opens_at)


def _is_news(run: Run, wait: Wait | None) -> bool:
    """Tell whether the reason is worth a write; times that only pass are not."""
    return wait is not None and wait.reason != run.wait_reason

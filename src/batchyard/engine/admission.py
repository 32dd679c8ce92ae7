"""Admission: which due items may start now, under every limit at once."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

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
from batchyard.store.runs import Order, Run

BATCHES_PER_ADMISSION = 10

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
        candidates = await runs.list_admissible(
            conn,
            team_id=team.id,
            order=self._order(team.id),
            singles_only=singles_only,
            limit=BATCHES_PER_ADMISSION,
            now=now,
        )
        routed = [(run, self._connect(team, run)) for run in candidates]
        allowances = await self._lock_limits(conn, team, routed, now=now)
        started = []
        is_capped = False
        openings: list[datetime] = []
        slow = await providers.list_slow(conn, {line.provider_id for _, line in routed}, now=now)
        for run, line in routed:
            if line.provider_id in slow:
                openings.append(slow[line.provider_id])
                continue
            concerned = [
                allowances[key] for key in self._keys(team, run, line) if key in allowances
            ]
            room, holder = strictest(concerned, at_most=slots)
            if room <= 0:
                if holder is not None and holder.opens_at is not None:
                    openings.append(holder.opens_at)
                is_capped = is_capped or (holder is not None and holder.opens_at is None)
                continue
            assignment, claimed = await self._claim(conn, team, run, line, limit=room, now=now)
            if claimed:
                started.append((assignment, claimed))
                slots -= len(claimed)
                allowances |= {a.key: a.take(len(claimed)) for a in concerned}
        if started:
            await limits.write_tokens(conn, list(allowances.values()))
        elif not is_capped and (due_at := await runs.next_due(conn, team_id=team.id, after=now)):
            openings.append(due_at)
        return Admission(started=started, is_capped=is_capped, opens_at=min(openings, default=None))

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

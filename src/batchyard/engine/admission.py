"""Admission: which due items may start now, under every limit at once."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from batchyard import retry
from batchyard.clock import monotonic
from batchyard.config import Config
from batchyard.contact_rules import Block, TeamRules
from batchyard.engine.assignment import Assignment
from batchyard.engine.hours import SLAB, Hours, HoursBook
from batchyard.engine.look import Admission, Look, Wait, join
from batchyard.engine.outcome import cancel
from batchyard.engine.screening import contact_of, judge_numbers, screen
from batchyard.engine.switchboard import Connected, Switchboard
from batchyard.errors import InvalidRequest
from batchyard.limits import Allowance
from batchyard.metrics import ADMISSION_WAITS
from batchyard.models import JsonObject, Kind, Rate, Team
from batchyard.operations.waiting import NOTED_AGAIN_AFTER
from batchyard.store import attempts, contacts, items, limits, providers, runs, senders
from batchyard.store.db import Connection
from batchyard.store.items import ClaimedItem
from batchyard.store.runs import Order, PassedOver, Run

BATCHES_PER_ADMISSION = 10

NOTICED_AFTER = timedelta(seconds=1)
"""By so much the end of a wait has to move to be kept: that of a quick rate moves all the time."""

BATCHES_LOOKED_AT = 500
"""How far admission looks when everything before is held back, and again behind these."""

LOOK_SECONDS = 0.5
"""So long it goes on looking: the limits that it has locked hold up other teams."""

AGING_ROUND = 14
"""Of so many admissions of a team that let something in, one begins with the batch of lowest
priority and one with the batch unserved for longest, so that nothing starves: each gets seven
percent."""


class Admitter:
    """Admits for one worker."""

    def __init__(self, config: Config, switchboard: Switchboard, *, worker_id: int) -> None:
        self._config = config
        self._switchboard = switchboard
        self._worker_id = worker_id
        self._admissions: Counter[int] = Counter()
        """By team, those that let something in: were empty ones counted, a cap that lets something
        in at every seventh could always miss the two that are for the aged."""
        self._book = HoursBook()

    async def admit(
        self,
        conn: Connection,
        team: Team,
        *,
        slots: Callable[[], int],
        singles_only: bool,
        now: datetime,
    ) -> Admission:
        """Claim due items of a team, as many as there are slots; part of the caller's transaction.

        `slots` is asked at the last moment: while limits were read more of them became free. With
        `singles_only` nothing but single calls and bookings is looked at.

        1. List the team's batches with due items, in the order they are served.
        2. Lock every limit concerned; only then count what is in flight.
        3. Claim from each batch what the strictest of its limits, and its window, allow.
        4. Set aside what must not be sent.
        5. Keep what is left of the rates.
        """
        order = self._order(team.id)
        admission = Admission(started=(), is_capped=False, opens_at=None)
        passed = PassedOver()
        for limit, beyond in _looks(passed):
            candidates = await runs.list_admissible(
                conn,
                team_id=team.id,
                order=order,
                singles_only=singles_only,
                limit=limit,
                beyond=beyond,
                now=now,
            )
            look = await self._look(conn, team, candidates, slots=slots, now=now)
            found = look.admission()
            admission = found if beyond is None else join(admission, found)
            # All of them held back: then those behind them get their chance.
            if found.count or found.blocked or len(candidates) < limit:
                break
            if limit == BATCHES_LOOKED_AT and look.is_team_held:
                break
            look.note_passed(passed, candidates)
        if admission.count and not singles_only:
            self._admissions[team.id] += 1
        if admission.count == 0:
            due_at = await runs.next_due(conn, team_id=team.id, after=now)
            openings = [at for at in (due_at, admission.opens_at) if at is not None]
            admission = replace(admission, opens_at=min(openings, default=None))
        return admission

    async def _look(
        self,
        conn: Connection,
        team: Team,
        candidates: Sequence[Run],
        *,
        slots: Callable[[], int],
        now: datetime,
    ) -> Look:
        look = Look()
        routed = await self._route(look, candidates)
        look.allowances = await self._lock_limits(conn, team, routed, now=now)
        known_at = monotonic()
        closed = await providers.list_closed(
            conn, {line.provider_id for _, line in routed}, now=now
        )
        rules = await self._read_rules(conn, team, candidates)
        sender = await self._read_sender(conn, team, candidates)
        look.slots = max(1, slots())
        for run, line in routed:
            keys = self._keys(team, run, line)
            room = look.room(run, keys, line.provider_id, closed.get(line.provider_id))
            if room == 0:
                continue
            if look.is_behind(run) and not await runs.try_to_lock(conn, batch_id=run.id):
                break  # It comes first in the next admission.
            try:
                hours = await self._book.find(conn, run, rules)
            except InvalidRequest:
                look.waits[run.id] = Wait(reason="window_invalid")
                continue
            assignment = await self._assign(
                conn,
                team,
                run,
                line,
                known_at=known_at,
                rules=rules,
                hours=hours,
                sender=sender,
            )
            claimed = await self._claim(conn, run, assignment, limit=room, now=now)
            if hours is not None and len(claimed) < room:
                look.ajar.append((run, hours))
            refused = await self._screen(conn, run, assignment, claimed, rules, now=now)
            await _end_intended(conn, claimed, refused, now=now)
            look.take(run, assignment, claimed, refused, keys)
            if len(claimed) == room:
                look.note_full(line.provider_id)
        if look.started:
            await limits.write_tokens(conn, list(look.allowances.values()))
        await self._note_waits(conn, candidates, look.waits, now=now)
        return look

    async def _route(self, look: Look, candidates: Sequence[Run]) -> list[tuple[Run, Connected]]:
        routed: list[tuple[Run, Connected]] = []
        for run in candidates:
            line = await self._switchboard.choose(run.provider_id)
            if line is None:
                look.waits[run.id] = Wait(reason="provider_unusable")
            else:
                routed.append((run, line))
        return routed

    async def _note_waits(
        self,
        conn: Connection,
        candidates: Sequence[Run],
        waits: Mapping[UUID, Wait],
        *,
        now: datetime,
    ) -> None:
        """Keep why nothing of a batch was let in, where that is worth a write."""
        held = [(run, waits[run.id]) for run in candidates if run.id in waits]
        for run, wait in held:
            if wait.reason != run.wait_reason:
                ADMISSION_WAITS.labels(reason=wait.reason).inc()
        news = {
            run.id: (wait.reason, wait.until) for run, wait in held if _is_news(run, wait, now=now)
        }
        if news:
            await runs.note_waits(conn, news, now=now)

    async def put_off(self, conn: Connection, run: Run, hours: Hours, *, now: datetime) -> bool:
        """Move a slab of due items outside their window; False when nothing was left to do."""
        return await self._book.put_off(conn, run, hours, now=now)

    def _order(self, team_id: int) -> Order:
        match self._admissions[team_id] % AGING_ROUND:
            case 6:
                return Order.LONGEST_UNSERVED_FIRST
            case 13:
                return Order.LOWEST_FIRST
            case _:
                return Order.BY_PRIORITY

    def _keys(self, team: Team, run: Run, line: Connected) -> list[str]:
        return limits.keys_of(
            team_id=team.id,
            provider_id=line.provider_id,
            batch_id=run.id,
            agent_id=run.agent_id,
        )

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
        rates: dict[str, Rate] = {}
        for _, line in routed:
            key = limits.provider_key(line.provider_id)
            if line.concurrency is not None:
                defaults[key] = line.concurrency
            if line.rate is not None:
                rates[key] = line.rate
        keys = {key for run, line in routed for key in self._keys(team, run, line)}
        caps = await limits.lock(conn, keys, defaults=defaults, needed=rates)
        if rates:
            await limits.add_default_rates(conn, rates, now=now)
        return await limits.read_allowances(conn, caps, team_id=team.id, now=now)

    async def _read_rules(
        self, conn: Connection, team: Team, candidates: Sequence[Run]
    ) -> TeamRules:
        """Read the team's rules where it has any; locked where attempts are counted."""
        if not any(run.has_rules for run in candidates):
            return TeamRules()
        rules = await contacts.read_rules(conn, team_id=team.id)
        if rules.limits_attempts:
            await attempts.lock(conn, [team.id])
        return rules

    async def _read_sender(
        self, conn: Connection, team: Team, candidates: Sequence[Run]
    ) -> JsonObject | None:
        if not any(run.kind == Kind.SHIPMENT for run in candidates):
            return None
        return await senders.read(conn, team_id=team.id)

    async def _assign(
        self,
        conn: Connection,
        team: Team,
        run: Run,
        line: Connected,
        *,
        known_at: float,
        rules: TeamRules,
        hours: Hours | None,
        sender: JsonObject | None,
    ) -> Assignment:
        counts = rules.limits_attempts and run.kind == Kind.CALL
        return Assignment(
            batch_id=run.id,
            team_id=team.id,
            team=team.slug,
            kind=Kind(run.kind),
            retry_policy=retry.from_json(run.retry_policy),
            line=line,
            restored_at=run.restored_at,
            backup_at=run.backup_at,
            issued_at=monotonic(),
            known_at=known_at,
            hours=hours,
            traceparent=run.traceparent,
            counted_zones=await self._book.zone_sets(conn) if counts else None,
            sender=sender if run.kind == Kind.SHIPMENT else None,
        )

    async def _claim(
        self, conn: Connection, run: Run, assignment: Assignment, *, limit: int, now: datetime
    ) -> Sequence[ClaimedItem]:
        if not await runs.mark_served(conn, batch_id=run.id, now=now):
            return []
        hours = assignment.hours
        return await items.claim(
            conn,
            batch_id=run.id,
            worker_id=self._worker_id,
            provider_id=assignment.line.provider_id,
            from_numbers=run.from_numbers,
            limit=limit,
            intent_deadline=assignment.deadline if assignment.is_repeatable else None,
            open_sets=None if hours is None else hours.open_sets(now),
            slab=SLAB,
            now=now,
        )

    async def _screen(
        self,
        conn: Connection,
        run: Run,
        assignment: Assignment,
        claimed: Sequence[ClaimedItem],
        rules: TeamRules,
        *,
        now: datetime,
    ) -> dict[UUID, Block]:
        """Return which of the claimed items must not be sent.

        What the database has to say is asked here only where the claim carries the intent;
        elsewhere the journal asks when it writes the intent. Whether the team has a list is asked
        behind the claim: what was put on it while this waited for a lock holds.
        """
        if not claimed or run.kind != Kind.CALL:
            return {}
        blocked: dict[UUID, Block] = {}
        if run.has_rules:
            blocked = await judge_numbers({item.id: item.number for item in claimed}, rules)
        if not assignment.is_repeatable:
            return blocked
        if not rules.limits_attempts and not await contacts.has_entries(
            conn, team_id=assignment.team_id
        ):
            return blocked
        reached = [
            contact
            for item in claimed
            if item.id not in blocked
            and (
                contact := contact_of(
                    item, team_id=assignment.team_id, zones=assignment.counted_zones, now=now
                )
            )
        ]
        blocked |= await screen(conn, reached, now=now)
        counted = [c for c in reached if c.day_at is not None and c.item_id not in blocked]
        await attempts.add(conn, counted, now=now)
        return blocked


async def _end_intended(
    conn: Connection,
    claimed: Sequence[ClaimedItem],
    refused: Mapping[UUID, Block],
    *,
    now: datetime,
) -> None:
    """End what must not be sent although its claim carries the intent.

    With the claim, or not at all: after a crash it could not be told from what was sent, and its
    key would be sent again.
    """
    ended = [
        cancel(
            item_id=item.id, attempt=item.attempt, lease=item.lease, block=refused[item.id]
        ).settlement
        for item in claimed
        if item.id in refused and item.intent_at is not None
    ]
    if ended:
        await items.settle(conn, ended, now=now)


def _looks(passed: PassedOver) -> Iterator[tuple[int, PassedOver | None]]:
    """Yield how many batches to look at, and behind which: each time only if all were held back."""
    yield BATCHES_PER_ADMISSION, None
    yield BATCHES_LOOKED_AT, None
    give_up_at = monotonic() + LOOK_SECONDS
    while monotonic() < give_up_at:
        yield BATCHES_LOOKED_AT, passed


def _is_news(run: Run, wait: Wait, *, now: datetime) -> bool:
    """Tell whether a wait is worth a write: it is another one, a noticed time later, or old."""
    if wait.reason != run.wait_reason or run.wait_noted_at is None:
        return True
    if now - run.wait_noted_at >= NOTED_AGAIN_AFTER:
        return True
    if wait.until is None or run.wait_until is None:
        return wait.until != run.wait_until
    return abs(wait.until - run.wait_until) >= NOTICED_AFTER

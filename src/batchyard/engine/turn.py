"""A turn: one team is served for a while. Admission under every limit, then sending."""

import asyncio
from dataclasses import dataclass
from datetime import datetime

import structlog

from batchyard import retry
from batchyard.clock import monotonic
from batchyard.config import Config
from batchyard.engine.runner import Assignment, Runner
from batchyard.engine.switchboard import Switchboard
from batchyard.models import Kind, Policy, Team
from batchyard.store import items, limits, queue, runs, teams
from batchyard.store.db import Connection, Database

TURN_SECONDS = 10.0
CROWDED_TURN_SECONDS = 2.0
"""Length of a turn while other teams wait."""

GATHER_SECONDS = 0.005
"""After a slot was freed, how long admission waits for more of them."""

BATCHES_PER_ADMISSION = 10

log = structlog.get_logger("batchyard.turn")


@dataclass(frozen=True, kw_only=True, slots=True)
class Admission:
    """What one admission did."""

    count: int
    is_capped: bool
    next_due: datetime | None


class Turns:
    """Serves teams on this worker, at most one turn a team."""

    def __init__(
        self,
        config: Config,
        db: Database,
        runner: Runner,
        switchboard: Switchboard,
        *,
        worker_id: int,
    ) -> None:
        self._config = config
        self._db = db
        self._runner = runner
        self._switchboard = switchboard
        self._worker_id = worker_id
        self._serving: set[int] = set()
        self._is_closed = False

    def close(self) -> None:
        """Admit nothing more; running turns end at their next step."""
        self._is_closed = True

    async def serve(self, team_id: int) -> None:
        """Serve a team until it has nothing due, its time is up, or the worker stops.

        1. Read the wake's version, so that a wake during the turn is not slept over.
        2. Admit as much as slots and limits allow, and send it.
        3. Nothing admitted: rest until the next item is due, unless woken meanwhile.
        4. Time up: back to the end of the queue.
        """
        if team_id in self._serving or self._is_closed:
            return
        self._serving.add(team_id)
        try:
            await self._serve(team_id)
        finally:
            self._serving.discard(team_id)

    async def _serve(self, team_id: int) -> None:
        started = monotonic()
        async with self._db.transaction() as conn:
            team = await teams.find_by_id(conn, team_id=team_id)
            version = await queue.read_version(conn, team_id=team_id)
        while team is not None and not self._is_closed and not self._runner.is_fenced:
            if self._runner.free_slots == 0:
                await self._runner.slot_freed()
                await asyncio.sleep(GATHER_SECONDS)
                continue
            admission = await self._admit(team)
            if admission.count == 0:
                async with self._db.transaction() as conn:
                    if await queue.rest(
                        conn,
                        team_id=team_id,
                        version=version,
                        wake_at=admission.next_due,
                        is_capped=admission.is_capped,
                    ):
                        return
                    version = await queue.read_version(conn, team_id=team_id)
            elif await self._is_time_up(team_id, monotonic() - started):
                async with self._db.transaction() as conn:
                    await queue.wake(conn, team_id=team_id, now=self._db.clock())
                return

    async def _is_time_up(self, team_id: int, seconds: float) -> bool:
        if seconds < CROWDED_TURN_SECONDS:
            return False
        if seconds >= TURN_SECONDS:
            return True
        async with self._db.pool.connection() as conn:
            return await queue.do_others_wait(conn, team_id=team_id)

    async def _admit(self, team: Team) -> Admission:
        """Claim due items under all limits and start them; one transaction."""
        async with self._db.transaction() as conn:
            key = limits.team_key(team.id)
            # First, and alone: what is counted next sees what this lock waited for.
            caps = await limits.lock(conn, [key])
            cap = caps.get(key) or self._config.team_concurrency
            in_flight = await items.count_in_flight(conn, team_id=team.id)
            room = min(cap - in_flight, self._runner.free_slots)
            started = await self._claim(conn, team, room) if room > 0 else []
            is_capped = in_flight >= cap
            count = sum(len(claimed) for _, claimed in started)
            next_due = None
            if count == 0 and not is_capped:
                next_due = await runs.next_due(conn, team_id=team.id)
        for assignment, claimed in started:
            self._runner.start(assignment, claimed)
        return Admission(count=count, is_capped=is_capped, next_due=next_due)

    async def _claim(
        self, conn: Connection, team: Team, room: int
    ) -> list[tuple[Assignment, list[items.ClaimedItem]]]:
        started = []
        now = self._db.clock()
        for run in await runs.list_admissible(
            conn, team_id=team.id, limit=BATCHES_PER_ADMISSION, now=now
        ):
            if room <= 0:
                break
            if not await runs.mark_served(conn, batch_id=run.id, now=now):
                continue
            assignment = Assignment(
                batch_id=run.id,
                team=team.slug,
                kind=Kind(run.kind),
                retry_policy=retry.from_json(run.retry_policy),
                provider=self._switchboard.choose(
                    team_id=team.id, kind=Kind(run.kind), agent_id=run.agent_id
                ),
                issued_at=monotonic(),
            )
            is_repeatable = assignment.provider.promise.policy is Policy.REPEATABLE
            claimed = await items.claim(
                conn,
                batch_id=run.id,
                worker_id=self._worker_id,
                limit=room,
                intent_deadline=assignment.deadline if is_repeatable else None,
                now=now,
            )
            room -= len(claimed)
            if claimed:
                started.append((assignment, claimed))
        return started

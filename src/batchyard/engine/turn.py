"""A turn: one team is served for a while. Admission under every limit, then sending."""

import asyncio

import structlog

from batchyard.clock import monotonic
from batchyard.engine.admission import Admission, Admitter
from batchyard.engine.runner import Runner
from batchyard.models import Team
from batchyard.store import queue, teams
from batchyard.store.db import Database

TURN_SECONDS = 10.0
CROWDED_TURN_SECONDS = 2.0
"""Length of a turn while other teams wait."""

GATHER_SECONDS = 0.005
"""After a slot was freed, how long admission waits for more of them."""

log = structlog.get_logger("batchyard.turn")


class Turns:
    """Serves teams on this worker, at most one turn a team."""

    def __init__(
        self,
        db: Database,
        runner: Runner,
        admitter: Admitter,
    ) -> None:
        self._db = db
        self._runner = runner
        self._admitter = admitter
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
                        wake_at=admission.opens_at,
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
        async with self._db.transaction() as conn:
            admission = await self._admitter.admit(
                conn, team, slots=self._runner.free_slots, now=self._db.clock()
            )
        for assignment, claimed in admission.started:
            self._runner.start(assignment, claimed)
        return admission

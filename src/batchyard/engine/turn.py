"""A turn: one team is served for a while. Admission under every limit, then sending."""

import asyncio

import structlog

from batchyard.clock import monotonic
from batchyard.engine.admission import Admitter
from batchyard.engine.look import Admission
from batchyard.engine.runner import Runner
from batchyard.metrics import TURN_SECONDS as TURN_TIME
from batchyard.models import Team
from batchyard.store import queue, teams
from batchyard.store.db import TRANSIENT, Database

TURN_SECONDS = 2.0
"""After so long a turn ends if other teams wait for one, or else goes on with the team's settings
read anew: if it ended, those served beside it would take its share until its next turn."""

GATHER_SECONDS = 0.005
"""After a slot was freed, how long admission waits for more of them."""

ROOM_SECONDS = 1.0
"""Whoever waits longer for a slot leaves its part of a provider's room to others."""

LONGEST_NAP_SECONDS = 0.5
"""A turn stays for what opens so soon, such as the next token of a rate."""

CAPPED_NAP_SECONDS = 0.05
"""Held by a cap, a turn stays while requests of this worker are out: their end frees it."""

REPEAT_SECONDS = (0.02, 0.1, 0.5)
"""How soon an admission is made again that a deadlock or a lost connection has undone."""

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
        self._woken: set[int] = set()
        """Teams with a turn that were woken again: something new, maybe a single call, is due."""
        self._is_closed = False
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    def close(self) -> None:
        """Admit nothing more; running turns end at their next step."""
        self._is_closed = True
        self._runner.look_again()

    async def ended(self) -> None:
        """Wait until no turn runs."""
        await self._is_idle.wait()

    async def serve(self, team_id: int) -> None:
        """Serve a team until it has nothing due, its time is up, or the worker stops.

        1. Read the wake's version, so that a wake during the turn is not slept over.
        2. Admit as much as slots and limits allow, and send it.
        3. Nothing admitted: rest until the next item is due, unless woken meanwhile.
        4. Time up while other teams wait: back to the end of the queue.
        """
        if self._is_closed:
            return
        if team_id in self._serving:
            self._woken.add(team_id)
            self._runner.look_again()
            return
        self._serving.add(team_id)
        self._is_idle.clear()
        try:
            team = await self._find(team_id)
            if team is not None:
                with TURN_TIME.time(), self._runner.serving(team):
                    await self._serve(team)
        finally:
            self._serving.discard(team_id)
            if not self._serving:
                self._is_idle.set()

    async def _serve(self, team: Team) -> None:
        started = monotonic()
        version, held_by = await self._read_wake(team)
        while not self._is_closed and not self._runner.is_fenced:
            room, express = self._runner.room(team), self._runner.express_room
            if room == 0 and (express == 0 or team.id not in self._woken):
                held_by = await self._await_room(team, held_by)
                continue
            self._woken.discard(team.id)
            admission = await self._admit(team, singles_only=room == 0)
            has_changed = await self._set_aside(admission)
            if room > 0:
                held_by = await self._note_held(team, admission.held_by, before=held_by)
            is_idle = admission.count == 0 and not has_changed
            if is_idle and (nap := self._nap_seconds(admission)) is not None:
                await self._runner.changed(within_seconds=nap)
            elif is_idle and room > 0:
                if await self._rest(team, version, admission):
                    return
                version, held_by = await self._read_wake(team)
            if monotonic() - started >= TURN_SECONDS:
                renewed = await self._renew(team)
                if renewed is None:
                    return
                team, started = renewed, monotonic()

    def _nap_seconds(self, admission: Admission) -> float | None:
        """Return how long to stay for what opens in a moment; None: rest, it is too long."""
        if admission.is_capped and self._runner.is_busy:
            return CAPPED_NAP_SECONDS
        if admission.opens_at is None:
            return None
        seconds = (admission.opens_at - self._db.clock()).total_seconds()
        return max(seconds, 0.001) if seconds < LONGEST_NAP_SECONDS else None

    async def _read_wake(self, team: Team) -> tuple[int, frozenset[int]]:
        async with self._db.transaction() as conn:
            return await queue.read_wake(conn, team_id=team.id)

    async def _await_room(self, team: Team, held_by: frozenset[int]) -> frozenset[int]:
        """Wait for a slot; who waits long takes no part of a provider's room meanwhile."""
        began = monotonic()
        await self._runner.changed(within_seconds=ROOM_SECONDS if held_by else None)
        if held_by and monotonic() - began >= ROOM_SECONDS:
            return await self._note_held(team, frozenset(), before=held_by)
        await asyncio.sleep(GATHER_SECONDS)
        return held_by

    async def _note_held(
        self, team: Team, held_by: frozenset[int], *, before: frozenset[int]
    ) -> frozenset[int]:
        """Keep which providers have too little room; leave to others what is not wanted there."""
        if held_by == before:
            return held_by
        async with self._db.transaction() as conn:
            await queue.note_held(conn, team_id=team.id, provider_ids=held_by)
        if left := before - held_by:
            async with self._db.transaction() as conn:
                await queue.wake_after_settling(
                    conn, [], freed=dict.fromkeys(left, queue.WOKEN_AT_ONCE), now=self._db.clock()
                )
        return held_by

    async def _rest(self, team: Team, version: int, admission: Admission) -> bool:
        async with self._db.transaction() as conn:
            return await queue.rest(
                conn,
                team_id=team.id,
                version=version,
                wake_at=admission.opens_at,
                is_capped=admission.is_capped,
                held_by=admission.held_by,
                now=self._db.clock(),
            )

    async def _set_aside(self, admission: Admission) -> bool:
        """End what must not be sent, put off what is outside its window; False if nothing was."""
        for item, block in admission.blocked:
            if item.intent_at is None:  # Else it was ended with its claim.
                self._runner.cancel(item, block)
        is_changed = bool(admission.blocked)
        for run, hours in admission.ajar:
            async with self._db.transaction() as conn:
                has_moved = await self._admitter.put_off(conn, run, hours, now=self._db.clock())
            is_changed = is_changed or has_moved
        return is_changed

    async def _find(self, team_id: int) -> Team | None:
        async with self._db.transaction() as conn:
            return await teams.find_by_id(conn, team_id=team_id)

    async def _renew(self, team: Team) -> Team | None:
        """Return the team as it is now; None: its turn is over, and it waits for its next."""
        async with self._db.transaction() as conn:
            # A turn of a team that is served here would end at once.
            if await queue.do_others_wait(conn, team_ids=self._serving):
                # Until its next turn it asks for no part of a provider's room.
                await queue.note_held(conn, team_id=team.id, provider_ids=())
                await queue.wake(conn, team_id=team.id, now=self._db.clock())
                return None
        renewed = await self._find(team.id)
        if renewed is not None:
            self._runner.weigh(renewed)
        return renewed

    async def _admit(self, team: Team, *, singles_only: bool) -> Admission:
        def slots() -> int:
            return self._runner.express_room if singles_only else self._runner.room(team)

        repeats = iter(REPEAT_SECONDS)
        while True:
            try:
                async with self._db.pipeline() as conn:
                    admission = await self._admitter.admit(
                        conn, team, slots=slots, singles_only=singles_only, now=self._db.clock()
                    )
                break
            except TRANSIENT as error:
                pause = next(repeats, None)
                if pause is None or self._is_closed:
                    raise
                log.warning("turn.admission_repeated", team=team.slug, error=str(error))
                await asyncio.sleep(pause)
        for assignment, claimed in admission.started:
            self._runner.start(assignment, claimed)
        return admission

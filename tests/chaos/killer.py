"""Lets the blows of the plan fall, and starts again what they felled."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from tests.chaos import processes
from tests.chaos.plan import Blow, Strike
from tests.chaos.processes import Program
from tests.chaos.watch import Watch
from tests.chaos.yard import Yard, answers

LOOK_SECONDS = 0.05
STEP_SECONDS = 25.0
"""A step not reached within this time is not reached any more."""

KILLED = -9


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """A process that ended without being killed."""

    name: str
    code: int
    age_seconds: float


@dataclass(kw_only=True)
class Killer:
    """Carries out a plan on a yard."""

    yard: Yard
    watch: Watch
    settings: dict[str, str]
    kills: Counter[str] = field(default_factory=Counter)
    freezes: int = 0
    steps_missed: list[str] = field(default_factory=list)
    endings: list[Ending] = field(default_factory=list)
    _dice: random.Random = field(init=False)
    _database: asyncio.Lock = field(default_factory=asyncio.Lock)
    _server: asyncio.Lock = field(default_factory=asyncio.Lock)
    _struck: set[str] = field(default_factory=set)
    _after: set[asyncio.Task[None]] = field(default_factory=set)
    _errors: list[Exception] = field(default_factory=list)
    _steps: int = 0

    def __post_init__(self) -> None:
        self._dice = random.Random(self.yard.conditions.seed)

    async def carry_out(self, strikes: Sequence[Strike]) -> None:
        """Let one blow after the other fall; return when all that fell runs again."""
        ways: dict[Blow, Callable[[Strike], Awaitable[None]]] = {
            Blow.WORKER: self._kill_one,
            Blow.TWO_WORKERS: self._kill_two,
            Blow.LEADER: self._kill_leader,
            Blow.SERVER: self._kill_server,
            Blow.DATABASE: self._kill_database,
            Blow.DATABASE_TWICE: self._kill_database_twice,
            Blow.BACKEND: self._kill_backend,
            Blow.STEP: self._kill_at_step,
            Blow.FREEZE: self._freeze_one,
            Blow.FREEZE_LEADER: self._freeze_leader,
        }
        for strike in strikes:
            await asyncio.sleep(strike.pause_seconds * self.yard.conditions.pace)
            # Not waited for: the next blow may fall while this one is still being mended.
            self._later(ways[strike.blow](strike))
        while self._after:
            await asyncio.wait(self._after)
        if self._errors:
            raise ExceptionGroup("a blow went wrong", self._errors)

    async def supervise(self) -> None:
        """Start again what ended by itself, as a service manager would; until cancelled."""
        while True:
            for program in self.yard.programs:
                if program.name not in self._struck and not program.is_running:
                    self._note_ending(program)
                    program.start()
            await asyncio.sleep(0.2)

    async def _kill_one(self, strike: Strike) -> None:
        if standing := self._standing():
            await self._kill_worker(strike.blow, standing[strike.target % len(standing)])

    async def _kill_two(self, strike: Strike) -> None:
        standing = self._standing()
        self._dice.shuffle(standing)
        await asyncio.gather(*(self._kill_worker(strike.blow, one) for one in standing[:2]))

    async def _kill_leader(self, strike: Strike) -> None:
        leader = processes.find_leader(self._standing())
        if leader is None:
            await self._kill_one(strike)
        else:
            await self._kill_worker(strike.blow, leader)

    async def _kill_worker(self, blow: Blow, one: Program) -> None:
        is_leader = processes.find_leader(self.yard.workers) is one
        self._struck.add(one.name)
        pid = one.pid
        if one.kill():
            self.kills[blow] += 1
            self.watch.worker_died(blow, one, pid=pid, is_leader=is_leader)
        await asyncio.sleep(self._dice.uniform(0, 2))
        one.start()
        self._struck.discard(one.name)

    async def _kill_server(self, strike: Strike) -> None:
        async with self._server:
            self._struck.add(self.yard.server.name)
            if self.yard.server.kill():
                self.kills[strike.blow] += 1
            await self._start_server(strike.blow)

    async def _start_server(self, blow: Blow) -> None:
        back: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.watch.server_died(blow, back)
        self.yard.server.start()
        self._struck.discard(self.yard.server.name)
        await answers(self.yard.server_url, seconds=60 * self.yard.conditions.patience)
        back.set_result(None)

    async def _kill_database(self, strike: Strike) -> None:
        async with self._database:
            await self._stop_database(strike.blow)
            await asyncio.sleep(self._dice.uniform(0, 0.5))
            await self._start_database()

    async def _kill_database_twice(self, strike: Strike) -> None:
        async with self._database:
            await self._stop_database(strike.blow)
            self.yard.postgres.start()
            await asyncio.sleep(self._dice.uniform(0, 0.3))
            self._later(self._kill_one(strike))
            await self._stop_database(strike.blow)
            await self._start_database()

    async def _kill_backend(self, strike: Strike) -> None:
        async with self._database:
            if self.yard.postgres.kill_backend(self._dice):
                self.watch.database_down()
                self.watch.database_died(strike.blow)
                self.kills[strike.blow] += 1
                await asyncio.sleep(LOOK_SECONDS)
                await asyncio.to_thread(self.yard.postgres.wait_until_ready)
                self.watch.database_up()

    async def _stop_database(self, blow: Blow) -> None:
        self.watch.database_down()
        self.watch.database_died(blow)
        await asyncio.to_thread(self.yard.postgres.stop_immediately)
        self.kills[blow] += 1

    async def _start_database(self) -> None:
        self.yard.postgres.start()
        await asyncio.to_thread(self.yard.postgres.wait_until_ready)
        self.watch.database_up()

    async def _kill_at_step(self, strike: Strike) -> None:
        if strike.in_server:
            async with self._server:
                self._struck.add(self.yard.server.name)
                if self.yard.server.kill():
                    self.kills[Blow.SERVER] += 1
                self.yard.server.start(failpoint=strike.failpoint)
                await self._wait_for_end(self.yard.server, strike)
                await self._start_server(strike.blow)
            return
        self._steps += 1
        one = processes.worker(
            f"step-{self._steps}", settings=self.settings, folder=self.yard.folder
        )
        one.start(failpoint=strike.failpoint)
        await self._wait_for_end(one, strike)
        self.watch.worker_died(strike.blow, one, pid=one.pid, is_leader=False)

    async def _wait_for_end(self, program: Program, strike: Strike) -> None:
        """Wait until a process killed itself; end it when it does not come to the step."""
        deadline = time.monotonic() + STEP_SECONDS * self.yard.conditions.patience
        while program.exit_code != KILLED and time.monotonic() < deadline:
            await asyncio.sleep(LOOK_SECONDS)
            if program.exit_code not in {None, KILLED}:
                # It was started while PostgreSQL was down.
                self._note_ending(program)
                program.start(failpoint=strike.failpoint)
        if program.exit_code == KILLED:
            where = "server" if strike.in_server else "worker"
            self.kills[f"{where}: {strike.step}"] += 1
            return
        self.steps_missed.append(f"{program.name} {strike.failpoint}")
        if program.kill():
            self.kills["step not reached"] += 1

    def _note_ending(self, program: Program) -> None:
        code = program.exit_code or 0
        self.endings.append(Ending(name=program.name, code=code, age_seconds=program.age_seconds))

    async def _freeze_one(self, strike: Strike) -> None:
        if standing := self._standing():
            await self._freeze(strike.blow, standing[strike.target % len(standing)])

    async def _freeze_leader(self, strike: Strike) -> None:
        leader = processes.find_leader(self._standing())
        if leader is None:
            await self._freeze_one(strike)
        else:
            await self._freeze(strike.blow, leader)

    async def _freeze(self, blow: Blow, one: Program) -> None:
        is_leader = processes.find_leader(self.yard.workers) is one
        one.freeze()
        self.freezes += 1
        self.watch.frozen(blow, one, is_leader=is_leader)
        await asyncio.sleep(self.yard.conditions.freeze_seconds)
        one.thaw()

    def _standing(self) -> list[Program]:
        """Return the workers that no other blow has met just now."""
        return [
            one
            for one in self.yard.workers
            if one.is_running and not one.is_frozen and one.name not in self._struck
        ]

    def _later(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._after.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._after.discard(task)
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self._errors.append(error)

"""Worker processes as users run them, over a provider that does nothing; and a drain by them."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import IO
from uuid import UUID

import psycopg

from batchyard.clock import monotonic
from batchyard.models import Kind, Policy
from tools.bench import filling, yard

SLOTS = 2000
WARM_ITEMS = 2000
STOP_SECONDS = 15.0
LOG_TAIL = 2000


class Crew:
    """Some processes, and what they complained of."""

    def __init__(self, processes: Sequence[subprocess.Popen[bytes]], log: IO[bytes]) -> None:
        self._processes = processes
        self._log = log

    @property
    def pids(self) -> list[int]:
        """The processes."""
        return [process.pid for process in self._processes]

    @property
    def array(self) -> str:
        """The processes as SQL has them."""
        return f"ARRAY{self.pids}"

    def check(self) -> None:
        """Raise when a process has ended."""
        if any(process.poll() is not None for process in self._processes):
            raise RuntimeError(f"a process ended by itself: {self.read_log()[-LOG_TAIL:]}")

    def read_log(self) -> str:
        """Return what all of them have written."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")


@contextmanager
def running(
    *commands: Sequence[str], settings: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Crew]:
    """Run programs, modules of ours or installed ones, each a process, until the end."""
    environment = {**os.environ, "BATCHYARD_LOG_LEVEL": "warning", **settings}  # noqa: TID251  # handed on
    with tempfile.TemporaryFile() as log:
        processes = [
            subprocess.Popen(  # noqa: S603  # our own programs
                _program(command), env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
            for command in commands
        ]
        try:
            yield Crew(processes, log)
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                _wait_or_kill(process)


def _program(command: Sequence[str]) -> list[str]:
    if command[0].startswith("/"):
        return list(command)
    return [sys.executable, "-m", *command]


@dataclass(frozen=True, kw_only=True, slots=True)
class Habits:
    """How workers are set up."""

    policy: Policy = Policy.REPEATABLE
    slots: int = SLOTS
    team_concurrency: int = 10_000
    seconds: float = 0.0
    """How long their provider takes for an item."""


@contextmanager
def at_work(
    url: str, *, count: int, habits: Habits = Habits(), through: str | None = None
) -> Iterator[Crew]:
    """Run workers, registered and ready; `through` is where they find the database."""
    command = ["tools.bench.worker", "--url", through or url, "--policy", habits.policy]
    command += ["--slots", str(habits.slots), "--seconds", str(habits.seconds)]
    command += ["--team-concurrency", str(habits.team_concurrency)]
    with running(*[command] * count) as crew:
        wait_until_ready(url, crew)
        yield crew


def wait_until_ready(url: str, crew: Crew) -> None:
    """Return once every process of a crew is registered as a worker."""
    count = f"SELECT count(*) FROM workers WHERE ended_at IS NULL AND pid = ANY({crew.array})"
    wait_for(url, count, is_=len(crew.pids), crew=crew)


def nothing(batch_ids: Sequence[UUID]) -> None:
    """Prepare nothing."""
    del batch_ids


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What is to be drained."""

    items: int
    batches: int = 1
    kind: Kind = Kind.SHIPMENT
    agent_id: UUID | None = None


def drain(
    url: str,
    work: Work,
    *,
    count: int,
    policy: Policy = Policy.REPEATABLE,
    through: str | None = None,
    prepare: Callable[[Sequence[UUID]], None] = nothing,
) -> float:
    """Run work through workers that are warm; return items a second, from dispatch to end."""
    with at_work(url, count=count, habits=Habits(policy=policy), through=through) as crew:
        return drain_with(url, work, crew=crew, prepare=prepare)


def drain_with(
    url: str,
    work: Work,
    *,
    crew: Crew,
    prepare: Callable[[Sequence[UUID]], None] = nothing,
) -> float:
    """Run work through these workers; return items a second, from dispatch to end.

    `prepare` does what is still to be done to the batches before.
    """
    kind, agent_id = work.kind, work.agent_id
    warm = filling.fill(url, items=WARM_ITEMS, kind=kind, agent_id=agent_id)
    batches = filling.fill(
        url, items=work.items, batches=work.batches, kind=kind, agent_id=agent_id
    )
    prepare(batches)
    yard.dispatch(url, warm, kind=kind)
    yard.wait_until_ended(url, warm, check=crew.check)
    yard.settle(url)
    began = yard.dispatch(url, batches, kind=kind)
    return work.items / (yard.wait_until_ended(url, batches, check=crew.check) - began)


def wait_for(url: str, query: str, *, is_: int, crew: Crew) -> float:
    """Wait until a query yields a number; return when, by the clock of `monotonic`."""
    deadline = monotonic() + yard.PATIENCE_SECONDS
    with psycopg.connect(url, autocommit=True) as connection:
        while monotonic() < deadline:
            row = connection.execute(query).fetchone()
            if row is not None and row[0] == is_:
                return monotonic()
            crew.check()
            time.sleep(yard.LOOK_SECONDS)
    raise TimeoutError(f"not {is_} within {yard.PATIENCE_SECONDS:.0f} s: {query}")


def _wait_or_kill(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

"""A worker as users run it, over a provider that does nothing, at once or for a while."""

import argparse
import asyncio
import gc
import signal

import uvloop

from batchyard import logs
from batchyard.config import Config
from batchyard.engine.switchboard import Connected, Switchboard
from batchyard.engine.worker import run_worker
from batchyard.models import Answer, Ended, Kind, Policy, Request
from batchyard.providers.base import (
    Keep,
    Promise,
    Provider,
    Report,
    Surroundings,
    keep_nothing,
)
from batchyard.store.db import Database


class NoOp(Provider):
    """Ends every item, at once or after so many seconds."""

    kinds = frozenset(Kind)

    def __init__(self, surroundings: Surroundings, policy: Policy, seconds: float) -> None:
        super().__init__(surroundings)
        self._promise = Promise(policy=policy)
        self._seconds = seconds

    @property
    def promise(self) -> Promise:
        """Whatever the bench asks for."""
        return self._promise

    async def send(self, request: Request) -> Answer:
        """Do nothing."""
        if self._seconds:
            await asyncio.sleep(self._seconds)
        return Ended(status="completed" if request.kind is Kind.CALL else "booked")


class OneLine:
    """A switchboard that leads everywhere to one provider."""

    def __init__(self, provider: Provider) -> None:
        self._line = Connected(provider_id=1, provider=provider)

    async def choose(self, provider_id: int | None) -> Connected:
        """Return the one line."""
        del provider_id
        return self._line

    def connected(self, provider_id: int) -> Connected | None:
        """Return the one line for its id."""
        return self._line if provider_id == 1 else None

    async def watch(self) -> None:
        """Nothing changes."""
        await asyncio.Event().wait()

    async def close(self) -> None:
        """Nothing is held."""


async def work(given: argparse.Namespace) -> None:
    """Work until a signal."""
    db = Database(given.url)
    await db.open()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    async def connect(
        config: Config, db: Database, *, report: Report, keep: Keep = keep_nothing
    ) -> Switchboard:
        del config, keep
        surroundings = Surroundings(name="no-op", clock=db.clock, report=report)
        return OneLine(NoOp(surroundings, given.policy, given.seconds))

    config = Config(
        worker_slots=given.slots, team_concurrency=given.team_concurrency, stop_seconds=1
    )
    await run_worker(config, db, stop=stop, connect=connect)
    await db.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--policy", type=Policy, required=True)
    parser.add_argument("--slots", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--team-concurrency", type=int, required=True)
    given = parser.parse_args()
    logs.set_up("warning")
    gc.freeze()
    uvloop.run(work(given))

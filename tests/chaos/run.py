"""One run from the first process to the verdict."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from tests.chaos.judge import OPEN_BATCHES, Verdict, judge
from tests.chaos.killer import Killer
from tests.chaos.plan import Conditions, draw
from tests.chaos.watch import Eye, Watch, opened
from tests.chaos.yard import Yard, build

END_SECONDS = 150.0
"""How long everything may take to end after the last blow."""

WAITING = "SELECT coalesce(sum(n), 0)::int FROM batch_counts WHERE phase = 'ready'"


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """A run that is over."""

    verdict: Verdict
    killer: Killer
    yard: Yard
    seconds: float


@contextmanager
def scratch(*, is_kept: bool = False) -> Iterator[Path]:
    """Lend a folder that PostgreSQL's own user can reach."""
    folder = Path(tempfile.mkdtemp(prefix="batchyard-chaos-", dir="/var/tmp"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        if not is_kept:
            shutil.rmtree(folder, ignore_errors=True)


async def run(conditions: Conditions, folder: Path) -> Outcome:
    """Build the yard, break it by the plan, wait for its end, and judge."""
    began_at = time.monotonic()
    yard = await build(conditions, folder)
    watch = Watch(url=yard.url)
    killer = Killer(yard=yard, watch=watch, settings=yard.settings)
    beside = [
        asyncio.create_task(watch.check_balance()),
        asyncio.create_task(killer.supervise()),
    ]
    fed = asyncio.Event()
    feeding = asyncio.create_task(_feed(yard, until=fed))
    try:
        await killer.carry_out(draw(conditions))
        fed.set()
        await feeding
        with suppress(TimeoutError):
            await asyncio.wait_for(_until_ended(yard), END_SECONDS * conditions.patience)
        await watch.settle(seconds=30 * conditions.patience)
        verdict = await judge(yard, watch)
    finally:
        for task in [feeding, *beside]:
            task.cancel()
        await asyncio.gather(feeding, *beside, return_exceptions=True)
        await yard.close()
    seconds = time.monotonic() - began_at
    return Outcome(verdict=verdict, killer=killer, yard=yard, seconds=seconds)


async def _feed(yard: Yard, *, until: asyncio.Event) -> None:
    """Keep work waiting for as long as blows fall, and put in at least what was ordered."""
    conditions = yard.conditions
    size = conditions.items // conditions.batches
    total = 0
    async with opened(yard.url) as eye:
        for policy, kind in cycle(yard.lanes):
            while not until.is_set() and await _read_backlog(eye) >= conditions.backlog:
                await asyncio.sleep(0.1)
            if until.is_set() and total >= conditions.items:
                break
            await yard.make_batch(policy, kind, items=size)
            total += size


async def _read_backlog(eye: Eye) -> int:
    return int(str((await eye.insist(WAITING))[0][0]))


async def _until_ended(yard: Yard) -> None:
    async with opened(yard.url) as eye:
        while (await eye.insist(OPEN_BATCHES))[0][0]:
            await asyncio.sleep(0.2)

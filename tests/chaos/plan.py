"""What will be broken, and when: drawn from a seed before anything runs. Pure."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from batchyard.engine.failpoints import Step
from tests.chaos.vendors import Vendor


class Blow(StrEnum):
    """Ways to break the yard."""

    WORKER = "kill -9 of a worker"
    TWO_WORKERS = "kill -9 of two workers at once"
    LEADER = "kill -9 of the worker that leads the housekeeping"
    SERVER = "kill -9 of the server"
    DATABASE = "pg_ctl stop -m immediate, start"
    DATABASE_TWICE = "PostgreSQL again while it recovers, and a worker with it"
    BACKEND = "kill -9 of a PostgreSQL backend"
    STEP = "kill -9 at a named step"
    FREEZE = "SIGSTOP of a worker, SIGCONT later"
    FREEZE_LEADER = "SIGSTOP of the worker that leads, SIGCONT later"


KILLS = {Blow.TWO_WORKERS: 2, Blow.DATABASE_TWICE: 3, Blow.FREEZE: 0, Blow.FREEZE_LEADER: 0}
"""How many processes a blow kills, where it is not one."""

WEIGHTS = {
    Blow.WORKER: 24,
    Blow.TWO_WORKERS: 8,
    Blow.LEADER: 8,
    Blow.SERVER: 12,
    Blow.DATABASE: 8,
    Blow.DATABASE_TWICE: 3,
    Blow.BACKEND: 4,
    Blow.STEP: 40,
    Blow.FREEZE: 3,
    Blow.FREEZE_LEADER: 2,
}

LATEST_REACH = {
    Step.AFTER_CLAIM: 3,
    Step.AFTER_INTENT: 30,
    Step.AFTER_SEND: 30,
    Step.AFTER_OUTCOME: 6,
    Step.IN_CALLBACK: 10,
    Step.IN_COUNTING: 6,
    Step.BEFORE_KEEP: 6,
    Step.AFTER_KEEP: 6,
}
"""A step kills when it is reached for the n-th time; n is at most this."""

STEPS = tuple(step for step in LATEST_REACH if step not in {Step.BEFORE_KEEP, Step.AFTER_KEEP})
"""What is always struck. The steps around a kept reference are where a provider of two steps is."""

VENDOR_BATCH, VENDOR_BACKLOG, VENDOR_REACH = 60, 200, 6
"""A vendor is given less at once."""

WAYS = 3
"""The counting server is behind so many providers, each with its own cap; a vendor behind one."""

SHORT_REACH = 3
"""In the short form there is less to do."""

SERVER_STEPS = (Step.IN_CALLBACK, Step.AFTER_OUTCOME, Step.IN_COUNTING)
"""Steps that the server goes through as well, when it writes down callbacks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Strike:
    """One blow of the plan."""

    pause_seconds: float
    """How long after the strike before."""
    blow: Blow
    target: int
    """Which of the processes it meets, counted modulo how many there are."""
    step: Step | None = None
    reach: int = 1
    in_server: bool = False

    @property
    def kills(self) -> int:
        """How many processes it kills."""
        return KILLS.get(self.blow, 1)

    @property
    def failpoint(self) -> str:
        """What BATCHYARD_FAILPOINT says."""
        return f"{self.step}:{self.reach}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Conditions:
    """What a run is made of."""

    seed: int
    kills: int
    items: int
    batches: int
    workers: int
    concurrency: int
    """Items in flight at each provider."""
    backlog: int
    """So many items are kept waiting until the last blow has fallen."""
    pauses_seconds: tuple[float, float]
    freeze_seconds: float
    timeout_seconds: float
    is_short: bool
    vendor: Vendor | None = None
    """Whose fake takes the place of the counting server."""
    pace: float = 1.0
    """So many times as long from blow to blow, for a machine that takes seconds for a start."""
    patience: float = 1.0
    """So many times as long everything may take: for a machine that does other work too."""

    @property
    def steps(self) -> Sequence[Step]:
        """Every step that is struck."""
        vendor = self.vendor
        if vendor is None:
            return STEPS
        usual = (step for step in STEPS if vendor.calls_back or step is not Step.IN_CALLBACK)
        return (*usual, *vendor.steps)

    @property
    def server_steps(self) -> Sequence[Step]:
        """Those of them that the server goes through as well."""
        return SERVER_STEPS if self.vendor is None or self.vendor.calls_back else ()


def long_form(*, seed: int, kills: int, items: int) -> Conditions:
    """Return the conditions of `make chaos`."""
    return Conditions(
        seed=seed,
        kills=kills,
        items=items,
        batches=60,
        workers=3,
        concurrency=40,
        backlog=800,
        pauses_seconds=(0.2, 5.0),
        freeze_seconds=30,
        timeout_seconds=2.5,
        is_short=False,
    )


def short_form() -> Conditions:
    """Return the conditions of the test that everybody runs."""
    return Conditions(
        seed=7,
        kills=10,
        items=720,
        batches=6,
        workers=3,
        concurrency=12,
        backlog=300,
        pauses_seconds=(0.4, 1.6),
        freeze_seconds=12,
        timeout_seconds=1,
        is_short=True,
    )


def over(vendor: Vendor, conditions: Conditions) -> Conditions:
    """Return the conditions with a vendor's fake outside: fewer items, for all go one way."""
    batches = max(1, conditions.items // VENDOR_BATCH)
    return replace(
        conditions,
        vendor=vendor,
        batches=batches,
        backlog=VENDOR_BACKLOG,
        concurrency=WAYS * conditions.concurrency,
    )


def draw(conditions: Conditions) -> Sequence[Strike]:
    """Draw the strikes: every step and every other blow once, the rest by weight, shuffled.

    The short form has each step once, the plain kills, and one freeze at its beginning.
    """
    dice = random.Random(conditions.seed)
    strikes = [_step(dice, conditions, step) for step in conditions.steps]
    if conditions.is_short:
        blows = [Blow.WORKER, Blow.LEADER, Blow.SERVER, Blow.DATABASE]
    else:
        strikes += [
            _step(dice, conditions, step, in_server=True)
            for step in conditions.server_steps
            if step is not Step.IN_CALLBACK
        ]
        blows = [blow for blow in Blow if blow is not Blow.STEP]
    strikes += [_strike(dice, conditions, blow) for blow in blows]
    kinds, weights = list(WEIGHTS), list(WEIGHTS.values())
    while sum(strike.kills for strike in strikes) < conditions.kills:
        blow = dice.choices(kinds, weights)[0]
        if blow is Blow.STEP:
            step = dice.choice(conditions.steps)
            in_server = step in conditions.server_steps and dice.random() < 0.3
            strikes.append(_step(dice, conditions, step, in_server=in_server))
        else:
            strikes.append(_strike(dice, conditions, blow))
    dice.shuffle(strikes)
    if conditions.is_short:
        strikes.insert(1, _strike(dice, conditions, Blow.FREEZE_LEADER))
    return strikes


def count(strikes: Sequence[Strike]) -> Counter[Blow]:
    """Count strikes by blow."""
    return Counter(strike.blow for strike in strikes)


def _strike(dice: random.Random, conditions: Conditions, blow: Blow) -> Strike:
    return Strike(
        pause_seconds=dice.uniform(*conditions.pauses_seconds), blow=blow, target=dice.randrange(60)
    )


def _step(
    dice: random.Random, conditions: Conditions, step: Step, *, in_server: bool = False
) -> Strike:
    return Strike(
        pause_seconds=dice.uniform(*conditions.pauses_seconds),
        blow=Blow.STEP,
        target=0,
        step=step,
        reach=dice.randint(1, _latest_reach(conditions, step, in_server=in_server)),
        # Only the server takes callbacks.
        in_server=in_server or step is Step.IN_CALLBACK,
    )


def _latest_reach(conditions: Conditions, step: Step, *, in_server: bool) -> int:
    latest = LATEST_REACH[step]
    if conditions.vendor is not None and step is Step.IN_COUNTING and not in_server:
        # What ends a call comes to the server: a worker has little to write but plain news.
        return 1
    if conditions.is_short:
        return min(latest, SHORT_REACH)
    return latest if conditions.vendor is None else min(latest, VENDOR_REACH)

"""Row: ours beside queues that have a job for each item, on the same machine and settings."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from batchyard.clock import monotonic
from tools.bench import yard
from tools.bench.crew import Work, drain, running, wait_for
from tools.bench.figures import Line, Rates, Scale


@dataclass(frozen=True, kw_only=True, slots=True)
class Watched:
    """How much a rival is given, and how it is seen from outside."""

    items: int
    """As many as ours, or fewer where that takes minutes."""
    count_left: str
    count_workers: str


RIVALS: Mapping[str, Watched] = {
    "PgQueuer": Watched(
        items=100_000,
        count_left="SELECT EXISTS (SELECT FROM pgqueuer)::int",
        count_workers="SELECT count(*) FROM pg_stat_activity WHERE application_name = 'rival'",
    ),
    "Procrastinate": Watched(
        items=4_000,
        count_left="SELECT EXISTS (SELECT FROM procrastinate_jobs WHERE queue_name = 'rival')::int",
        count_workers="SELECT count(*) FROM procrastinate_workers",
    ),
}
"""The program that is one of them is `rival.py`; it needs the extra `bench`."""

OURS = "ours"
OUR_ITEMS = 100_000
WARM_JOBS = 300
GOAL = 1.5
WORKERS = (1, 2)


def measure(scale: Scale) -> Iterator[Line]:
    """Take turns: ours, then each rival with one worker and with two."""
    rates = Rates()
    with yard.postgres() as url:
        for name in RIVALS:
            _do("set-up", url, name)
        for _ in range(scale.rounds):
            for count in WORKERS:
                ours = drain(url, Work(items=scale.of(OUR_ITEMS)), count=count)
                rates.add(f"{OURS}, {count}", ours)
                yard.empty(url)
                for name, rival in RIVALS.items():
                    jobs = scale.of(rival.items, least=WARM_JOBS)
                    rates.add(f"{name}, {count}", _drain(url, name, jobs=jobs, count=count))
    best = {name: _best(rates, name) for name in (OURS, *RIVALS)}
    for name in RIVALS:
        yield Line(
            title=f"{name}, a job for each item, the better of 1 and 2 workers",
            figures=rates.spread(best[name]),
            ratio=f"ours is {rates.ratio(best[OURS], to=best[name]):.1f} times as fast",
            numbers=rates.all(*(f"{name}, {n}" for n in WORKERS)),
        )
    better = max((best[name] for name in RIVALS), key=rates.median)
    ratio = rates.ratio(best[OURS], to=better)
    yield Line(
        title="ours, the better of 1 and 2 workers",
        figures=rates.spread(best[OURS]),
        ratio=f"{ratio:.2f} of the better of them",
        goal=f"≥ {GOAL} of the better",
        is_met=ratio >= GOAL,
        numbers=rates.all(*(f"{OURS}, {n}" for n in WORKERS)),
    )


def _best(rates: Rates, name: str) -> str:
    return max((f"{name}, {n}" for n in WORKERS), key=rates.median)


def _drain(url: str, name: str, *, jobs: int, count: int) -> float:
    """Run jobs through workers that are warm; return jobs a second, from commit to end."""
    rival = RIVALS[name]
    with running(*[_command("work", url, name)] * count) as crew:
        wait_for(url, rival.count_workers, is_=count, crew=crew)
        _do("put-in", url, name, jobs=WARM_JOBS)
        wait_for(url, rival.count_left, is_=0, crew=crew)
        yard.settle(url)
        began = _do("put-in", url, name, jobs=jobs)
        return jobs / (wait_for(url, rival.count_left, is_=0, crew=crew) - began)


def _do(what: str, url: str, name: str, *, jobs: int = 0) -> float:
    """Have it done; return when it was, by the clock of `monotonic`."""
    command = [sys.executable, "-m", *_command(what, url, name), "--jobs", str(jobs)]
    subprocess.run(command, check=True)  # noqa: S603  # our own program
    return monotonic()


def _command(what: str, url: str, name: str) -> list[str]:
    return ["tools.bench.rival", what, "--name", name, "--url", url]

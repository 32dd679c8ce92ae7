"""Row: a million items in one batch, drained: neither memory nor time may grow on the way."""

from collections.abc import Iterator
from uuid import UUID

import psycopg

from batchyard.clock import monotonic
from tools.bench import filling, yard
from tools.bench.crew import WARM_ITEMS, Crew, at_work
from tools.bench.figures import Line, Rates, Scale, say
from tools.bench.memory import LIMIT, Memory, family
from tools.bench.serving import serving

ITEMS = 1_000_000
WORKERS = 1
PARTS = 5
"""The first of so many parts of the items is held against the last."""
GOAL = 0.8

COUNT_ENDED = "SELECT coalesce(sum(n), 0) FROM batch_counts WHERE batch_id = %s AND phase = 'done'"


def measure(scale: Scale) -> Iterator[Line]:
    """Drain once: it takes a minute, and has the length that matters."""
    items, rates = scale.of(ITEMS, least=20_000), Rates()
    with yard.postgres() as url, serving(url) as (_, server):
        warm = filling.fill(url, items=WARM_ITEMS)
        (batch_id,) = filling.fill(url, items=items)
        say(f"filled with {items:,} items")
        yard.settle(url)
        with (
            at_work(url, count=WORKERS) as crew,
            Memory(family(server=[server], worker=crew.pids)) as memory,
        ):
            yard.dispatch(url, warm)
            yard.wait_until_ended(url, warm, check=crew.check)
            began = yard.dispatch(url, [batch_id])
            marks = _watch(url, batch_id, items=items, crew=crew)
            rates.add("drain", items / (marks[-1] - began))
    part = items / PARTS
    rates.add("start", part / (marks[0] - began))
    rates.add("end", part / (marks[-1] - marks[-2]))
    ratio = rates.ratio("end", to="start")
    server_mb, worker_mb = memory.largest_of("server"), memory.largest_of("worker")
    yield Line(
        title=f"{items:,} items in one batch, drained by {WORKERS} worker",
        figures=f"{rates.spread('drain')}; worker {worker_mb:.0f} MB, server {server_mb:.0f} MB",
        ratio=f"the last fifth at {ratio:.2f} of the rate of the first",
        goal=f"≥ {GOAL}; ≤ {LIMIT:.0f} MB each",
        is_met=ratio >= GOAL and memory.largest <= LIMIT,
        numbers={**rates.all(), "megabytes": memory.most, "marks": [m - began for m in marks]},
    )


def _watch(url: str, batch_id: UUID, *, items: int, crew: Crew) -> list[float]:
    """Return when each part of the items had ended, by the clock of `monotonic`."""
    marks: list[float] = []
    with psycopg.connect(url, autocommit=True) as connection:

        def look() -> None:
            crew.check()
            row = connection.execute(COUNT_ENDED, (batch_id,)).fetchone()
            ended = int(row[0]) if row else 0
            while len(marks) < PARTS - 1 and ended >= items / PARTS * (len(marks) + 1):
                marks.append(monotonic())

        marks.append(yard.wait_until_ended(url, [batch_id], check=look))
    return sorted(marks)

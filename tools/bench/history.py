"""Row: the drain with millions of finished items beside it, and without."""

from collections.abc import Iterator

from tools.bench import filling, yard
from tools.bench.crew import Work, at_work, drain_with
from tools.bench.figures import Line, Rates, Scale, say

FINISHED = 5_000_000
BATCHES = 50
ITEMS = 50_000
WORKERS = 1
GOAL = 0.8


def measure(scale: Scale) -> Iterator[Line]:
    """Take turns between two databases of one server: one empty, one full."""
    work, rates = Work(items=scale.of(ITEMS)), Rates()
    finished = scale.of(FINISHED, least=BATCHES)
    with yard.postgres() as url:
        full = yard.another_database(url, "full")
        filling.fill(full, items=finished, batches=BATCHES, is_done=True)
        say(f"filled with {finished:,} finished items")
        yard.settle(full)
        for _ in range(scale.rounds):
            for name, where in (("empty", url), ("full", full)):
                with at_work(where, count=WORKERS) as crew:
                    rates.add(name, drain_with(where, work, crew=crew))
    ratio = rates.ratio("full", to="empty")
    yield Line(
        title=f"{work.items:,} items, {finished:,} finished ones present",
        figures=f"{rates.spread('full')}; without them {rates.spread('empty')}",
        ratio=f"{ratio:.2f} of the rate without them",
        goal=f"≥ {GOAL}",
        is_met=ratio >= GOAL,
        numbers=rates.all(),
    )

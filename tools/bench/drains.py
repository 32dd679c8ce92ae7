"""Rows: what the bare SQL moves, and what workers move with every promise kept."""

from collections.abc import Iterator

from batchyard.models import Policy
from tools.bench import yard
from tools.bench.crew import Work, drain
from tools.bench.figures import Line, Rates, Scale
from tools.bench.floor import floor

ITEMS = 100_000
GOALS = {Policy.REPEATABLE: 20_000, Policy.NEITHER: 15_000}
"""Items a second, by what the provider promises."""
GOAL_OF_FLOOR = 0.5
WORKERS = (1, 2)


def measure(scale: Scale) -> Iterator[Line]:
    """Take turns: the floor, then each way to drain, and again."""
    items, rates = scale.of(ITEMS), Rates()
    ways = [(policy, count) for policy in GOALS for count in WORKERS]
    with yard.postgres() as url:
        for _ in range(scale.rounds):
            rates.add("floor", floor(url, items=items))
            yard.empty(url)
            for policy, count in ways:
                rate = drain(url, Work(items=items), count=count, policy=policy)
                rates.add(_name(policy, count), rate)
                yard.empty(url)
    yield Line(
        title="floor: bare SQL, one connection, claim and settle 500 at a time",
        figures=rates.spread("floor"),
        numbers=rates.all("floor"),
    )
    for policy, count in ways:
        name = _name(policy, count)
        ratio, rate = rates.ratio(name, to="floor"), rates.median(name)
        has_floor = policy is Policy.REPEATABLE
        yield Line(
            title=f"{items:,} items, no-op provider that promises `{policy}`, {_workers(count)}",
            figures=rates.spread(name),
            ratio=f"{ratio:.2f} of the floor",
            goal=f"≥ {GOALS[policy]:,}"
            + (f" and ≥ {GOAL_OF_FLOOR} of the floor" if has_floor else ""),
            is_met=rate >= GOALS[policy] and (not has_floor or ratio >= GOAL_OF_FLOOR),
            numbers=rates.all(name),
        )


def _name(policy: Policy, count: int) -> str:
    return f"{policy}, {_workers(count)}"


def _workers(count: int) -> str:
    return "1 worker" if count == 1 else f"{count} workers"

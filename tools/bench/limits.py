"""Rows: what each limit costs that is set but never holds anything back."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from uuid import UUID

from batchyard.models import Kind, Rate
from batchyard.operations.limits import set_limit
from tools.bench import filling, yard
from tools.bench.crew import Work, at_work, drain_with
from tools.bench.figures import Line, Rates, Scale

ITEMS = 40_000
WORKERS = 1
GOAL = 0.15
"""Of the rate without the limit."""
CAP = 100_000
RATE = Rate(count=1_000_000, seconds=1)
"""Neither ever holds anything back: what is measured is the counting."""
BURST = 1_000_000

NONE = "none"
SCOPES: Mapping[str, Callable[[UUID, UUID], str]] = {
    "provider": lambda _batch, _agent: "provider:sandbox",
    "team": lambda _batch, _agent: f"team:{yard.SLUG}",
    "agent": lambda _batch, agent: f"agent:{agent}",
    "batch": lambda batch, _agent: f"batch:{batch}",
    "rate": lambda batch, _agent: f"batch:{batch}",
}
"""Each limit alone; the line that the workers know has the place of the sandbox."""


def measure(scale: Scale) -> Iterator[Line]:
    """Take turns: no limit but the team's usual cap, then each alone."""
    items, rates = scale.of(ITEMS), Rates()
    with yard.postgres() as url:
        agent = filling.make_agent(url)
        work = Work(items=items, kind=Kind.CALL, agent_id=agent)
        for _ in range(scale.rounds):
            for name in (NONE, *SCOPES):
                with at_work(url, count=WORKERS) as crew:
                    rate = drain_with(url, work, crew=crew, prepare=_setting(url, name, agent))
                rates.add(name, rate)
                yard.empty(url)
                yard.without_limits(url)
    yield Line(
        title=f"{items:,} calls, no limit but a team's usual cap",
        figures=rates.spread(NONE),
        numbers=rates.all(NONE),
    )
    for name in SCOPES:
        cost = 1 - rates.ratio(name, to=NONE)
        yield Line(
            title=f"the same with a limit: {name}",
            figures=rates.spread(name),
            ratio=f"costs {max(0.0, cost):.0%}",
            goal=f"≤ {GOAL:.0%}",
            is_met=cost <= GOAL,
            numbers=rates.all(name),
        )


def _setting(url: str, name: str, agent: UUID) -> Callable[[Sequence[UUID]], None]:
    def set_it(batch_ids: Sequence[UUID]) -> None:
        if name == NONE:
            return
        is_rate = name == "rate"
        for batch_id in batch_ids:
            scope = SCOPES[name](batch_id, agent)
            yard.do(
                url,
                lambda db, scope=scope: set_limit(  # type: ignore[misc]  # bound at once
                    db,
                    scope=scope,
                    concurrency=None if is_rate else CAP,
                    rates=[RATE] if is_rate else [],
                    burst=BURST if is_rate else None,
                ),
            )

    return set_it

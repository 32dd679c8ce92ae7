"""Row: a small batch beside another team's flood, and on an empty system."""

import time
from collections.abc import Iterator
from uuid import UUID

from batchyard.models import Kind, Team
from batchyard.operations.control import pause_batch, resume_batch
from tools.bench import filling, yard
from tools.bench.crew import Crew, Habits, at_work
from tools.bench.figures import Line, Rates, Scale

FLOOD = 200_000
SMALL = 100
SMALL_TEAM = "small"
HABITS = Habits(slots=500, team_concurrency=500, seconds=0.2)
"""The usual settings, and a provider that takes a while."""
ROUNDS = 5
SETTLE_SECONDS = 1.0
GOAL = 2.0


def measure(scale: Scale) -> Iterator[Line]:
    """Take turns: the flood paused, the flood running."""
    rates = Rates()
    with yard.postgres() as url:
        team = yard.ensure_team(url)
        (flood,) = filling.fill(url, items=scale.of(FLOOD, least=20_000))
        yard.ensure_team(url, SMALL_TEAM)
        yard.settle(url)
        with at_work(url, count=1, habits=HABITS) as crew:
            yard.dispatch(url, [flood])
            for _ in range(max(scale.rounds, ROUNDS) if scale.is_full else 1):
                _steer(url, team, flood, is_on=False)
                rates.add("alone", _drain_small(url, crew), unit="s")
                _steer(url, team, flood, is_on=True)
                rates.add("beside", _drain_small(url, crew), unit="s")
            left = yard.count_ready(url, [flood])
    if not left:
        raise RuntimeError("the flood ended before the last round")
    ratio = rates.ratio("beside", to="alone")
    yield Line(
        title=f"{SMALL} items of one team beside {scale.of(FLOOD, least=20_000):,} of another",
        figures=f"{rates.spread('beside', 's')}; on an empty system {rates.spread('alone', 's')}",
        ratio=f"{ratio:.2f} times as long",
        goal=f"≤ {GOAL:.0f}",
        is_met=ratio <= GOAL,
        numbers={**rates.all(), "left": left},
    )


def _drain_small(url: str, crew: Crew) -> float:
    """Return how many seconds the small batch took, from its dispatch to its end."""
    small = filling.fill(url, items=SMALL, slug=SMALL_TEAM)
    began = yard.dispatch(url, small, slug=SMALL_TEAM)
    return yard.wait_until_ended(url, small, check=crew.check) - began


def _steer(url: str, team: Team, batch_id: UUID, *, is_on: bool) -> None:
    steer = resume_batch if is_on else pause_batch
    yard.do(url, lambda db: steer(db, team=team, kind=Kind.SHIPMENT, batch_id=batch_id))
    time.sleep(SETTLE_SECONDS)

"""What a run finds out: the lines of one table, and how large the run is."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from batchyard.clock import monotonic


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One line of the table."""

    title: str
    figures: str
    ratio: str = ""
    goal: str = ""
    is_met: bool | None = None
    """None: a reference, without a goal."""
    numbers: Mapping[str, object] = field(default_factory=dict)
    """Everything that was measured, for `--json`."""
    is_broken: bool = False
    """The row could not be measured to its end; `figures` say why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """How large a run is; the goals are those of the full one."""

    share: float = 1.0
    rounds: int = 3
    soak_minutes: float = 20.0

    @property
    def is_full(self) -> bool:
        """Whether the figures may be held against the goals."""
        return self.share == 1.0

    def of(self, number: int, *, least: int = 1) -> int:
        """Scale a number of things."""
        return max(least, round(number * self.share))

    def seconds(self, number: float) -> float:
        """Scale a stretch of time that is measured in, but not below a second."""
        return max(1.0, number * self.share)


FULL = Scale()
QUICK = Scale(share=0.02, rounds=1, soak_minutes=0.2)

Row = Callable[[Scale], Iterator[Line]]
"""Measures, and yields each line as soon as it is known."""


class Rates:
    """Figures of several rounds, by what they are of."""

    def __init__(self) -> None:
        self._all: dict[str, list[float]] = {}

    def add(self, name: str, value: float, *, unit: str = "items/s") -> None:
        """Keep a figure, and say it."""
        self._all.setdefault(name, []).append(value)
        say(f"{name}: {show(value)} {unit}")

    def median(self, name: str) -> float:
        """Return the middle of the rounds."""
        return median(self._all[name])

    def ratio(self, name: str, *, to: str) -> float:
        """Return how one compares with another: the middle of the ratios within each round."""
        pairs = zip(self._all[name], self._all[to], strict=True)
        return median(value / reference for value, reference in pairs)

    def spread(self, name: str, unit: str = "items/s") -> str:
        """Write the median, and between what the rounds were."""
        values = self._all[name]
        text = f"{show(median(values))} {unit}"
        if len(values) == 1:
            return f"{text} (n 1)"
        return f"{text} ({show(min(values))} to {show(max(values))}, n {len(values)})"

    def all(self, *names: str) -> dict[str, Sequence[float]]:
        """Return every round, for `--json`."""
        return {name: self._all[name] for name in names or self._all}


def show(value: float) -> str:
    """Write a number with as many digits as tell something."""
    return f"{value:,.{0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2}f}"


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that this share of all does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


_BEGAN = monotonic()


def say(text: str) -> None:
    """Tell whoever waits what was just found out."""
    print(f"[{monotonic() - _BEGAN:6.0f} s] {text}", file=sys.stderr, flush=True)

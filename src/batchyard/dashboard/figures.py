"""What the counts of a batch say: how far it is, how fast it goes, when it may end; pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from batchyard.dashboard.words import STATUSES, Tone
from batchyard.lifecycle import IN_FLIGHT_PHASES
from batchyard.models import Phase

PACE_WINDOW = timedelta(seconds=60)
"""How far back the pace looks."""

BAR_LENGTH = 1000
LEAST_LENGTH = 6
"""In units of the bar: what is there can be seen, however few it is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """Items of one status, and their place in the bar."""

    status: str
    word: str
    tone: Tone
    n: int
    start: int
    length: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """How the items of a batch stand: by phase and status, joined with a slash."""

    counts: Mapping[str, int]

    @property
    def total(self) -> int:
        """All items."""
        return sum(self.counts.values())

    @property
    def done(self) -> int:
        """Items that have ended."""
        return self._in(Phase.DONE)

    @property
    def in_flight(self) -> int:
        """Items that are out, or about to be."""
        return sum(self._in(phase) for phase in IN_FLIGHT_PHASES)

    @property
    def unsent(self) -> int:
        """Items that are ready and wait."""
        return self._in(Phase.READY)

    @property
    def unknown(self) -> int:
        """Items that wait for a person."""
        return self._in(Phase.UNKNOWN)

    @property
    def failed(self) -> int:
        """Items that ended badly."""
        return sum(n for word, n in self.by_status.items() if STATUSES[word][1] is Tone.BAD)

    @property
    def by_status(self) -> Mapping[str, int]:
        """How many items have each status, in the order of the bar."""
        found = dict.fromkeys(STATUSES, 0)
        for key, n in self.counts.items():
            found[key.partition("/")[2]] += n
        return {word: n for word, n in found.items() if n}

    def segments(self) -> Iterator[Segment]:
        """Yield the parts of a progress bar from left to right."""
        total, start = self.total, 0
        known = self.by_status
        lengths = {word: max(LEAST_LENGTH, BAR_LENGTH * n // total) for word, n in known.items()}
        if lengths:
            # What was given to the small ones, or lost by rounding, is the largest one's affair.
            largest = max(lengths, key=lengths.__getitem__)
            lengths[largest] += BAR_LENGTH - sum(lengths.values())
        for status, n in known.items():
            word, tone = STATUSES[status]
            yield Segment(
                status=status, word=word, tone=tone, n=n, start=start, length=lengths[status]
            )
            start += lengths[status]

    def _in(self, phase: Phase) -> int:
        return sum(n for key, n in self.counts.items() if key.startswith(f"{phase}/"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """How fast items end."""

    per_minute: float
    seconds_left: float | None
    """Until all have ended at this pace; None where it says nothing."""


def pace_since(now: datetime, bucket: timedelta) -> datetime:
    """Return from which bucket on ends are counted: whole buckets of the window."""
    start = now - PACE_WINDOW
    return start - timedelta(seconds=start.timestamp() % bucket.total_seconds())


def measure_pace(
    ended: int, *, since: datetime, started_at: datetime | None, to_go: int, now: datetime
) -> Pace:
    """Return the pace of `ended` items since then, and what that means for those to go."""
    begin = since if started_at is None else max(since, started_at)
    minutes = max((now - begin).total_seconds(), 1.0) / 60
    per_minute = ended / minutes
    left = to_go / per_minute * 60 if per_minute and to_go else None
    return Pace(per_minute=per_minute, seconds_left=left)

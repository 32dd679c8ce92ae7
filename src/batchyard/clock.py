"""The only place that reads the clock: the machine's, corrected to PostgreSQL's."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]


class DatabaseClock:
    """Wall time as PostgreSQL sees it, without asking it each time."""

    def __init__(self) -> None:
        self._offset = timedelta(0)

    def __call__(self) -> datetime:
        """Return the time, UTC."""
        return machine_now() + self._offset

    def correct(self, *, database_now: datetime, asked_at: float, answered_at: float) -> None:
        """Measure the offset from one question to the database.

        `asked_at` and `answered_at` are `monotonic()` readings around the question. An answer that
        took long tells little: the offset stays as long as the answer does not prove it wrong.
        """
        half = timedelta(seconds=(answered_at - asked_at) / 2)
        halfway_ago = timedelta(seconds=monotonic() - answered_at) + half
        measured = database_now - (machine_now() - halfway_ago)
        if abs(measured - self._offset) > half:
            self._offset = measured


def machine_now() -> datetime:
    """Return the machine's own time, UTC."""
    return datetime.now(UTC)


def monotonic() -> float:
    """Return seconds that never go backwards; for durations only."""
    return time.monotonic()

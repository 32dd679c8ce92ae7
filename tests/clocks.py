"""A clock that tests set."""

from datetime import datetime, timedelta

from batchyard.clock import DatabaseClock, machine_now


class SetClock(DatabaseClock):
    """Runs on from the time it was set to, whatever PostgreSQL says."""

    def __init__(self, at: datetime) -> None:
        super().__init__()
        self.shift = timedelta(0)
        self.set(at)

    def set(self, at: datetime) -> None:
        """Go on from this time."""
        self.shift = at - machine_now()

    def __call__(self) -> datetime:
        return machine_now() + self.shift

    def correct(self, *, database_now: datetime, asked_at: float, answered_at: float) -> None:
        """Stay as it was set."""


class StandingClock(SetClock):
    """Stands still at the time it was set to."""

    def set(self, at: datetime) -> None:
        """Stand still at this time."""
        self.at = at

    def __call__(self) -> datetime:
        return self.at

"""How much may start now: caps and token buckets; pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

PACE = 0.98
"""A rate is refilled a little slower than it allows: what was admitted on time leaves the house
some milliseconds early or late, and must not exceed the rate where it is counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bucket:
    """A rate: `count` items per `seconds`, at most `burst` of them at one moment.

    With the burst of 1 no `seconds` ever see more than `count`; a larger one may add to a single
    stretch of time what it allows beyond the first item.
    """

    seconds: int
    count: int
    burst: int
    tokens: float
    refilled_at: datetime

    def refill(self, now: datetime) -> "Bucket":
        """Return the bucket as it is at `now`."""
        passed = max(0.0, (now - self.refilled_at).total_seconds())
        tokens = min(float(self.burst), self.tokens + passed * self._per_second)
        return replace(self, tokens=tokens, refilled_at=max(now, self.refilled_at))

    def take(self, items: int) -> "Bucket":
        """Return the bucket after `items` have started; refill it first."""
        return replace(self, tokens=self.tokens - items)

    @property
    def _per_second(self) -> float:
        return self.count * PACE / self.seconds

    @property
    def available(self) -> int:
        """How many items may start; refill it first."""
        return max(0, int(self.tokens + 1e-9))

    @property
    def next_token_at(self) -> datetime:
        """When the next item may start; refill it first."""
        missing = max(0.0, 1.0 - self.tokens)
        return self.refilled_at + timedelta(seconds=missing / self._per_second)


@dataclass(frozen=True, kw_only=True, slots=True)
class Allowance:
    """What one scope still allows within one admission."""

    key: str
    cap: int | None
    in_flight: int
    buckets: tuple[Bucket, ...] = ()

    @property
    def room(self) -> int | None:
        """How many items may start; None is without limit."""
        rooms = [bucket.available for bucket in self.buckets]
        if self.cap is not None:
            rooms.append(max(0, self.cap - self.in_flight))
        return min(rooms) if rooms else None

    @property
    def opens_at(self) -> datetime | None:
        """When the rates allow another item; None when it is the cap that holds."""
        if self.cap is not None and self.in_flight >= self.cap:
            return None
        times = [bucket.next_token_at for bucket in self.buckets if bucket.available == 0]
        return max(times, default=None)

    def take(self, items: int) -> "Allowance":
        """Return the allowance after `items` have started."""
        return replace(
            self,
            in_flight=self.in_flight + items,
            buckets=tuple(bucket.take(items) for bucket in self.buckets),
        )


def strictest(allowances: Iterable[Allowance], *, at_most: int) -> tuple[int, Allowance | None]:
    """Return how many items may start under all of these, and which one holds most."""
    room, holder = at_most, None
    for allowance in allowances:
        if allowance.room is not None and allowance.room < room:
            room, holder = allowance.room, allowance
    return room, holder

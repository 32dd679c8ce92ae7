"""How much may start now: caps and token buckets; pure."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

PACE = 0.98
"""A rate is refilled a little slower than it allows: what was admitted on time leaves the house
some milliseconds early or late, and must not exceed the rate where it is counted."""

SHARE_SECONDS = 0.5
"""So often what teams share is dealt anew: who has half an item more has it half of the time."""

GOLDEN = (math.sqrt(5) - 1) / 2
"""Its multiples, taken modulo one, lie evenly however many there are."""


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
    dealt_until: datetime | None = None
    """While the cap is the share beside others that wait for it: when that is dealt anew."""

    @property
    def is_full(self) -> bool:
        """Whether the cap allows no other item."""
        return self.cap is not None and self.in_flight >= self.cap

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
        if self.is_full:
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A team that has more due than a cap over several teams lets it send."""

    team_id: int
    weight: int
    in_flight: int


def share_out(
    allowance: Allowance, claims: Sequence[Claim], *, team_id: int, now: datetime
) -> Allowance:
    """Return what a cap over several teams allows one of them beside the others that wait for it.

    Each may have what its weight gives it of the room that they have together, in whole items: of
    the rest of the division, each has its part of the time. `claims` are all of them.
    """
    if allowance.cap is None or allowance.is_full:
        return allowance
    free = allowance.cap - allowance.in_flight
    room = free + sum(claim.in_flight for claim in claims)
    deal = int(now.timestamp() // SHARE_SECONDS)
    mine = sum(claim.in_flight for claim in claims if claim.team_id == team_id)
    more = min(free, max(0, _part(claims, team_id, room=room, shift=deal * GOLDEN % 1) - mine))
    if more == free:
        return allowance
    return replace(
        allowance,
        cap=allowance.in_flight + more,
        dealt_until=datetime.fromtimestamp((deal + 1) * SHARE_SECONDS, UTC),
    )


def _part(claims: Sequence[Claim], team_id: int, *, room: int, shift: float) -> int:
    """Divide room by weight; over all shifts each part is exact, and all add up to the room."""
    total = sum(claim.weight for claim in claims)
    part = begin = 0
    for claim in sorted(claims, key=lambda one: one.team_id):
        end = begin + claim.weight
        if claim.team_id == team_id:
            part = math.floor(room * end / total + shift) - math.floor(room * begin / total + shift)
        begin = end
    return part

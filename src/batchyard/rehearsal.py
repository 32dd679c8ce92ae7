"""What a batch would do, played through under the rules that admission uses; pure.

One event after another: an item falls due, passes its window, is admitted under every limit, is out
for a while, ends, is planned again. Of a large batch a part is played, each item for several.
"""

import heapq
from collections import Counter, defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from batchyard import retry
from batchyard.limits import Allowance, Bucket, strictest
from batchyard.models import RetryPolicy
from batchyard.windows import Window, day_start, next_span

HOUR = 3600.0
LONGEST_SECONDS = 366 * 24 * HOUR
"""A batch that would run longer is broken off here."""

MOST_STEPS = 120
STEPS = (1, 2, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600, 24 * 3600, 4 * 24 * 3600)
"""How long a step of the pace is, in seconds: the shortest of which there are few enough."""

WINDOW, RETRY, PAUSED, EARLIER = "window", "retry", "retry_after", "earlier_items"
"""Reasons beside the limits, in the words of `operations.waiting`."""

SLOTS = "slots"
"""The key of what the workers can have out at once: no limit, so others go first."""

CANCELED = "canceled"


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What becomes of one attempt."""

    status: str
    busy_seconds: float
    """How long it counts against the caps."""
    cost_minor: float = 0
    currency: str | None = None
    by_voicemail: bool = False
    refused_seconds: float | None = None
    """Its first delivery is refused, and everybody is asked to wait so long."""


class Outlook(Protocol):
    """Knows, or guesses, what becomes of attempts."""

    def outcome(self, item: int, attempt: int) -> Outcome:
        """Return what becomes of an attempt, counted from 1, of an item by its index."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ceiling:
    """A limit: at most `cap` at once, and rates with what they allow when the batch starts."""

    key: str
    """The scope: team, provider, agent or batch; or `SLOTS`."""
    cap: int | None = None
    rates: tuple[Bucket, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A batch as it would be started."""

    zones: Sequence[tuple[str, ...]]
    """Of each item that is played; none where they do not matter."""
    stands_for: float = 1.0
    """How many items each of them is."""
    start_at: datetime
    retry_policy: RetryPolicy = field(default_factory=RetryPolicy)
    ceilings: Sequence[Ceiling] = ()
    window: Window | None = None
    fallback_zone: str | None = None
    numbers: Sequence[str | None] = ()
    """Whom each item calls, where attempts are limited."""
    attempts_per_day: int | None = None
    attempts_per_week: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Played:
    """What the batch did."""

    attempts: float
    retries: float
    """Attempts after an item's first."""
    attempts_ended: Mapping[str, float]
    """Attempts by their status."""
    ended: Mapping[str, float]
    """Items by their last status."""
    costs: Mapping[str, float]
    """By currency, in minor units."""
    starts_at: datetime | None
    """When the first item was sent."""
    ends_at: datetime
    busiest_hour: datetime | None
    busiest_hour_attempts: float
    pace: Sequence[tuple[datetime, float]]
    """Attempts that begin from each moment on, in steps of equal length."""
    waits: Mapping[str, float]
    """Seconds that items waited, by the reason that held them."""


def play(plan: Plan, outlook: Outlook) -> Played:
    """Play a batch through."""
    return _Run(plan, outlook).play()


class _Run:
    """One play."""

    def __init__(self, plan: Plan, outlook: Outlook) -> None:
        self._plan = plan
        self._outlook = outlook
        self._scale = _Scale(plan)
        self._now = 0.0
        self._due: list[tuple[float, int, int, bool]] = [
            (0.0, index, 1, False) for index in range(len(plan.zones))
        ]
        self._out: list[tuple[float, int, int, Outcome]] = []
        self._ready: deque[tuple[int, int, bool]] = deque()
        self._paused_until = 0.0
        self._reasons: Counter[str] = Counter()
        """Items that are due later, by why."""
        self._why: dict[tuple[int, int], str] = {}
        self._hours = _Hours(plan)
        self._numbers = _Numbers(plan)
        self._holder: str | None = None
        self._opens_at: float | None = None
        self._attempts = self._retries = 0
        self._attempts_ended: Counter[str] = Counter()
        self._ended: Counter[str] = Counter()
        self._costs: defaultdict[str, float] = defaultdict(float)
        self._by_hour: Counter[int] = Counter()
        self._by_second: Counter[int] = Counter()
        self._waits: defaultdict[str, float] = defaultdict(float)
        self._first: float | None = None
        start = plan.start_at
        self._past_hour = start.minute * 60 + start.second + start.microsecond / 1e6
        self._last = 0.0
        self._allowances = self._scale.allowances()

    def play(self) -> Played:
        """Go from event to event until nothing is left."""
        while self._due or self._out or self._ready:
            self._step_to(self._next_event())
            if self._now > LONGEST_SECONDS:
                break
            while self._out and self._out[0][0] <= self._now:
                self._end(*heapq.heappop(self._out)[1:])
            while self._due and self._due[0][0] <= self._now:
                _, item, attempt, is_again = heapq.heappop(self._due)
                reason = self._why.pop((item, attempt), None)
                if reason is not None:
                    self._reasons[reason] -= 1
                self._ready.append((item, attempt, is_again))
            self._admit()
        return self._result()

    def _next_event(self) -> float:
        times = [heap[0][0] for heap in (self._due, self._out) if heap]
        if self._ready and self._opens_at is not None:
            times.append(self._opens_at)
        return max(self._now, min(times))

    def _step_to(self, time: float) -> None:
        passed = time - self._now
        self._now = time
        if passed <= 0:
            return
        if self._ready and self._holder is not None:
            self._waits[self._holder] += passed * len(self._ready)
        for reason, items in self._reasons.items():
            self._waits[reason] += passed * items

    def _admit(self) -> None:
        self._holder = self._opens_at = None
        now = self._moment(self._now)
        self._allowances = [
            replace(one, buckets=tuple(bucket.refill(now) for bucket in one.buckets))
            for one in self._allowances
        ]
        while self._ready:
            if self._paused_until > self._now:
                self._holder, self._opens_at = PAUSED, self._paused_until
                return
            room, holder = strictest(self._allowances, at_most=1)
            if room < 1 and holder is not None:
                self._wait_for(holder)
                return
            item, attempt, is_again = self._ready.popleft()
            opens_at = self._hours.opening(self._plan.zones[item], self._now)
            if opens_at is None:
                self._ended[CANCELED] += 1
            elif opens_at > self._now:
                self._later(opens_at, item, attempt, is_again=is_again, reason=WINDOW)
            else:
                self._send(item, attempt, is_again=is_again)

    def _wait_for(self, holder: Allowance) -> None:
        if holder.opens_at is None:
            self._holder = EARLIER if holder.key == SLOTS else f"{holder.key}_cap"
            return
        self._holder = f"{holder.key}_rate"
        # A little later, so that rounding never asks for the same moment twice.
        self._opens_at = (holder.opens_at - self._plan.start_at).total_seconds() + 1e-4

    def _send(self, item: int, attempt: int, *, is_again: bool) -> None:
        if not self._numbers.may_be_called(item, self._moment(self._now)):
            self._ended[CANCELED] += 1
            return
        outcome = self._outlook.outcome(item, attempt)
        if outcome.refused_seconds is not None and not is_again:
            self._allowances = [one.take(1) for one in self._allowances]
            self._release()
            self._paused_until = max(self._paused_until, self._now + outcome.refused_seconds)
            again_at = self._now + outcome.refused_seconds
            self._later(again_at, item, attempt, is_again=True, reason=PAUSED)
            return
        self._first = self._now if self._first is None else self._first
        self._attempts += 1
        self._retries += attempt > 1
        self._numbers.note(item, self._moment(self._now))
        self._by_hour[int((self._past_hour + self._now) // HOUR)] += 1
        self._by_second[int(self._now)] += 1
        self._allowances = [one.take(1) for one in self._allowances]
        ends_at = self._now + outcome.busy_seconds * self._scale.stretch
        heapq.heappush(self._out, (ends_at, item, attempt, outcome))

    def _end(self, item: int, attempt: int, outcome: Outcome) -> None:
        self._release()
        self._last = self._now
        self._attempts_ended[outcome.status] += 1
        if outcome.currency is not None:
            self._costs[outcome.currency] += outcome.cost_minor
        again_at = retry.plan(
            self._plan.retry_policy,
            status=outcome.status,
            answered_by_voicemail=outcome.by_voicemail,
            attempt=attempt,
            key=f"{item}.{attempt}",
            now=self._moment(self._now),
        )
        if again_at is None:
            self._ended[outcome.status] += 1
            return
        seconds = (again_at - self._plan.start_at).total_seconds()
        self._later(seconds, item, attempt + 1, is_again=False, reason=RETRY)

    def _release(self) -> None:
        self._allowances = [replace(one, in_flight=one.in_flight - 1) for one in self._allowances]

    def _later(self, time: float, item: int, attempt: int, *, is_again: bool, reason: str) -> None:
        self._reasons[reason] += 1
        self._why[item, attempt] = reason
        heapq.heappush(self._due, (time, item, attempt, is_again))

    def _moment(self, seconds: float) -> datetime:
        return self._plan.start_at + timedelta(seconds=seconds)

    def _result(self) -> Played:
        times = self._plan.stands_for
        hour, most = max(self._by_hour.items(), key=lambda one: one[1], default=(None, 0))
        return Played(
            attempts=self._attempts * times,
            retries=self._retries * times,
            attempts_ended={status: n * times for status, n in self._attempts_ended.items()},
            ended={status: n * times for status, n in self._ended.items()},
            costs={currency: cost * times for currency, cost in self._costs.items()},
            starts_at=None if self._first is None else self._moment(self._first),
            ends_at=self._moment(self._last),
            busiest_hour=None if hour is None else self._moment(hour * HOUR - self._past_hour),
            busiest_hour_attempts=most * times,
            pace=[
                (self._moment(second), n * times) for second, n in coarsen(self._by_second).items()
            ],
            waits={reason: seconds * times for reason, seconds in self._waits.items()},
        )


def coarsen(by_second: Mapping[int, int]) -> dict[int, int]:
    """Return counts by second in few steps of equal length, quiet ones as nothing."""
    if not by_second:
        return {}
    first, last = min(by_second), max(by_second)
    step = next((one for one in STEPS if last - first < one * MOST_STEPS), STEPS[-1])
    begin = first - first % step
    found = dict.fromkeys(range(begin, last + 1, step), 0)
    for second, n in by_second.items():
        found[second - second % step] += n
    return found


class _Scale:
    """Limits as they bind items of which each stands for several.

    A cap that would be less than one item keeps one, and each item holds it longer: what goes
    through in a time stays the same.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        caps = [one.cap for one in plan.ceilings if one.cap is not None]
        tightest = min(caps, default=None)
        if tightest is None or plan.stands_for == 1:
            self.stretch = 1.0
        else:
            wanted = tightest / plan.stands_for
            self.stretch = max(1, round(wanted)) / wanted

    def allowances(self) -> list[Allowance]:
        """Return the limits with nothing in flight."""
        return [
            Allowance(
                key=one.key,
                cap=None if one.cap is None else self._cap(one.cap),
                in_flight=0,
                buckets=tuple(self._bucket(bucket) for bucket in one.rates),
            )
            for one in self._plan.ceilings
        ]

    def _bucket(self, bucket: Bucket) -> Bucket:
        times = self._plan.stands_for
        burst = max(1, round(bucket.burst / times))
        return replace(
            bucket,
            seconds=max(1, round(bucket.seconds * times)),
            burst=burst,
            tokens=min(burst, max(bucket.tokens / times, 1)),
            refilled_at=self._plan.start_at,
        )

    def _cap(self, cap: int) -> int:
        return max(1, round(cap / self._plan.stands_for * self.stretch))


class _Hours:
    """When items may be sent, by their zones."""

    def __init__(self, plan: Plan) -> None:
        self._window = plan.window
        self._start_at = plan.start_at
        self._fallback = () if plan.fallback_zone is None else (plan.fallback_zone,)
        self._spans: dict[tuple[str, ...], tuple[float, float] | None] = {}

    def opening(self, zones: tuple[str, ...], now: float) -> float | None:
        """Return when an item of these zones may be sent, not before `now`; None is never."""
        if self._window is None:
            return now
        span = self._spans.get(zones)
        if zones not in self._spans or (span is not None and span[1] <= now):
            span = self._spans[zones] = self._next(zones, now) or self._next(self._fallback, now)
        return None if span is None else max(span[0], now)

    def _next(self, zones: tuple[str, ...], now: float) -> tuple[float, float] | None:
        if self._window is None:
            return None
        after = (self._start_at + timedelta(seconds=now)).astimezone(UTC)
        span = next_span(self._window, zones, after)
        if span is None:
            return None
        start, end = (
            (moment - self._start_at).total_seconds() for moment in (span.start, span.end)
        )
        return start, end


class _Numbers:
    """How often each number was called, where the team limits that."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._called: defaultdict[str, list[datetime]] = defaultdict(list)

    def may_be_called(self, item: int, now: datetime) -> bool:
        """Tell whether an item's number may be called once more, by its own day and week."""
        called = self._called.get(self._number(item) or "")
        if not called:
            return True
        limits = ((self._plan.attempts_per_day, 0), (self._plan.attempts_per_week, 6))
        return all(
            limit is None or self._count(called, item, now, days_back=days_back) < limit
            for limit, days_back in limits
        )

    def note(self, item: int, now: datetime) -> None:
        """Count an attempt."""
        if number := self._number(item):
            self._called[number].append(now)

    def _count(
        self, called: Sequence[datetime], item: int, now: datetime, *, days_back: int
    ) -> int:
        since = day_start(self._plan.zones[item], now, days_back=days_back)
        return sum(at >= since for at in called)

    def _number(self, item: int) -> str | None:
        return self._plan.numbers[item] if self._plan.numbers else None

"""When a recipient may be called: hours of the day, days, holidays, in all of its zones; pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from batchyard.errors import InvalidRequest

EVERY_DAY = frozenset(range(1, 8))
"""Days of the week as ISO 8601 numbers them: Monday is 1."""

SEARCH = timedelta(days=14)
"""Zones that have no common moment in the window for so long are taken to have none."""

STEP = timedelta(days=2)
"""How far the search looks at once; the next opening is mostly the next morning."""

DAY, HOUR, SECOND = timedelta(days=1), timedelta(hours=1), timedelta(seconds=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """Allowed hours on allowed days, by the recipient's clock.

    `start_hour` is inside, `end_hour` is not; a day that is a holiday is closed whole.
    """

    start_hour: int = 0
    end_hour: int = 24
    days: frozenset[int] = EVERY_DAY
    holidays: frozenset[date] = frozenset()

    def __post_init__(self) -> None:
        """Raise `InvalidRequest` naming what is wrong."""
        if not (0 <= self.start_hour <= 23 and 1 <= self.end_hour <= 24):
            raise InvalidRequest("A calling window starts at hour 0 to 23 and ends at 1 to 24.")
        if self.start_hour >= self.end_hour:
            raise InvalidRequest(
                f"A calling window must end after it starts: {self.start_hour} to {self.end_hour} "
                "does not."
            )
        if not self.days or not self.days <= EVERY_DAY:
            raise InvalidRequest("A calling window needs days of the week, 1 (Monday) to 7.")

    @property
    def is_always_open(self) -> bool:
        """Whether the window forbids nothing."""
        return (
            self.end_hour - self.start_hour == 24 and self.days == EVERY_DAY and not self.holidays
        )

    def allows(self, day: date) -> bool:
        """Tell whether anybody may be called on this day of theirs."""
        return day.isoweekday() in self.days and day not in self.holidays


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """A time during which the window is open in all zones; `end` is outside."""

    start: datetime
    end: datetime

    def holds(self, moment: datetime) -> bool:
        """Tell whether the moment is inside."""
        return self.start <= moment < self.end


def read_guardrails(given: object) -> tuple[int, int] | None:
    """Read the `calling_guardrails` of an agent: first hour, and first hour no more; None is none.

    Contract Bolna, section 5. Raises `InvalidRequest` for anything else than two whole hours of
    which the second comes later.
    """
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise InvalidRequest("calling_guardrails must be an object.")
    start, end = (_hour(given.get(name)) for name in ("call_start_hour", "call_end_hour"))
    window = Window(start_hour=start, end_hour=end)
    return window.start_hour, window.end_hour


def is_open(window: Window, zones: Sequence[str], now: datetime) -> bool:
    """Tell whether it is inside the window in all zones; False without a zone."""
    if not zones:
        return False
    for zone in zones:
        local = now.astimezone(ZoneInfo(zone))
        if not (window.start_hour <= local.hour < window.end_hour and window.allows(local.date())):
            return False
    return True


def next_opening(window: Window, zones: Sequence[str], after: datetime) -> datetime | None:
    """Return the earliest moment, not before `after`, that is inside the window in all zones."""
    span = next_span(window, zones, after)
    return None if span is None else max(span.start, after)


def next_span(window: Window, zones: Sequence[str], after: datetime) -> Span | None:
    """Return the first time from `after` on during which the window is open in all zones.

    It may have begun before `after`. None where 14 days without a holiday have no such time.
    """
    if not zones:
        return None
    begin, searched_from = after - STEP / 2, after
    while True:
        for span in _common_spans(window, zones, begin, begin + STEP):
            if span.end > after:
                return span
        begin += STEP
        if begin - searched_from < SEARCH:
            continue
        # Closed because of holidays is closed for a time; closed without them is closed for good.
        if not _has_holiday(window, searched_from, begin):
            return None
        searched_from = begin


def day_start(zones: Sequence[str], now: datetime, *, days_back: int = 0) -> datetime:
    """Return when today began in the recipient's zones, the earliest of them; UTC without a zone.

    `days_back` goes to earlier days of theirs.
    """
    starts = []
    for zone in zones or ("UTC",):
        info = ZoneInfo(zone)
        day = now.astimezone(info).date() - timedelta(days=days_back)
        starts.append(datetime.combine(day, time(), info).astimezone(UTC))
    return min(starts)


def _common_spans(
    window: Window, zones: Sequence[str], begin: datetime, end: datetime
) -> Iterator[Span]:
    """Yield the times within [begin, end) that are inside the window in all zones."""
    common = [Span(start=begin, end=end)]
    for zone in zones:
        common = list(_overlaps(common, _spans(window, zone, begin, end)))
        if not common:
            return
    yield from common


def _overlaps(left: Sequence[Span], right: Sequence[Span]) -> Iterator[Span]:
    for one in left:
        for other in right:
            start, end = max(one.start, other.start), min(one.end, other.end)
            if start < end:
                yield Span(start=start, end=end)


def _spans(window: Window, zone: str, begin: datetime, end: datetime) -> list[Span]:
    """Return the open times of one zone, in order, those that touch joined.

    Between two clock changes the wall clock is UTC and a constant. Each stretch is looked at by
    itself, so hours that a change skips or repeats need no further care.
    """
    spans: list[Span] = []
    for start, stop, offset in _stretches(zone, begin, end):
        day = (start + offset).date()
        last = (stop + offset).date()
        while day <= last:
            if window.allows(day):
                midnight = datetime.combine(day, time(), UTC) - offset
                opens = max(start, midnight + window.start_hour * HOUR)
                closes = min(stop, midnight + window.end_hour * HOUR)
                if opens < closes:
                    _join(spans, opens, closes)
            day += DAY
    return spans


def _join(spans: list[Span], start: datetime, end: datetime) -> None:
    if spans and spans[-1].end == start:
        start = spans.pop().start
    spans.append(Span(start=start, end=end))


def _stretches(
    zone: str, begin: datetime, end: datetime
) -> Iterator[tuple[datetime, datetime, timedelta]]:
    """Cut [begin, end) at the zone's clock changes; the third part is the offset to UTC."""
    start = begin
    day = begin.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    while day < end:
        change = _change_on(zone, day)
        if change is not None and start < change < end:
            yield start, change, _offset(zone, change - SECOND)
            start = change
        day += DAY
    yield start, end, _offset(zone, end - SECOND)


@lru_cache(maxsize=16_384)
def _change_on(zone: str, day: datetime) -> datetime | None:
    """Return when within these 24 hours of UTC the zone changes its clock; none does so twice."""
    low, high = day, day + DAY
    before = _offset(zone, low)
    if _offset(zone, high) == before:
        return None
    while high - low > SECOND:
        middle = (low + (high - low) / 2).replace(microsecond=0)
        if _offset(zone, middle) == before:
            low = middle
        else:
            high = middle
    return high


def _offset(zone: str, moment: datetime) -> timedelta:
    return moment.astimezone(ZoneInfo(zone)).utcoffset() or timedelta(0)


def _has_holiday(window: Window, begin: datetime, end: datetime) -> bool:
    first, last = (begin - DAY).date(), (end + DAY).date()
    return any(first <= day <= last for day in window.holidays)


def _hour(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 23:
        raise InvalidRequest("call_start_hour and call_end_hour must be whole hours, 0 to 23.")
    return value

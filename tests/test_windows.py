"""Calling windows: never open outside, and the earliest opening, in every zone of a number."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from batchyard.errors import InvalidRequest
from batchyard.intake.zones import list_zone_sets
from batchyard.windows import (
    EVERY_DAY,
    Span,
    Window,
    day_start,
    is_open,
    next_opening,
    next_span,
    read_guardrails,
)

ZONES = sorted({zone for zones in list_zone_sets() for zone in zones})
YEAR = 2026
OFFICE = Window(start_hour=9, end_hour=20)
SECOND, MINUTE, QUARTER, HOUR = (timedelta(seconds=s) for s in (1, 60, 900, 3600))


@cache
def changes(zone: str, year: int) -> Sequence[datetime]:
    """Find a zone's clock changes by looking at its clock, minute by minute where it matters."""
    info = ZoneInfo(zone)
    start = datetime(year, 1, 1, tzinfo=UTC)
    found = []
    for one, next_ in pairwise(start + 6 * HOUR * n for n in range(366 * 4)):
        if one.astimezone(info).utcoffset() == next_.astimezone(info).utcoffset():
            continue
        moment = one
        while moment.astimezone(info).utcoffset() == one.astimezone(info).utcoffset():
            moment += MINUTE
        found.append(moment)
    return found


def wall_allows(window: Window, zone: str, moment: datetime) -> bool:
    """Read the recipient's clock on the wall: the rule, as a person would check it."""
    local = moment.astimezone(ZoneInfo(zone))
    return (
        local.isoweekday() in window.days
        and local.date() not in window.holidays
        and window.start_hour <= local.hour < window.end_hour
    )


def windows() -> st.SearchStrategy[Window]:
    return st.builds(
        lambda hours, days, holidays: Window(
            start_hour=min(hours), end_hour=max(hours) + 1, days=days, holidays=holidays
        ),
        st.tuples(st.integers(0, 23), st.integers(0, 23)),
        st.frozensets(st.integers(1, 7), min_size=1) | st.just(EVERY_DAY),
        st.frozensets(st.dates(date(YEAR, 1, 1), date(YEAR, 12, 31)), max_size=12),
    )


MOMENTS = st.datetimes(datetime(YEAR, 1, 1), datetime(YEAR, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis wants them bare


@pytest.mark.parametrize(
    "window", [OFFICE, *(Window(start_hour=h, end_hour=h + 1) for h in (0, 1, 2, 3, 23))], ids=str
)
def test_window_holds_around_every_clock_change_of_a_year(window: Window) -> None:
    seen = 0
    for zone in ZONES:
        for change in changes(zone, YEAR):
            seen += 1
            moment = change - 14 * HOUR
            opening = next_opening(window, [zone], moment)
            while moment < change + 14 * HOUR:
                is_allowed = wall_allows(window, zone, moment)
                assert is_open(window, [zone], moment) == is_allowed, (zone, moment)
                assert opening is not None
                if is_allowed:
                    # Nothing between the last question and now was open: the earliest was told.
                    assert opening <= moment, (zone, moment)
                    assert wall_allows(window, zone, opening)
                    opening = moment
                else:
                    if opening <= moment:
                        opening = next_opening(window, [zone], moment)
                    assert opening is not None
                    assert opening > moment, (zone, moment)
                moment += QUARTER
    assert seen > 100


@settings(max_examples=300)
@given(
    window=windows(),
    zones=st.sampled_from([zones for zones in list_zone_sets() if len(zones) < 5]),
    after=MOMENTS,
)
@example(
    window=Window(start_hour=2, end_hour=3),
    zones=("America/New_York",),
    after=datetime(2026, 3, 8, tzinfo=UTC),
)
@example(
    window=Window(start_hour=0, end_hour=1),
    zones=("Asia/Beirut",),
    after=datetime(2026, 3, 28, 20, tzinfo=UTC),
)
@example(
    window=OFFICE, zones=("Australia/Lord_Howe",), after=datetime(2026, 4, 4, 14, 45, tzinfo=UTC)
)
def test_next_opening_is_the_earliest(
    window: Window, zones: tuple[str, ...], after: datetime
) -> None:
    opening = next_opening(window, zones, after)
    until = after + timedelta(days=14) if opening is None else opening
    moment = after
    while moment < min(until, after + timedelta(days=14)):
        assert not all(wall_allows(window, zone, moment) for zone in zones)
        moment += 4 * MINUTE
    if opening is not None:
        assert opening >= after
        assert is_open(window, zones, opening)
        assert opening == after or not is_open(window, zones, opening - SECOND)


@settings(max_examples=300)
@given(window=windows(), zones=st.sampled_from(list_zone_sets()), after=MOMENTS)
def test_span_is_open_from_end_to_end(
    window: Window, zones: tuple[str, ...], after: datetime
) -> None:
    span = next_span(window, zones, after)
    if span is None:
        assert not is_open(window, zones, after)
        return
    assert span.end > after
    assert span.holds(after) == is_open(window, zones, after)
    last = max(span.start, span.end - SECOND)
    for moment in (span.start, span.start + (span.end - span.start) / 2, last):
        assert is_open(window, zones, moment)


def test_hour_that_is_skipped_opens_at_the_change() -> None:
    # New York skips 02:00 to 03:00 on 8 March 2026: a window from 2 to 4 begins at 03:00.
    window = Window(start_hour=2, end_hour=4)
    evening = datetime(2026, 3, 8, 1, tzinfo=UTC)
    assert next_span(window, ["America/New_York"], evening) == Span(
        start=datetime(2026, 3, 8, 7, tzinfo=UTC), end=datetime(2026, 3, 8, 8, tzinfo=UTC)
    )


def test_window_inside_the_skipped_hour_waits_for_the_next_day() -> None:
    window = Window(start_hour=2, end_hour=3)
    opening = next_opening(window, ["America/New_York"], datetime(2026, 3, 8, 1, tzinfo=UTC))
    assert opening == datetime(2026, 3, 9, 6, tzinfo=UTC)


def test_hour_that_comes_twice_is_open_twice() -> None:
    # New York has 01:00 to 02:00 twice on 1 November 2026.
    window = Window(start_hour=1, end_hour=2)
    span = next_span(window, ["America/New_York"], datetime(2026, 11, 1, tzinfo=UTC))
    assert span is not None
    assert span.end - span.start == 2 * HOUR


def test_day_that_a_country_left_out_is_no_day() -> None:
    # Samoa went from 29 to 31 December 2011, a Thursday to a Saturday.
    fridays = Window(start_hour=9, end_hour=20, days=frozenset({5}))
    opening = next_opening(fridays, ["Pacific/Apia"], datetime(2011, 12, 29, tzinfo=UTC))
    assert opening is not None
    assert opening.astimezone(ZoneInfo("Pacific/Apia")).date() == date(2012, 1, 6)


def test_several_zones_are_open_together_or_not_at_all() -> None:
    zones = ["Europe/Lisbon", "Asia/Tokyo"]
    now = datetime(2026, 6, 1, 12, tzinfo=UTC)
    span = next_span(Window(start_hour=8, end_hour=20), zones, now)
    assert span == Span(
        start=datetime(2026, 6, 2, 7, tzinfo=UTC), end=datetime(2026, 6, 2, 11, tzinfo=UTC)
    )
    assert next_span(Window(start_hour=9, end_hour=17), zones, now) is None


def test_zones_without_end_are_closed() -> None:
    assert not is_open(OFFICE, [], datetime(2026, 6, 1, 12, tzinfo=UTC))
    assert next_opening(OFFICE, [], datetime(2026, 6, 1, 12, tzinfo=UTC)) is None


def test_long_holidays_close_for_a_time_only() -> None:
    days = frozenset(date(2026, 7, 1) + timedelta(days=n) for n in range(40))
    window = Window(start_hour=9, end_hour=20, holidays=days)
    opening = next_opening(window, ["Europe/Copenhagen"], datetime(2026, 7, 1, 8, tzinfo=UTC))
    assert opening == datetime(2026, 8, 10, 7, tzinfo=UTC)


def test_holiday_is_a_date_of_the_recipient() -> None:
    window = Window(holidays=frozenset({date(2026, 12, 25)}))
    eve_in_london = datetime(2026, 12, 24, 13, tzinfo=UTC)
    assert is_open(window, ["Europe/London"], eve_in_london)
    assert not is_open(window, ["Pacific/Auckland"], eve_in_london)


@pytest.mark.parametrize("zone", ["Europe/Copenhagen", "America/Santiago", "Africa/Cairo"])
@pytest.mark.parametrize("days_back", [0, 6])
def test_day_starts_at_the_recipients_midnight(zone: str, days_back: int) -> None:
    info = ZoneInfo(zone)
    for day in range(365):
        now = datetime(YEAR, 1, 8, 15, 30, tzinfo=UTC) + timedelta(days=day)
        start = day_start([zone], now, days_back=days_back)
        wanted = now.astimezone(info).date() - timedelta(days=days_back)
        assert start.astimezone(info).date() == wanted
        assert (start - SECOND).astimezone(info).date() == wanted - timedelta(days=1)


def test_day_of_several_zones_starts_with_the_first() -> None:
    now = datetime(2026, 6, 1, 12, tzinfo=UTC)
    zones = ["America/Adak", "Pacific/Kiritimati"]
    assert day_start(zones, now) == datetime(2026, 6, 1, 9, tzinfo=UTC)
    assert day_start([], now) == datetime(2026, 6, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "given_hours,words",
    [
        ({"start_hour": 20, "end_hour": 9}, "must end after it starts: 20 to 9"),
        ({"start_hour": 9, "end_hour": 9}, "must end after it starts"),
        ({"start_hour": -1, "end_hour": 9}, "starts at hour 0 to 23"),
        ({"start_hour": 9, "end_hour": 25}, "ends at 1 to 24"),
        ({"days": frozenset()}, "days of the week"),
        ({"days": frozenset({0})}, "days of the week"),
    ],
)
def test_window_that_is_none_is_refused(given_hours: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        Window(**given_hours)  # type: ignore[arg-type]  # that is the test


@pytest.mark.parametrize(
    "given_value",
    [
        {"call_start_hour": 9},
        {"call_start_hour": 9, "call_end_hour": 24},
        {"call_start_hour": 9.5, "call_end_hour": 20},
        {"call_start_hour": True, "call_end_hour": 20},
        {"call_start_hour": "9", "call_end_hour": 20},
        {"call_start_hour": 20, "call_end_hour": 9},
        {"call_start_hour": 9, "call_end_hour": 9},
        "9-20",
    ],
)
def test_guardrails_that_make_no_window_are_refused(given_value: object) -> None:
    with pytest.raises(InvalidRequest):
        read_guardrails(given_value)


def test_guardrails_are_read() -> None:
    assert read_guardrails({"call_start_hour": 9, "call_end_hour": 20}) == (9, 20)
    assert read_guardrails(None) is None

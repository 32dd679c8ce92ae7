"""What a worker remembers of windows is what the rules say, at every moment."""

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from batchyard.engine.hours import Hours
from batchyard.intake.zones import list_zone_sets
from batchyard.store.windows import UNKNOWN_ZONES
from batchyard.windows import Window, is_open, next_opening

ZONE_SETS = dict(enumerate(list_zone_sets(), start=1))
TOLL_FREE = max(ZONE_SETS, key=lambda zone_set: len(ZONE_SETS[zone_set]))
OFFICE = Window(start_hour=9, end_hour=20, days=frozenset({1, 2, 3, 4, 5}))
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)

YEAR = st.integers(0, 365 * 24 * 60).map(
    lambda minutes: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
)


@settings(max_examples=15)
@given(moments=st.lists(YEAR, min_size=1, max_size=4), seconds=st.integers(0, 59))
def test_open_sets_are_those_that_are_open(moments: list[datetime], seconds: int) -> None:
    hours = Hours(OFFICE, fallback=None, zone_sets=ZONE_SETS)
    # In any order: a clock that is corrected may go back.
    for moment in moments:
        now = moment + timedelta(seconds=seconds)
        expected = {key for key, zones in ZONE_SETS.items() if is_open(OFFICE, zones, now)}
        assert hours.open_sets(now) == expected


@settings(max_examples=60)
@given(moments=st.lists(YEAR, min_size=1, max_size=3), key=st.sampled_from(sorted(ZONE_SETS)))
def test_opening_is_the_next_one(moments: list[datetime], key: int) -> None:
    hours = Hours(OFFICE, fallback=None, zone_sets=ZONE_SETS)
    for now in moments:
        opens_at = hours.opening(key, now)
        assert opens_at == next_opening(OFFICE, ZONE_SETS[key], now)
        assert hours.is_open(key, now) == (opens_at == now)


def test_unknown_zones_never_open_without_a_fallback() -> None:
    hours = Hours(OFFICE, fallback=None, zone_sets=ZONE_SETS)
    assert not hours.is_open(None, NOON)
    assert hours.openings([UNKNOWN_ZONES, TOLL_FREE], NOON) == {
        UNKNOWN_ZONES: None,
        TOLL_FREE: None,
    }


def test_fallback_opens_what_has_no_moment_of_its_own() -> None:
    hours = Hours(OFFICE, fallback="Europe/London", zone_sets=ZONE_SETS)
    assert hours.is_open(None, NOON)
    assert not hours.is_open(TOLL_FREE, NOON)
    assert hours.opening(TOLL_FREE, NOON) == NOON
    assert hours.is_open(TOLL_FREE, NOON)
    assert not hours.is_open(TOLL_FREE, NOON + timedelta(hours=8))

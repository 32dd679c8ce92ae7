"""The rules of scheduling, one by one."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.errors import InvalidRequest
from batchyard.schedule import TOO_SOON, ScheduleRules, parse_time, settle

NOW = datetime(2024, 1, 29, 8, 0, 0, tzinfo=UTC)
RULES = ScheduleRules()
FREE = ScheduleRules(lead=timedelta(0), step=timedelta(0))


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-29T08:30:00Z",
        "2024-01-29t08:30:00z",
        "2024-01-29T08:30:00.000Z",
        "2024-01-29T08:30:00",
        "2024-01-29 08:30:00",
        "2024-01-29T08:30",
        "2024-01-29T14:00:00+05:30",
        "2024-01-29T14:00:00+0530",
        "2024-01-29T14:00:00 05:30",
        "2024-01-29T03:30:00-05:00",
        " 2024-01-29T08:30:00.000000+00:00 ",
    ],
)
def test_time_is_read_in_every_usual_form(text: str) -> None:
    assert parse_time(text) == datetime(2024, 1, 29, 8, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    ["", "tomorrow", "2024-01-29", "2024-02-30T08:00:00Z", "2024-01-29T08:22:89Z", "1706515200"],
)
def test_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_time(text)


def test_time_less_than_two_minutes_ahead_is_refused_in_the_vendors_words() -> None:
    with pytest.raises(InvalidRequest) as caught:
        settle(NOW + timedelta(seconds=119, milliseconds=999), rules=RULES, now=NOW)
    assert caught.value.message == TOO_SOON
    assert TOO_SOON == "Scheduled time should be atleast 2 minutes in the future"


def test_time_exactly_two_minutes_ahead_is_taken() -> None:
    settled = settle(NOW + timedelta(minutes=2), rules=RULES, now=NOW)
    assert settled == NOW + timedelta(minutes=10)


def test_lead_is_measured_before_rounding() -> None:
    now = NOW + timedelta(minutes=8, seconds=30)
    with pytest.raises(InvalidRequest):
        settle(now + timedelta(seconds=100), rules=RULES, now=now)


def test_exact_mark_stays() -> None:
    assert settle(NOW + timedelta(minutes=30), rules=RULES, now=NOW) == NOW + timedelta(minutes=30)


def test_a_moment_past_a_mark_goes_to_the_next() -> None:
    at = NOW + timedelta(minutes=30, microseconds=1)
    assert settle(at, rules=RULES, now=NOW) == NOW + timedelta(minutes=40)


def test_rounding_crosses_the_hour_and_the_day() -> None:
    at = datetime(2024, 1, 31, 23, 51, tzinfo=UTC)
    assert settle(at, rules=RULES, now=at - timedelta(hours=1)) == datetime(2024, 2, 1, tzinfo=UTC)


def test_thirty_days_ahead_is_the_last_moment() -> None:
    assert settle(NOW + timedelta(days=30), rules=RULES, now=NOW) == NOW + timedelta(days=30)
    with pytest.raises(InvalidRequest, match="30 days"):
        settle(NOW + timedelta(days=30, seconds=1), rules=RULES, now=NOW)


def test_past_time_without_a_lead_means_now() -> None:
    now = NOW + timedelta(seconds=7)
    assert settle(NOW - timedelta(days=3), rules=FREE, now=now) == now


def test_time_without_a_step_is_not_rounded() -> None:
    at = NOW + timedelta(minutes=3, seconds=4)
    assert settle(at, rules=FREE, now=NOW) == at


def test_step_that_does_not_divide_the_hour_starts_anew_each_hour() -> None:
    rules = ScheduleRules(lead=timedelta(0), step=timedelta(minutes=25))
    at = NOW + timedelta(minutes=51)
    assert settle(at, rules=rules, now=NOW) == NOW + timedelta(minutes=60)


@given(st.timedeltas(min_value=timedelta(minutes=2), max_value=timedelta(days=30)))
def test_settled_time_is_a_mark_and_never_early_nor_late(ahead: timedelta) -> None:
    settled = settle(NOW + ahead, rules=RULES, now=NOW)
    assert (settled.minute % 10, settled.second, settled.microsecond) == (0, 0, 0)
    assert timedelta(0) <= settled - (NOW + ahead) < timedelta(minutes=10)

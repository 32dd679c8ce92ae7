import re

import pytest

from batchyard.cli import values
from batchyard.errors import InvalidRequest
from batchyard.models import Policy, Rate


@pytest.mark.parametrize(
    "text,rate",
    [
        ("5/s", Rate(count=5, seconds=1)),
        ("100/min", Rate(count=100, seconds=60)),
        ("1000/h", Rate(count=1000, seconds=3600)),
        ("10000/day", Rate(count=10000, seconds=86400)),
    ],
)
def test_rate_is_read_and_shown_alike(text: str, rate: Rate) -> None:
    assert values.read_rate(text) == rate
    assert values.show_rate(count=rate.count, seconds=rate.seconds) == text


def test_rate_of_another_time_is_shown_in_seconds() -> None:
    assert values.show_rate(count=3, seconds=10) == "3/10 s"


@pytest.mark.parametrize("text", ["", "5", "0/s", "-5/s", "5/m", "5 /s", "1.5/s", "9999999999/s"])
def test_text_that_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="100/min"):
        values.read_rate(text)


@pytest.mark.parametrize(
    "text,seconds",
    [("0s", 0), ("30s", 30), ("0.5s", 0.5), ("2m", 120), ("24h", 86400), ("7d", 604800)],
)
def test_duration_is_read_as_seconds(text: str, seconds: float) -> None:
    assert values.read_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "s", "-1s", "1w", "inf", "1e3s", "٣s"])
def test_text_that_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="24h"):
        values.read_duration(text)


@pytest.mark.parametrize(
    "text",
    ["soon", "9999-12-31T23:59:59-01:00", "9999-12-31", "0001-01-01T00:00:00+14:00", "0001-01-01"],
)
def test_text_that_is_no_time_to_count_with_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(f"'{text}'")):
        values.read_time(text)


@pytest.mark.parametrize(
    "text,statuses", [("", []), ("409", [409]), ("423, 409,409", [409, 423]), (" 404 ", [404])]
)
def test_statuses_are_read_in_order(text: str, statuses: list[int]) -> None:
    assert values.read_statuses(text) == statuses


@pytest.mark.parametrize("text", ["4xx", "409;423", "409,", "4090", "٤٠٩"])
def test_text_that_is_no_list_of_statuses_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="409,423"):
        values.read_statuses(text)


@pytest.mark.parametrize(
    "text,setting",
    [
        ("seconds=15", ("seconds", 15)),
        ("is_fast=true", ("is_fast", True)),
        ("name=a=b", ("name", "a=b")),
        ("name=", ("name", "")),
        ('name="15"', ("name", "15")),
        ("ids=[1, 2]", ("ids", [1, 2])),
    ],
)
def test_setting_is_json_where_it_can_be(text: str, setting: tuple[str, object]) -> None:
    assert values.read_setting(text) == setting


@pytest.mark.parametrize("text", ["colour", "=red", ""])
def test_text_that_is_no_setting_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        values.read_setting(text)


def test_unknown_word_is_refused_with_the_known_ones() -> None:
    read = values.word_of(Policy, what="policy")

    assert read("askable") is Policy.ASKABLE
    with pytest.raises(InvalidRequest, match=r"'often'.*repeatable, askable, neither"):
        read("often")

"""What `make chaos` is run over."""

from collections import Counter

import pytest

from tests.chaos.__main__ import list_conditions, read_arguments
from tests.chaos.vendors import TWILIO, TWINS, VENDORS


@pytest.mark.parametrize(
    "words,outsides",
    [
        ("", ["counting", "karrio", "twilio", "telnyx"]),
        ("--kills 5 --items 100", ["counting", "karrio", "twilio", "telnyx"]),
        ("--short", ["counting"]),
        ("--short --provider telnyx", ["telnyx"]),
        ("--provider counting", ["counting"]),
    ],
)
def test_chaos_goes_over_every_outside_unless_one_is_named(words: str, outsides: list[str]) -> None:
    conditions = list_conditions(read_arguments(words.split()))

    assert [one.vendor.name if one.vendor else "counting" for one in conditions] == outsides


def test_no_vendor_is_left_out_and_each_is_broken_as_often() -> None:
    conditions = list_conditions(read_arguments(["--kills", "5", "--items", "100"]))

    assert {one.vendor.name for one in conditions if one.vendor} == set(VENDORS)
    assert {(one.kills, one.items) for one in conditions} == {(5, 100)}


def test_some_calls_share_a_number_and_none_that_somebody_else_calls_too() -> None:
    calls = Counter(str(TWILIO.number(n)) for n in range(1000))

    assert Counter(calls.values()) == {1: 700, 3: 100}
    assert {count for number, count in calls.items() if number.endswith(TWINS)} == {1}

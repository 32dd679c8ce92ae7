"""What `make chaos` is run over."""

import pytest

from tests.chaos.__main__ import list_conditions, read_arguments
from tests.chaos.vendors import VENDORS


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

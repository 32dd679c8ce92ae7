"""The fast way to read a number says what the library says."""

import random
from zoneinfo import available_timezones

import phonenumbers
import pytest
from phonenumbers import PhoneMetadata
from phonenumbers.phonenumberutil import COUNTRY_CODE_TO_REGION_CODE
from phonenumbers.timezone import UNKNOWN_TIMEZONE, time_zones_for_number

from batchyard.intake import phones, plans
from batchyard.intake.phones import PhoneNumber, read_number

EACH = 40


def numbers_of(country_code: int) -> list[str]:
    """Make numbers of every kind and shape a country has: examples, and ever less like them."""
    dice = random.Random(country_code)
    national = []
    for region in COUNTRY_CODE_TO_REGION_CODE[country_code]:
        metadata = PhoneMetadata.metadata_for_region_or_calling_code(country_code, region)
        assert metadata is not None
        for name in ("general_desc", "fixed_line", "mobile", *(name for _, name in plans._ORDER)):
            desc = getattr(metadata, name)
            if desc is not None and desc.example_number:
                national.append(desc.example_number)
    examples = list(national) or ["123456789"]
    for _ in range(EACH):
        digits = list(dice.choice(examples))
        for _ in range(dice.randrange(4)):
            digits[dice.randrange(len(digits))] = dice.choice("0123456789")
        national.append("".join(digits))
        national.append("".join(dice.choice("0123456789") for _ in range(dice.randrange(1, 16))))
        national.append("0" + "".join(digits))
    return [f"+{country_code}{one}" for one in national]


@pytest.mark.parametrize("group", range(8))
def test_plans_agree_with_the_library_on_numbers_of_every_country(group: int) -> None:
    fast = 0
    for country_code in sorted(COUNTRY_CODE_TO_REGION_CODE)[group::8]:
        for number in numbers_of(country_code):
            fast += plans.find(number[1:]) is not None
            assert read_number(number) == phones._parsed(number), number
    assert fast > 1000


@pytest.mark.parametrize("group", range(8))
def test_zones_agree_with_the_library(group: int) -> None:
    for country_code in sorted(COUNTRY_CODE_TO_REGION_CODE)[group::8]:
        for number in numbers_of(country_code)[::3]:
            found = read_number(number)
            if not isinstance(found, PhoneNumber):
                continue
            zones = set(time_zones_for_number(phonenumbers.parse(number, None)))
            is_known = UNKNOWN_TIMEZONE not in zones and zones <= available_timezones()
            assert found.zones == (tuple(sorted(zones)) if is_known else ()), number


@pytest.mark.parametrize("digits", ["", "0", "00", "999", "9999999999", "1", "12", "290"])
def test_digits_of_no_plan_are_left_to_the_library(digits: str) -> None:
    assert plans.find(digits) is None

import csv
from collections import Counter
from pathlib import Path

import phonenumbers
import pytest

from batchyard.intake.phones import check_number
from batchyard.providers.sandbox_calls import SPECIAL_NUMBERS
from tools import example_calls

CALLS = Path(__file__).parents[2] / "examples" / "calls.csv"


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    with CALLS.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def test_file_is_what_its_maker_makes() -> None:
    assert CALLS.read_bytes() == example_calls.make_calls()


def test_file_has_a_byte_order_mark_and_1000_contacts(rows: list[dict[str, str]]) -> None:
    assert CALLS.read_bytes().startswith(b"\xef\xbb\xbfcontact_number,")
    assert len(rows) == 1000
    assert all(None not in row and None not in row.values() for row in rows)


def test_file_has_quoted_commas_quotes_and_accents(rows: list[dict[str, str]]) -> None:
    assert any("," in row["company"] for row in rows)
    assert any('"' in row["note"] for row in rows)
    assert sum(not (row["first_name"] + row["last_name"]).isascii() for row in rows) > 200


def test_3_percent_of_the_rows_are_faulty_in_every_way(rows: list[dict[str, str]]) -> None:
    checked = [check_number(row["contact_number"]) for row in rows]
    assert Counter(code for number, code in checked if number is None) == {
        "phone_no_plus": 6,
        "phone_too_short": 5,
        "phone_letters": 5,
        "phone_scientific_notation": 5,
        "phone_unknown_country": 5,
        "phone_missing": 4,
    }


def test_8_rows_only_warn(rows: list[dict[str, str]]) -> None:
    checked = [(row["country"], *check_number(row["contact_number"])) for row in rows]
    warned = [country for country, number, code in checked if number is not None and code]
    assert sorted(warned) == ["DK", "FI", "FR", "GB", "IE", "IE", "NL", "NO"]


def test_good_numbers_are_of_ranges_kept_for_fiction(rows: list[dict[str, str]]) -> None:
    good = [
        (row["country"], phonenumbers.parse(number))
        for row in rows
        for number, code in [check_number(row["contact_number"])]
        if number is not None and code is None
    ]
    assert {country for country, _ in good} == set(example_calls.COUNTRIES)
    patterns = [
        pattern.replace(" ", "")
        for country in example_calls.COUNTRIES.values()
        for pattern in country.numbers.split("|")
    ]
    for country, parsed in good:
        assert phonenumbers.region_code_for_number(parsed) == country
        number = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
        assert any(_fits(number, pattern) for pattern in patterns), number


def test_3_numbers_come_twice(rows: list[dict[str, str]]) -> None:
    numbers = Counter(check_number(row["contact_number"])[0] for row in rows)
    del numbers[None]
    assert sorted(count for count in numbers.values() if count > 1) == [2, 2, 2]


def test_some_numbers_are_written_as_people_write_them(rows: list[dict[str, str]]) -> None:
    written = [row["contact_number"] for row in rows if check_number(row["contact_number"])[0]]
    for mark in ("'", " ", "-", "("):
        assert any(mark in number for number in written)


def test_every_special_ending_occurs(rows: list[dict[str, str]]) -> None:
    numbers = [check_number(row["contact_number"])[0] for row in rows]
    endings = Counter(number[-2:] for number in numbers if number)
    assert all(endings[digits] >= 3 for digits in SPECIAL_NUMBERS)
    special = sum(endings[digits] for digits in SPECIAL_NUMBERS)
    assert special / endings.total() == pytest.approx(0.1, abs=0.03)


def _fits(number: str, pattern: str) -> bool:
    return len(number) == len(pattern) and all(
        sign in {"#", char} for char, sign in zip(number, pattern, strict=True)
    )

"""Which numbers can be called, and what is said about the others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.intake.phones import check_number
from batchyard.intake.verdicts import REFUSALS, WARNINGS


@pytest.mark.parametrize(
    "text,number",
    [
        ("+4520123456", "+4520123456"),
        ("'+4520123456", "+4520123456"),
        ("  +45 20 12 34 56 ", "+4520123456"),
        ("+45\u00a020-12\u201334-56", "+4520123456"),
        ("\u202a+4520123456\u202c", "+4520123456"),
        ("+1 (415) 555-2671", "+14155552671"),
        ("+44 (0)20 7946 0018", "+442079460018"),
        ("+390612345678", "+390612345678"),
    ],
)
def test_number_is_understood_and_written_as_e164(text: str, number: str) -> None:
    assert check_number(text) == (number, None)


@pytest.mark.parametrize(
    "text,code",
    [
        ("", "phone_missing"),
        ("   ", "phone_missing"),
        ("'", "phone_missing"),
        ("1.23E+11", "phone_scientific_notation"),
        ("4,520E+10", "phone_scientific_notation"),
        ("4520123456", "phone_no_plus"),
        ("004520123456", "phone_no_plus"),
        ("20 12 34 56", "phone_no_plus"),
        ("+45 2O12 3456", "phone_letters"),
        ("unknown", "phone_letters"),
        ("+4520123456 ext 5", "phone_letters"),
        ("+4520123456/+4520123457", "phone_malformed"),
        ("++4520123456", "phone_malformed"),
        ("+45.20.12.34.56", "phone_malformed"),
        ("+", "phone_malformed"),
        ("+\uff14\uff1520123456", "phone_malformed"),
        ("+999123456789", "phone_unknown_country"),
        ("+0123456789", "phone_unknown_country"),
        ("+45", "phone_too_short"),
        ("+4512", "phone_too_short"),
        ("+15551234", "phone_too_short"),
        ("+452012345678901", "phone_too_long"),
        ("+4520123456789012345678", "phone_too_long"),
    ],
)
def test_number_that_cannot_be_called_gets_its_own_code(text: str, code: str) -> None:
    assert check_number(text) == (None, code)
    assert code in REFUSALS


def test_possible_number_in_no_assigned_range_only_warns() -> None:
    number, code = check_number("+11112223333")
    assert (number, code) == ("+11112223333", "phone_unassigned_range")
    assert code in WARNINGS
    assert code in REFUSALS


@given(st.text())
def test_any_text_gets_a_verdict(text: str) -> None:
    number, code = check_number(text)
    assert code in (WARNINGS.keys() | {None} if number else REFUSALS.keys())


def test_every_verdict_says_what_and_what_to_do() -> None:
    for verdict in [*REFUSALS.values(), *WARNINGS.values()]:
        assert verdict.sentence.endswith(".")
        assert verdict.cure.endswith(".")

"""Which phone numbers can be called: E.164 with a plus, and possible in their country."""

import re
from typing import NamedTuple

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat, PhoneNumberType, ValidationResult

from batchyard.intake import plans
from batchyard.intake.plans import NO_COUNTRY
from batchyard.intake.zones import zones_of

_FORGIVEN = re.compile(r"[\s()\[\]\-\u2010-\u2015\u2212\u200b\u200e\u200f\u202a-\u202e\ufeff]+")
"""Inner spaces, dashes and brackets, and the invisible marks that come with copied numbers."""
_SCIENTIFIC = re.compile(r"[+-]?\d+(?:[.,]\d+)?[eE]\+?\d+", re.ASCII)
_E164 = re.compile(r"\+\d+", re.ASCII)
_NO_PLUS = re.compile(r"\d+", re.ASCII)

_LENGTH_CODES: dict[int, str] = {
    ValidationResult.IS_POSSIBLE_LOCAL_ONLY: "phone_too_short",
    ValidationResult.INVALID_COUNTRY_CODE: "phone_unknown_country",
    ValidationResult.TOO_SHORT: "phone_too_short",
    ValidationResult.TOO_LONG: "phone_too_long",
    ValidationResult.INVALID_LENGTH: "phone_wrong_length",
}
_PARSE_CODES: dict[int, str] = {
    NumberParseException.INVALID_COUNTRY_CODE: "phone_unknown_country",
    NumberParseException.TOO_LONG: "phone_too_long",
}

UNASSIGNED = "phone_unassigned_range"


# A tuple: made for each row, and a frozen dataclass costs several times as much.
class PhoneNumber(NamedTuple):
    """A number that can be called, and what its digits tell."""

    e164: str
    region: str | None
    """ISO 3166 code of its country; None for numbers of no country or in no assigned range."""
    is_assigned: bool
    is_premium: bool
    zones: tuple[str, ...]
    """Every zone its owner may be in; empty when that is unknown."""


def check_number(text: str) -> tuple[str | None, str | None]:
    """Return the number in E.164 and a code: none, a warning, or, without a number, a refusal."""
    number = read_number(text)
    if isinstance(number, str):
        return None, number
    return number.e164, None if number.is_assigned else UNASSIGNED


def read_number(text: str) -> PhoneNumber | str:
    """Return the number, or the code of what is wrong with it."""
    number = text
    if not _E164.fullmatch(number):
        number = _FORGIVEN.sub("", text.strip().removeprefix("'"))
        if not _E164.fullmatch(number):
            return _misshapen(number)
    # Nearly every number is written as its plan says; the library is thorough, and slow.
    planned = plans.find(number[1:])
    if planned is None:
        return _parsed(number)
    return PhoneNumber(
        e164=number,
        region=None if planned.region == NO_COUNTRY else planned.region,
        is_assigned=planned.kind != PhoneNumberType.UNKNOWN,
        is_premium=planned.kind == PhoneNumberType.PREMIUM_RATE,
        zones=zones_of(number[1:], country_code=planned.country_code, kind=planned.kind),
    )


def _parsed(number: str) -> PhoneNumber | str:
    try:
        parsed = phonenumbers.parse(number, None)
    except NumberParseException as error:
        return _PARSE_CODES.get(error.error_type, "phone_too_short")
    length = phonenumbers.is_possible_number_with_reason(parsed)
    if length != ValidationResult.IS_POSSIBLE:
        return _LENGTH_CODES[length]
    # A number is valid where its type is known, so one look answers both.
    kind = phonenumbers.number_type(parsed)
    region = phonenumbers.region_code_for_number(parsed)
    e164 = phonenumbers.format_number(parsed, PhoneNumberFormat.E164)
    return PhoneNumber(
        e164=e164,
        region=None if region == NO_COUNTRY else region,
        is_assigned=kind != PhoneNumberType.UNKNOWN,
        is_premium=kind == PhoneNumberType.PREMIUM_RATE,
        zones=zones_of(e164[1:], country_code=parsed.country_code or 0, kind=kind),
    )


def _misshapen(number: str) -> str:
    if not number:
        return "phone_missing"
    if _SCIENTIFIC.fullmatch(number):
        return "phone_scientific_notation"
    if _NO_PLUS.fullmatch(number):
        return "phone_no_plus"
    if any(character.isalpha() for character in number):
        return "phone_letters"
    return "phone_malformed"

"""Which phone numbers can be called: E.164 with a plus, and possible in their country."""

import re

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat, ValidationResult

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


def check_number(text: str) -> tuple[str | None, str | None]:
    """Return the number in E.164 and a code: none, a warning, or, without a number, a refusal."""
    number = _FORGIVEN.sub("", text.strip().removeprefix("'"))
    if not _E164.fullmatch(number):
        return None, _misshapen(number)
    try:
        parsed = phonenumbers.parse(number, None)
    except NumberParseException as error:
        return None, _PARSE_CODES.get(error.error_type, "phone_too_short")
    length = phonenumbers.is_possible_number_with_reason(parsed)
    if length != ValidationResult.IS_POSSIBLE:
        return None, _LENGTH_CODES[length]
    code = None if phonenumbers.is_valid_number(parsed) else UNASSIGNED
    return phonenumbers.format_number(parsed, PhoneNumberFormat.E164), code


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

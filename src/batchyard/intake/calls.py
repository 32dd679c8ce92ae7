"""Rows of a list to calls: the verdict on each. Pure, so any process may do it."""

from collections.abc import Callable, Mapping

from batchyard.intake.blocks import Bad, FileCheck, Good, has_nul, shape_fault
from batchyard.intake.columns import Header
from batchyard.intake.phones import UNASSIGNED, PhoneNumber, read_number
from batchyard.intake.synonyms import NUMBER_COLUMN

CELLS_MISSING = "cells_missing"

JudgeCells = Callable[[list[str]], Good | Bad]


def judge_cells(file: FileCheck, header: Header) -> JudgeCells:
    """Return what gives the cells of one row their verdict."""
    needed, width = header.needed, len(header.names)
    variables = [
        (index, name)
        for index, name in enumerate(header.names)
        if index != needed and name is not None
    ]

    def judge(cells: list[str]) -> Good | Bad:
        fault = shape_fault(cells, width)
        if fault is not None:
            return Bad(code=fault)
        return _call(cells[needed], {name: cells[index] for index, name in variables}, file)

    def judge_padded(cells: list[str]) -> Good | Bad:
        if len(cells) >= width:
            return judge(cells)
        verdict = judge([*cells, *[""] * (width - len(cells))])
        if isinstance(verdict, Bad):
            return verdict
        return verdict._replace(warnings=(*verdict.warnings, CELLS_MISSING))

    return judge_padded if file.pads_short_rows else judge


def judge_object(file: FileCheck, found: Mapping[str, object], header: Header | None) -> Good | Bad:
    """Give one JSON object its verdict; `header` names its keys, None where the number's is not."""
    if has_nul(dict(found)):
        return Bad(code="nul_character")
    if header is None:
        return Bad(code="column_missing")
    left_out = set(header.marks.values())
    payload = {
        name: value
        for index, (name, value) in enumerate(zip(header.names, found.values(), strict=True))
        if name is not None and index not in left_out
    }
    return _call(number_text(payload.pop(NUMBER_COLUMN)), payload, file)


def number_text(value: object) -> str:
    """Return a number that may have come as a JSON number; those lost their plus."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def rule_fault(number: PhoneNumber, file: FileCheck) -> str | None:
    """Return why a number that exists is not called."""
    if not number.is_assigned and file.refuses_unassigned:
        return UNASSIGNED
    return file.rules.judge(region=number.region, is_premium=number.is_premium)


def _call(text: str, payload: Mapping[str, object], file: FileCheck) -> Good | Bad:
    number = read_number(text)
    if isinstance(number, str):
        return Bad(code=number)
    if code := rule_fault(number, file):
        return Bad(code=code)
    return Good(
        payload=payload,
        number=number.e164,
        zones=number.zones,
        warnings=() if number.is_assigned else (UNASSIGNED,),
    )

"""The verdict on each row of a block, whatever its kind and format; runs in any process."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache

from batchyard.errors import InvalidRequest
from batchyard.intake import calls, shipments
from batchyard.intake.blocks import (
    NO_MARKS,
    Bad,
    CheckedBlock,
    Collector,
    FileCheck,
    Good,
    Marks,
    object_marks,
    plain_records,
    read_marks,
)
from batchyard.intake.columns import MAX_COLUMNS, Columns, Header, fold_name, name_columns
from batchyard.intake.records import FORMULA_CELL, Record
from batchyard.models import Kind
from batchyard.store.ids import new_id

Judge = Callable[[list[str]], Good | Bad]


def check_rows(
    records: Sequence[Record], *, file: FileCheck, first_turn: int = 0, now: datetime
) -> CheckedBlock:
    """Give each row its verdict; the good ones become items, or corrections of some.

    `first_turn` is where the block goes on with turns among several numbers: begun anew in each
    block, the first of the numbers would have more of them.
    """
    collector = Collector(file, first_turn=first_turn, now=now)
    judge = _judge_cells(file)
    for record in plain_records(records, file):
        marks, verdict = _judge(record, file, judge)
        collector.add(record, marks, verdict, item_id=new_id())
    return collector.block(rows=len(records))


def _judge(record: Record, file: FileCheck, judge: Judge | None) -> tuple[Marks, Good | Bad]:
    _, cells, fault = record
    if fault == FORMULA_CELL and not isinstance(cells, dict):
        # Else it would be one more refused row, beside the one that it was to mend.
        return _with_marks(_marks(cells, file), Bad(code=fault))
    if fault is not None:
        return NO_MARKS, Bad(code=fault)
    if isinstance(cells, dict) and len(cells) > MAX_COLUMNS:
        return NO_MARKS, Bad(code="values_too_many")
    if isinstance(cells, dict):
        marks = object_marks(cells) if file.takes_marks else NO_MARKS
        return _with_marks(marks, _judge_object(cells, file))
    if judge is None or file.header is None:
        return NO_MARKS, Bad(code="json_no_object")
    return _with_marks(_marks(cells, file), judge(cells))


def _marks(cells: Sequence[str], file: FileCheck) -> Marks | Bad:
    if not file.takes_marks or file.header is None:
        return NO_MARKS
    return read_marks(file.header, cells)


def _with_marks(marks: Marks | Bad, verdict: Good | Bad) -> tuple[Marks, Good | Bad]:
    return (NO_MARKS, marks) if isinstance(marks, Bad) else (marks, verdict)


def _judge_cells(file: FileCheck) -> Judge | None:
    if file.header is None:
        return None
    if file.kind is Kind.CALL:
        return calls.judge_cells(file, file.header)
    return shipments.judge_cells(file, file.header)


def _judge_object(found: dict[str, object], file: FileCheck) -> Good | Bad:
    if file.kind is Kind.SHIPMENT:
        return shipments.judge_object(file, found)
    return calls.judge_object(file, found, _header_of(tuple(found), file.columns))


@lru_cache(maxsize=1000)
def _header_of(keys: tuple[str, ...], columns: Columns) -> Header | None:
    """Name the keys of an object as columns are; None when the one needed is missing."""
    present = {fold_name(key) for key in keys}
    given = tuple(pair for pair in columns.given if fold_name(pair[0]) in present)
    try:
        return name_columns(keys, replace(columns, given=given))
    except InvalidRequest:
        return None

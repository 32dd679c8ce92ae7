"""The verdict on each row of a list of calls."""

import pickle
from datetime import UTC, datetime
from uuid import UUID

import orjson
import pytest

from batchyard.intake.blocks import CheckedBlock, FileCheck
from batchyard.intake.check import check_rows
from batchyard.intake.columns import Columns, name_columns
from batchyard.intake.records import Row

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HEADER = name_columns(["name", "contact_number"], Columns())


def check(*rows: Row, refuses_unassigned: bool = False) -> CheckedBlock:
    file = FileCheck(
        batch_id=UUID(int=1), team_id=7, header=HEADER, refuses_unassigned=refuses_unassigned
    )
    return check_rows(rows, file=file, now=NOW)


def test_good_row_becomes_a_call() -> None:
    block = check((2, ['Bø\t"x"\\n', "+45 20123456"], None))
    fields = block.items.data.split(b"\t")
    assert fields[2:7] == [b"2", b"0", b"+4520123456", b"\\N", b"\\N"]
    assert fields[7].decode() == r'{"name":"Bø\\t\\"x\\"\\\\n"}'
    assert (block.rows, block.items.count, block.rejected, block.warnings) == (1, 1, (), ())


@pytest.mark.parametrize(
    "row,code",
    [
        ((2, ["+4520123456"], None), "cells_missing"),
        ((2, ["Bo", "+4520123456", "x"], None), "cells_extra"),
        ((2, ["B\0o", "+4520123456"], None), "nul_character"),
        ((2, ["Bo", ""], None), "phone_missing"),
        ((2, ['"Bo', "+4520123456"], "quote_not_closed"), "quote_not_closed"),
        ((2, ["xxx"], "row_too_long"), "row_too_long"),
    ],
)
def test_faulty_row_is_refused_with_its_code_and_cells(row: Row, code: str) -> None:
    block = check(row)
    assert block.items.count == 0
    (refused,) = block.rejected
    assert (refused.line, refused.code) == (2, code)
    assert list(refused.cells) == [cell.replace("\0", "\ufffd") for cell in row[1]]


def test_empty_cells_beyond_the_last_column_do_no_harm() -> None:
    assert check((2, ["Bo", "+4520123456", "", " "], None)).items.count == 1


def test_unassigned_range_warns_unless_the_installation_refuses_it() -> None:
    row: Row = (9, ["Bo", "+11112223333"], None)
    (warning,) = check(row).warnings
    assert (warning.line, warning.code) == (9, "phone_unassigned_range")
    (refused,) = check(row, refuses_unassigned=True).rejected
    assert (refused.line, refused.code) == (9, "phone_unassigned_range")


@pytest.mark.parametrize(
    "marks,kept,code",
    [
        ({"item_id": "A-17", "error_line": 3}, {"item_id": "A-17", "error_line": 3}, None),
        ({"error": "", "item_id": "A-17"}, {"error": "", "item_id": "A-17"}, None),
        ({"Error_Code": "x", "error": None, "item_id": "A-17"}, None, "item_unknown"),
        ({"error_code": "x", "error": "y", "error_line": 3}, {}, None),
    ],
)
def test_object_is_of_a_mend_file_only_where_it_tells_what_was_wrong(
    marks: dict[str, object], kept: dict[str, object] | None, code: str | None
) -> None:
    found: dict[str, object] = {"contact_number": "+4520123456", **marks}
    file = FileCheck(batch_id=UUID(int=1), team_id=7, header=None, takes_marks=True)
    block = check_rows([(1, found, None)], file=file, now=NOW)
    assert [one.code for one in block.rejected] == ([] if code is None else [code])
    if kept is not None:
        payload = block.items.data.split(b"\t")[7]
        assert orjson.loads(payload) == kept
    assert [one.error_line for one in block.mends] == ([3] if kept == {} else [])


def test_block_travels_between_processes() -> None:
    block = check((2, ["Bo", "+4520123456"], None), (3, ["Al", ""], None))
    assert pickle.loads(pickle.dumps(block)) == block  # noqa: S301 - our own bytes

"""`errors.csv`: opens in a spreadsheet, is corrected there, and is uploaded again as it is."""

import csv
import io

import pytest
from psycopg.types.json import Jsonb

from batchyard.intake.exports import unprotect
from batchyard.store.db import Database
from tests.api.bolna.conftest import Caller
from tests.api.bolna.test_control import run

FORMULAS = ["=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0"]
"""Refused for what they are, wherever they stand."""

NASTY = [
    *FORMULAS,
    "-2+3",
    "\tx",
    "'=1",
    "''",
    'say "hi"',
    "two\nlines",
    "a,b;c",
    "Åse 你好",
    "+4520123456",
    "-12.5",
]


def written(rows: list[list[str]], *, delimiter: str = ",") -> str:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter).writerows(rows)
    return text.getvalue()


async def refused(caller: Caller, batch_id: object, *, delimiter: str = ",") -> list[list[str]]:
    answer = await caller.get(f"/batches/{batch_id}/errors.csv")
    assert answer.status_code == 200
    assert answer.content.startswith(b"\xef\xbb\xbf")
    return list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig")), delimiter=delimiter))


async def test_formulas_are_disarmed_and_numbers_stay(caller: Caller) -> None:
    rows = [["contact_number", "note"], *(["12345", note] for note in NASTY)]
    batch_id = await caller.upload_batch(written(rows))
    _, *given = await refused(caller, batch_id)
    notes = [row[1] for row in given]
    assert [unprotect(note) for note in notes] == NASTY
    for note in notes:
        is_number = note.lstrip("+-").replace(".", "").isdigit()
        assert is_number or not note.startswith(("=", "+", "-", "@", "\t", "\r")), note
    assert "+4520123456" in notes
    assert "-12.5" in notes


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
async def test_corrected_file_comes_back_as_it_is(caller: Caller, delimiter: str) -> None:
    header = ["contact_number", "first_name", "note"]
    rows = [["20123456", f"N{n}", note] for n, note in enumerate(NASTY)]
    batch_id = await caller.upload_batch(written([header, *rows], delimiter=delimiter))
    head, *given = await refused(caller, batch_id, delimiter=delimiter)
    assert head == [*header, "error_code", "error"]
    for row in given:
        row[0] = "+4520123456"
    again = await caller.upload_batch(written([head, *given], delimiter=delimiter))
    calls = (await caller.get(f"/batches/{again}/executions")).json()
    assert [call["context_details"]["recipient_data"] for call in calls] == [
        {"first_name": f"N{n}", "note": note}
        for n, note in enumerate(NASTY)
        if note not in FORMULAS
    ]
    # What was not corrected comes back once more, without the remarks of before.
    head, *left = await refused(caller, again, delimiter=delimiter)
    assert head == [*header, "error_code", "error"]
    assert [row[2] for row in left] == [f"'{formula}" for formula in FORMULAS]
    assert {row[3] for row in left} == {"formula_cell"}


async def test_file_without_faults_has_its_header_only(caller: Caller) -> None:
    batch_id = await caller.upload_batch()
    assert await refused(caller, batch_id) == [
        ["contact_number", "first_name", "error_code", "error"]
    ]


async def test_rows_that_came_as_objects_get_columns(caller: Caller, db: Database) -> None:
    batch_id = await caller.upload_batch("contact_number\n1\n2\n")
    await run(db, "UPDATE batches SET columns = NULL")
    await run(db, "UPDATE uploads SET columns = NULL")
    await run(
        db,
        "UPDATE rejected_rows SET cells = %(cells)s WHERE line = 2",
        cells=Jsonb({"contact_number": 1, "name": None}),
    )
    await run(
        db,
        "UPDATE rejected_rows SET cells = %(cells)s WHERE line = 3",
        cells=Jsonb({"contact_number": "2", "more": "=1"}),
    )
    head, *rows = await refused(caller, batch_id)
    assert head == ["name", "contact_number", "more", "error_code", "error"]
    assert [row[:3] for row in rows] == [["", "1", ""], ["", "2", "'=1"]]

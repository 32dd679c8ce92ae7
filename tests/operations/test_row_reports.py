"""The row report: rows by verdict, and the rows themselves."""

import pytest

from batchyard.errors import NotFound
from batchyard.operations.row_reports import (
    list_refused_rows,
    list_row_warnings,
    read_row_report,
)
from batchyard.store.db import Database
from tests.factories import make_team
from tests.operations.lists import upload
from tests.operations.test_mends import CSV


async def test_report_counts_verdicts_and_lists_them(db: Database) -> None:
    team = await make_team(db)
    batch_id = (await upload(db, CSV, team=team)).batch_id
    report = await read_row_report(db, team=team, batch_id=batch_id)
    assert (report.rows, report.accepted, report.refused) == (5, 2, 3)
    assert report.refused_by_code == {"formula_cell": 1, "phone_no_plus": 1, "cells_extra": 1}
    assert report.warned_by_code == {"phone_unassigned_range": 1, "column_guessed": 1}
    assert [one.format for one in report.uploads] == ["csv"]
    refused = await list_refused_rows(db, team=team, batch_id=batch_id, after=2)
    assert [row.line for row in refused] == [3, 6]
    refused = await list_refused_rows(db, team=team, batch_id=batch_id, code="formula_cell")
    assert [row.line for row in refused] == [2]
    remarks = await list_row_warnings(db, team=team, batch_id=batch_id)
    assert [row.line for row in remarks] == [None, 4]
    after = (0, remarks[0].code, remarks[0].place)
    behind = await list_row_warnings(db, team=team, batch_id=batch_id, after=after)
    assert [row.line for row in behind] == [4]
    with pytest.raises(NotFound):
        await read_row_report(db, team=await make_team(db), batch_id=batch_id)

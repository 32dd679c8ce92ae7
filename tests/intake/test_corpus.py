"""Damaged files, each with the verdicts that are expected of it."""

import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TypedDict
from uuid import UUID

import pytest

from batchyard.errors import InvalidRequest
from batchyard.intake.blocks import CheckedBlock, FileCheck
from batchyard.intake.check import check_rows
from batchyard.intake.columns import Columns
from batchyard.intake.files import FileReader, Format
from batchyard.intake.records import Record
from batchyard.intake.spreadsheets import read_written, write_rows
from batchyard.intake.verdicts import FILE_REFUSALS, REFUSALS, WARNINGS
from batchyard.models import Kind

CORPUS = Path(__file__).with_name("corpus")
NOW = datetime(2026, 1, 2, tzinfo=UTC)
OFFER = {"postnord": {"home", "servicepoint"}}


class Expected(TypedDict):
    """What becomes of a file."""

    kind: str
    file: str | None
    accepted: int
    refused: dict[str, str]
    warned: dict[str, str]


EXPECTED: dict[str, Expected] = json.loads((CORPUS / "expected.json").read_text(encoding="utf-8"))


def check(path: Path, kind: Kind, folder: Path, *, size: int) -> CheckedBlock:
    """Read a file as an upload is read, and judge its rows."""
    columns = Columns(kind=kind)
    reader, content = FileReader(columns), path.read_bytes()
    rows: list[Record] = []
    for start in range(0, len(content), size):
        for some in reader.feed(content[start : start + size]):
            rows += some
    for some in reader.finish():
        rows += some
    if reader.format is Format.XLSX:
        (folder / "a.xlsx").write_bytes(b"".join(reader.spooled))
        out = io.BytesIO()
        write_rows(str(folder / "a.xlsx"), sheet=None, out=out)
        rows = reader.take_rows(read_written(out.getvalue().splitlines()))
        if reader.header is None:
            raise InvalidRequest(code="file_empty")
    if not rows:
        raise InvalidRequest(code="rows_missing")
    file = FileCheck(
        batch_id=UUID(int=1), team_id=1, header=reader.header, columns=columns, offer=OFFER
    )
    return check_rows(rows, file=file, now=NOW)


@pytest.mark.parametrize("size", [777, 1_000_000])
@pytest.mark.parametrize("name", EXPECTED)
def test_damaged_file_gets_the_expected_verdicts(name: str, size: int, tmp_path: Path) -> None:
    expected = EXPECTED[name]
    kind = Kind(expected["kind"])
    if expected["file"] is not None:
        with pytest.raises(InvalidRequest) as refused:
            check(CORPUS / name, kind, tmp_path, size=size)
        assert refused.value.code == expected["file"]
        return
    block = check(CORPUS / name, kind, tmp_path, size=size)
    assert {str(row.line): row.code for row in block.rejected} == expected["refused"]
    assert {str(row.line): row.code for row in block.warnings} == expected["warned"]
    assert block.items.count == expected["accepted"]


def test_corpus_is_complete_and_its_codes_are_documented() -> None:
    files = {path.name for path in CORPUS.iterdir()} - {"expected.json"}
    assert files == EXPECTED.keys()
    assert len(files) >= 60
    for expected in EXPECTED.values():
        assert expected["file"] is None or expected["file"] in FILE_REFUSALS
        assert set(expected["refused"].values()) <= REFUSALS.keys()
        assert set(expected["warned"].values()) <= WARNINGS.keys()

"""Rows of an uploaded list to calls: the verdict on each row. Pure, so any process may do it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from batchyard.intake.phones import UNASSIGNED, check_number
from batchyard.intake.records import Row
from batchyard.intake.tables import Header
from batchyard.intake.verdicts import REFUSALS, WARNINGS
from batchyard.store.ids import new_id
from batchyard.store.imports import RejectedRow, RowWarning
from batchyard.store.item_intake import ItemBlock, NewItem, render_items

NUMBER_COLUMN = "contact_number"


@dataclass(frozen=True, kw_only=True, slots=True)
class CallFile:
    """What every block of one upload shares."""

    batch_id: UUID
    team_id: int
    header: Header
    refuses_unassigned: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedBlock:
    """A block of rows with its verdicts, ready to be stored."""

    items: ItemBlock
    rejected: tuple[RejectedRow, ...]
    warnings: tuple[RowWarning, ...]
    rows: int


def check_calls(rows: Sequence[Row], *, file: CallFile, now: datetime) -> CheckedBlock:
    """Give each row its verdict; the good ones become calls."""
    header = file.header
    variables = [(index, name) for index, name in enumerate(header.names) if index != header.needed]
    items: list[NewItem] = []
    rejected: list[RejectedRow] = []
    warnings: list[RowWarning] = []
    for line, cells, fault in rows:
        code = fault or _shape_fault(cells, len(header.names))
        number = None
        if code is None:
            number, code = check_number(cells[header.needed])
        if number is None or (code == UNASSIGNED and file.refuses_unassigned):
            rejected.append(_rejected(line, cells, code or "phone_malformed"))
            continue
        if code is not None:
            warnings.append(RowWarning(line=line, code=code, reason=WARNINGS[code].text))
        payload = {name: cells[index] for index, name in variables}
        items.append(NewItem(id=new_id(), position=line, number=number, payload=payload))
    return CheckedBlock(
        items=render_items(items, batch_id=file.batch_id, team_id=file.team_id, now=now),
        rejected=tuple(rejected),
        warnings=tuple(warnings),
        rows=len(rows),
    )


def _shape_fault(cells: list[str], columns: int) -> str | None:
    if any("\0" in cell for cell in cells):
        return "nul_character"
    if len(cells) < columns:
        return "cells_missing"
    # Separators after the last column are harmless, cells with content are not.
    if len(cells) > columns and any(cell.strip() for cell in cells[columns:]):
        return "cells_extra"
    return None


def _rejected(line: int, cells: list[str], code: str) -> RejectedRow:
    # PostgreSQL's JSON cannot hold a NUL.
    kept = tuple(cell.replace("\0", "\ufffd") for cell in cells)
    return RejectedRow(line=line, code=code, reason=REFUSALS[code].text, cells=kept)

"""Rows of an uploaded list to calls: the verdict on each row. Pure, so any process may do it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from batchyard.contact_rules import TeamRules
from batchyard.intake.phones import UNASSIGNED, PhoneNumber, read_number
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
    rules: TeamRules = field(default_factory=TeamRules)
    zone_sets: Mapping[tuple[str, ...], int] = field(default_factory=dict)
    looks_up: bool = False
    """Whether the numbers of the block are wanted, to be looked up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedBlock:
    """A block of rows with its verdicts, ready to be stored."""

    items: ItemBlock
    rejected: tuple[RejectedRow, ...]
    warnings: tuple[RowWarning, ...]
    rows: int
    numbers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Numbers of the items with their zones, where they are to be looked up."""


def check_calls(
    rows: Sequence[Row],
    *,
    file: CallFile,
    now: datetime,
    blocked: Mapping[str, str] | None = None,
) -> CheckedBlock:
    """Give each row its verdict; the good ones become calls.

    `blocked` are numbers that were looked up and must not be called, each with its code.
    """
    header = file.header
    variables = [(index, name) for index, name in enumerate(header.names) if index != header.needed]
    items: list[NewItem] = []
    rejected: list[RejectedRow] = []
    warnings: list[RowWarning] = []
    numbers: dict[str, tuple[str, ...]] = {}
    for line, cells, fault in rows:
        number = (
            fault or _shape_fault(cells, len(header.names)) or read_number(cells[header.needed])
        )
        code = number if isinstance(number, str) else _refusal(number, file, blocked or {})
        if isinstance(number, str) or code is not None:
            rejected.append(_rejected(line, cells, code or "phone_malformed"))
            continue
        if not number.is_assigned:
            warnings.append(
                RowWarning(line=line, code=UNASSIGNED, reason=WARNINGS[UNASSIGNED].text)
            )
        if file.looks_up:
            numbers[number.e164] = number.zones
        items.append(
            NewItem(
                id=new_id(),
                position=line,
                number=number.e164,
                zone_set=file.zone_sets.get(number.zones),
                payload={name: cells[index] for index, name in variables},
            )
        )
    return CheckedBlock(
        items=render_items(items, batch_id=file.batch_id, team_id=file.team_id, now=now),
        rejected=tuple(rejected),
        warnings=tuple(warnings),
        rows=len(rows),
        numbers=numbers,
    )


def _refusal(number: PhoneNumber, file: CallFile, blocked: Mapping[str, str]) -> str | None:
    if not number.is_assigned and file.refuses_unassigned:
        return UNASSIGNED
    never = file.rules.judge(region=number.region, is_premium=number.is_premium)
    return never or blocked.get(number.e164)


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

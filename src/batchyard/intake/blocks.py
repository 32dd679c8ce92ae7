"""Blocks of rows with their verdicts: what goes to a process of the pool, and what comes back."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from batchyard.contact_rules import TeamRules
from batchyard.intake.columns import ERROR_LINE, ITEM_ID, Columns, Header, find_marks
from batchyard.intake.exports import unprotect
from batchyard.intake.records import FORMULA_CELL, Record
from batchyard.intake.shipment_shape import Offer
from batchyard.intake.verdicts import REFUSALS, WARNINGS
from batchyard.models import JsonObject, Kind
from batchyard.store.imports import RejectedRow, RowWarning, StagedMend
from batchyard.store.item_intake import ItemBlock, NewItem, render_items, select_items

_BETWEEN = "\x1f"
"""Put between cells, so that one search goes through all of them."""
_FORMULA = re.compile(
    r"\x1f(?:=[^=\s\x1f]|= +(?:[\d(+\-\"@]|[A-Za-z][A-Za-z0-9_.]*\()"
    r"|[@+\-][A-Za-z][A-Za-z0-9_.]*\(|[@+\-][^|\x1f]*\|[^\x1f]*!)"
)
"""What a spreadsheet would work out: =1+1, +SUM(A1), -2+3+cmd|' /C calc'!A0."""
_LINE = re.compile(r"\d{1,9}", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class FileCheck:
    """What every block of one upload shares."""

    batch_id: UUID
    team_id: int
    header: Header | None
    """None for JSON objects."""
    columns: Columns = field(default_factory=Columns)
    refuses_unassigned: bool = False
    pads_short_rows: bool = False
    """Whether cells that are missing at the end of a row are empty; else it is refused."""
    rules: TeamRules = field(default_factory=TeamRules)
    zone_sets: Mapping[tuple[str, ...], int] = field(default_factory=dict)
    offer: Offer | None = None
    """Carriers and services; None is any."""
    is_looked_up: bool = True
    """Whether the database will be asked about the rows that are accepted."""
    takes_marks: bool = False
    """Whether the file may mend a batch: rows say which row or item they are."""

    @property
    def kind(self) -> Kind:
        """What the rows are."""
        return self.columns.kind


# A tuple: made for each row, and a frozen dataclass costs several times as much.
class Good(NamedTuple):
    """A row that can become an item."""

    payload: JsonObject
    number: str | None = None
    reference: str | None = None
    zones: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def key(self) -> str | None:
        """By what duplicates are found."""
        return self.number or self.reference


@dataclass(frozen=True, kw_only=True, slots=True)
class Bad:
    """A row that cannot."""

    code: str
    detail: str = ""
    """What exactly, in front of the verdict's own words."""


Accepted = tuple[int, str | None, tuple[str, ...]]
"""The line of a row that became an item, its number or reference, and the number's zones.

A plain tuple, like the rows: millions of them come back from other processes.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedBlock:
    """A block of rows with its verdicts, ready to be stored."""

    items: ItemBlock
    accepted: tuple[Accepted, ...]
    """One for each item, in the same order; none where nobody asks about them."""
    rejected: tuple[RejectedRow, ...]
    warnings: tuple[RowWarning, ...]
    mends: tuple[StagedMend, ...] = ()
    rows: int
    skipped: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Marks:
    """Which row or item of the batch a row of a mend file is."""

    error_line: int | None = None
    item_id: UUID | None = None

    @property
    def are_set(self) -> bool:
        """Whether the row says anything."""
        return self.error_line is not None or self.item_id is not None


NO_MARKS = Marks()


class Collector:
    """Puts verdicts together to a block."""

    def __init__(self, file: FileCheck, *, first_turn: int, now: datetime) -> None:
        self._file = file
        self._first_turn = first_turn
        self._now = now
        self._items: list[NewItem] = []
        self._accepted: list[Accepted] = []
        self._rejected: list[RejectedRow] = []
        self._warnings: list[RowWarning] = []
        self._mends: list[StagedMend] = []

    def add(self, record: Record, marks: Marks, verdict: Good | Bad, *, item_id: UUID) -> None:
        """Take the verdict on a row; `item_id` is the id of the item it may become."""
        line, cells, _ = record
        if marks.are_set:
            self._mends.append(_mend(line, marks, verdict, self._file))
        if isinstance(verdict, Bad):
            self._rejected.append(reject(line, cells, verdict))
            return
        for code in verdict.warnings:
            self._warnings.append(warn(line, code))
        if marks.item_id is not None:
            # Corrects an item that is there already.
            return
        if self._file.is_looked_up:
            self._accepted.append((line, verdict.key, verdict.zones))
        self._items.append(
            NewItem(
                id=item_id,
                position=line,
                turn=self._first_turn + len(self._items),
                number=verdict.number,
                reference=verdict.reference,
                zone_set=self._file.zone_sets.get(verdict.zones),
                payload=verdict.payload,
            )
        )

    def block(self, *, rows: int) -> CheckedBlock:
        """Return what was taken."""
        file = self._file
        return CheckedBlock(
            items=render_items(
                self._items, batch_id=file.batch_id, team_id=file.team_id, now=self._now
            ),
            accepted=tuple(self._accepted),
            rejected=tuple(self._rejected),
            warnings=tuple(self._warnings),
            mends=tuple(self._mends),
            rows=rows,
        )


def strike(
    block: CheckedBlock,
    records: Sequence[Record],
    *,
    refused: Mapping[int, str],
    skipped: Collection[int] = (),
    warned: Sequence[RowWarning] = (),
) -> CheckedBlock:
    """Take lines that the database knows better about out of a block of these records.

    What was refused already gets the code given here.
    """
    gone = refused.keys() | set(skipped)
    if not gone:
        return replace(block, warnings=(*block.warnings, *warned)) if warned else block
    stays = [line not in gone for line, _, _ in block.accepted]
    cells = {line: cells for line, cells, _ in records if line in gone}
    rejected = [reject(line, cells[line], Bad(code=code)) for line, code in refused.items()]
    kept = [one for one in block.warnings if one.line not in gone]
    left_out = [warn(line, "duplicate_skipped") for line in skipped]
    return replace(
        block,
        items=select_items(block.items, stays),
        accepted=tuple(one for one in block.accepted if one[0] not in gone),
        rejected=(*(one for one in block.rejected if one.line not in refused), *rejected),
        warnings=(*kept, *warned, *left_out),
        mends=tuple(_struck(one, refused) for one in block.mends if one.line not in skipped),
        skipped=block.skipped + len(left_out),
    )


def _struck(mend: StagedMend, refused: Mapping[int, str]) -> StagedMend:
    return replace(mend, is_refused=True, payload=None) if mend.line in refused else mend


def shape_fault(cells: Sequence[str], columns: int) -> str | None:
    """Return what is wrong with the cells of a row, whatever they mean."""
    joined = _BETWEEN.join(["", *cells])
    if "\0" in joined:
        return "nul_character"
    if len(cells) < columns:
        return "cells_missing"
    # Separators after the last column are harmless, cells with content are not.
    if len(cells) > columns and any(cell.strip() for cell in cells[columns:]):
        return "cells_extra"
    return FORMULA_CELL if _FORMULA.search(joined) else None


def read_marks(header: Header, cells: Sequence[str]) -> Marks | Bad:
    """Read which row or item of the batch a row of a mend file is."""
    return _marks(
        _cell(cells, header.marks.get(ERROR_LINE)), _cell(cells, header.marks.get(ITEM_ID))
    )


def object_marks(found: Mapping[str, object]) -> Marks | Bad:
    """Read the same from a JSON object."""
    places = find_marks(found.keys())
    if not places:
        return NO_MARKS
    values = list(found.values())
    line, item = (
        str(values[places[name]] or "") if name in places else "" for name in (ERROR_LINE, ITEM_ID)
    )
    return _marks(line, item)


def plain_records(records: Sequence[Record], file: FileCheck) -> Sequence[Record]:
    """Take off what protects cells in a spreadsheet; only what we wrote ourselves carries that."""
    if file.header is None or not file.header.marks:
        return records
    return [_unprotected(record) for record in records]


def _unprotected(record: Record) -> Record:
    line, cells, fault = record
    if isinstance(cells, dict):
        return record
    return line, [unprotect(cell) for cell in cells], fault


def reject(line: int, cells: Sequence[str] | Mapping[str, object], bad: Bad) -> RejectedRow:
    """Make the row that the row report shows."""
    verdict = REFUSALS[bad.code]
    text = f"{bad.detail} {verdict.cure}" if bad.detail else verdict.text
    return RejectedRow(line=line, code=bad.code, reason=text, cells=_storable(cells))


def warn(line: int | None, code: str, detail: str = "") -> RowWarning:
    """Make the remark that the row report shows."""
    return RowWarning(line=line, code=code, reason=f"{WARNINGS[code].text}{detail}")


def blank_nul(value: object) -> object:
    """Replace NUL in all texts: PostgreSQL's JSON cannot hold it."""
    match value:
        case str():
            return value.replace("\0", "\ufffd")
        case list() | tuple():
            return [blank_nul(one) for one in value]
        case Mapping():
            return {str(blank_nul(name)): blank_nul(one) for name, one in value.items()}
        case _:
            return value


def has_nul(value: object) -> bool:
    """Tell whether a JSON value has a NUL anywhere."""
    match value:
        case str():
            return "\0" in value
        case list():
            return any(has_nul(one) for one in value)
        case dict():
            return any("\0" in name or has_nul(one) for name, one in value.items())
        case _:
            return False


def _storable(
    cells: Sequence[str] | Mapping[str, object],
) -> tuple[str, ...] | Mapping[str, object]:
    if isinstance(cells, Mapping):
        return {str(blank_nul(name)): blank_nul(value) for name, value in cells.items()}
    return tuple(cell.replace("\0", "\ufffd") for cell in cells)


def _marks(line: str, item: str) -> Marks | Bad:
    item = item.strip()
    try:
        item_id = UUID(item) if item else None
    except ValueError:
        return Bad(code="item_unknown")
    found = _LINE.fullmatch(line.strip())
    return Marks(error_line=int(found[0]) if found else None, item_id=item_id)


def _cell(cells: Sequence[str], index: int | None) -> str:
    return cells[index] if index is not None and index < len(cells) else ""


def _mend(line: int, marks: Marks, verdict: Good | Bad, file: FileCheck) -> StagedMend:
    good = verdict if isinstance(verdict, Good) and marks.item_id is not None else None
    return StagedMend(
        line=line,
        error_line=marks.error_line if marks.item_id is None else None,
        item_id=marks.item_id,
        is_refused=isinstance(verdict, Bad),
        payload=None if good is None else good.payload,
        number=None if good is None else good.number,
        reference=None if good is None else good.reference,
        zone_set=None if good is None else file.zone_sets.get(good.zones),
    )

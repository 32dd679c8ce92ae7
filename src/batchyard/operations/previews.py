"""Look at a list before it is uploaded: what it is, what its columns mean, how its first rows do.

Nothing is kept. Of a text the beginning is enough; a spreadsheet has to be there whole.
"""

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from batchyard.errors import InvalidRequest
from batchyard.intake.blocks import CheckedBlock, FileCheck
from batchyard.intake.check import check_rows
from batchyard.intake.columns import NEEDED, Columns, Header, name_columns
from batchyard.intake.files import FileReader, Format
from batchyard.intake.pool import run_apart
from batchyard.intake.records import Record
from batchyard.intake.spool import Spool, convert
from batchyard.models import Kind, Team
from batchyard.operations.contact_checks import open_check
from batchyard.operations.mappings import Proposal, propose_for
from batchyard.operations.offers import find_offer
from batchyard.store.db import Database
from batchyard.store.ids import new_id

SHOWN_ROWS = 6
SHOWN_REFUSED = 6
"""Of the rows behind those."""
JUDGED_ROWS = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class PreviewRow:
    """A row, and the verdict on it; a code of None is none."""

    line: int
    cells: Sequence[str]
    code: str | None
    reason: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Preview:
    """What a list is, as far as its beginning tells."""

    format: Format
    encoding: str | None
    is_encoding_guessed: bool
    delimiter: str | None
    is_gzipped: bool
    columns: Sequence[str]
    names: Sequence[str | None]
    """What each column means; None is left out."""
    guessed: Sequence[str]
    missing: Sequence[str]
    """What no column was found for: then no row was judged."""
    saved_as: str | None
    rows: Sequence[PreviewRow]
    judged: int
    refused: int


class _Anything(Columns):
    """Columns of which none is needed."""

    @property
    def needed(self) -> tuple[str, ...]:
        """Nothing must be there."""
        return ()


async def preview_file(
    db: Database,
    *,
    team: Team,
    kind: Kind,
    beginning: bytes,
    is_whole: bool,
    given: Mapping[str, str | None] | None = None,
    encoding: str | None = None,
    refuses_unassigned: bool = False,
) -> Preview:
    """Tell what a list is and how its first rows would do.

    `given` says what columns mean; without it a saved mapping for the header, or usual names. The
    encoding is found unless given. Raises `InvalidRequest` for what is no list, and for a mapping
    or an encoding that cannot be.
    """
    reader = FileReader(_Anything(kind=kind), encoding=encoding)
    records = await asyncio.to_thread(_read, reader, beginning, is_whole=is_whole)
    if reader.format is Format.XLSX and not is_whole:
        raise InvalidRequest(
            "A spreadsheet this large is not looked at beforehand; save it as CSV.",
            code="sheet_too_large",
        )
    if reader.format is Format.XLSX:
        records = await _read_sheet(reader)
    if reader.format is None or (not records and reader.header is None):
        raise InvalidRequest("The file has no data row.", code="rows_missing")
    cells = _cells(reader.header, records)
    found = await propose_for(db, team=team, kind=kind, header=cells)
    # Files of objects may have other keys in other rows: what is not there means nothing.
    header, missing = _name(cells, kind, found, given)
    block = None
    if header is not None:
        block = await _judge(
            db,
            records,
            team=team,
            header=header if reader.header is not None else None,
            columns=Columns(kind=kind, given=_given(found, given)),
            refuses_unassigned=refuses_unassigned,
        )
    refused = {} if block is None else {row.line: row for row in block.rejected}
    shown = [
        PreviewRow(
            line=line,
            cells=_texts(row, cells),
            code=refused[line].code if line in refused else None,
            reason=refused[line].reason if line in refused else None,
        )
        for line, row, _ in _chosen(records, refused)
    ]
    return Preview(
        format=reader.format,
        encoding=reader.encoding,
        is_encoding_guessed=reader.is_encoding_guessed,
        delimiter=reader.delimiter,
        is_gzipped=reader.is_gzipped,
        columns=cells,
        names=() if header is None else header.names,
        guessed=() if header is None or given is not None else header.guessed,
        missing=missing,
        saved_as=None if given is not None else found.saved_as,
        rows=shown,
        judged=0 if block is None else block.rows,
        refused=len(refused),
    )


def _read(reader: FileReader, beginning: bytes, *, is_whole: bool) -> list[Record]:
    """Return the first rows of a text; of a spreadsheet none are known yet."""
    records: list[Record] = []
    for some in chain(reader.feed(beginning), _last(reader) if is_whole else ()):
        records += some
        # A little that is packed may become a lot.
        if len(records) >= JUDGED_ROWS:
            break
    return records[:JUDGED_ROWS]


def _last(reader: FileReader) -> Iterator[list[Record]]:
    """Yield the rows still open, once everything before was taken."""
    yield from reader.finish()


async def _read_sheet(reader: FileReader) -> list[Record]:
    spool = await asyncio.to_thread(Spool)
    try:
        await asyncio.to_thread(spool.write, b"".join(reader.spooled))
        await run_apart(convert, spool.complete(), sheet=None)
        return await asyncio.to_thread(_take_rows, reader, spool)
    finally:
        await asyncio.to_thread(spool.remove)


def _take_rows(reader: FileReader, spool: Spool) -> list[Record]:
    records: list[Record] = []
    for rows in spool.rows():
        records += reader.take_rows(rows)
        if len(records) >= JUDGED_ROWS:
            break
    return records[:JUDGED_ROWS]


def _chosen(records: Sequence[Record], refused: Collection[int]) -> list[Record]:
    """Return the first rows, and the first of the others that cannot be taken."""
    others = (record for record in records[SHOWN_ROWS:] if record[0] in refused)
    return [*records[:SHOWN_ROWS], *islice(others, SHOWN_REFUSED)]


def _cells(header: Header | None, records: Sequence[Record]) -> tuple[str, ...]:
    if header is not None:
        return header.cells
    names: dict[str, None] = {}
    for _, row, _ in records:
        if isinstance(row, dict):
            names |= dict.fromkeys(str(name) for name in row)
    return tuple(names)


def _name(
    cells: Sequence[str],
    kind: Kind,
    found: Proposal,
    given: Mapping[str, str | None] | None,
) -> tuple[Header | None, Sequence[str]]:
    """Return the named header, or what is missing of it."""
    try:
        return name_columns(cells, Columns(kind=kind, given=_given(found, given))), ()
    except InvalidRequest as error:
        if error.code != "column_missing":
            raise
        return None, tuple(error.faults) or NEEDED[kind]


def _given(
    found: Proposal, given: Mapping[str, str | None] | None
) -> tuple[tuple[str, str | None], ...]:
    if given is not None:
        return tuple(given.items())
    return tuple(found.mapping.items()) if found.saved_as is not None else ()


async def _judge(
    db: Database,
    records: Sequence[Record],
    *,
    team: Team,
    header: Header | None,
    columns: Columns,
    refuses_unassigned: bool,
) -> CheckedBlock:
    contacts = await open_check(db, team=team)
    check = FileCheck(
        batch_id=new_id(),
        team_id=team.id,
        header=header,
        columns=columns,
        refuses_unassigned=refuses_unassigned,
        rules=contacts.rules,
        zone_sets=contacts.zone_sets,
        offer=await find_offer(db, team=team) if columns.kind is Kind.SHIPMENT else None,
    )
    return await asyncio.to_thread(check_rows, records, file=check, now=db.clock())


def _texts(row: list[str] | dict[str, object], cells: Sequence[str]) -> list[str]:
    """Return a text for each column, and those of cells behind the last one."""
    if isinstance(row, dict):
        return ["" if row.get(name) is None else str(row[name]) for name in cells]
    return [*row, *[""] * (len(cells) - len(row))]

"""Which column of a file is what: as given, by its name, or by a usual synonym."""

import hashlib
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from batchyard.errors import InvalidRequest
from batchyard.intake.synonyms import NUMBER_COLUMN, SYNONYMS, plain
from batchyard.models import Kind

MAX_COLUMNS = 2000

ERROR_CODE, ERROR, ERROR_LINE, ITEM_ID = "error_code", "error", "error_line", "item_id"
MEND_COLUMNS = (ERROR_CODE, ERROR, ERROR_LINE, ITEM_ID)
"""What a mend file has beside the columns of the upload."""

NEEDED: Mapping[Kind, tuple[str, ...]] = {
    Kind.CALL: (NUMBER_COLUMN,),
    Kind.SHIPMENT: (
        "currency",
        "delivery.carrier",
        "delivery.service",
        "parties.receiver.address.address_lines.0",
        "parties.receiver.address.city",
        "parties.receiver.address.country",
        "parties.receiver.contact.name_lines.0",
    ),
}
"""What a table must have a column for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Columns:
    """How the columns of a file are to be found."""

    kind: Kind = Kind.CALL
    given: tuple[tuple[str, str | None], ...] = ()
    """What columns mean, by their names in the file; None leaves one out."""
    remembered: tuple[tuple[str, str | None], ...] = ()
    """The same from earlier files of the batch; counts where such a column comes again."""
    takes_synonyms: bool = True

    @property
    def needed(self) -> tuple[str, ...]:
        """What must be there."""
        return NEEDED[self.kind]

    @property
    def named(self) -> frozenset[str]:
        """Names that columns are known to have in the file, as `plain` writes them."""
        said = (*NEEDED[self.kind], *dict(self.given), *dict(self.remembered))
        return frozenset(map(plain, said))

    @property
    def likely(self) -> frozenset[str]:
        """Usual names of columns of this kind, as `plain` writes them."""
        if not self.takes_synonyms:
            return frozenset()
        usual = SYNONYMS[self.kind]
        return frozenset(map(plain, chain(usual, *usual.values())))


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """The columns of a table."""

    cells: tuple[str, ...]
    """As in the file."""
    names: tuple[str | None, ...]
    """What each means; each different from all others. None is left out."""
    guessed: tuple[str, ...] = ()
    """Columns found by a synonym."""
    is_renamed: bool = False
    """Whether a name is not the one in the file, though nobody asked for that."""
    marks: Mapping[str, int] = field(default_factory=dict)
    """Where a mend file says what was wrong, and which item a row is."""

    @property
    def needed(self) -> int:
        """Index of the column with the number; for lists of calls."""
        return self.names.index(NUMBER_COLUMN)

    @property
    def mapping(self) -> dict[str, str | None]:
        """What the columns mean, to be used again for the same header; of one name the first."""
        marks = set(self.marks.values())
        pairs = enumerate(zip(self.cells, self.names, strict=True))
        return dict(first_meanings(pair for index, pair in pairs if index not in marks))


def fold_name(name: str) -> str:
    """Return a column's name as names are compared, without case and blanks around it.

    Line breaks in it are alike: a browser sends each as CRLF, whatever the file has.
    """
    return with_plain_lines(name).strip().casefold()


def first_meanings(
    pairs: Iterable[tuple[str, str | None]],
) -> tuple[tuple[str, str | None], ...]:
    """Return what columns mean, of those with one name the first: the others follow from it."""
    found: dict[str, tuple[str, str | None]] = {}
    for name, meaning in pairs:
        found.setdefault(fold_name(name), (name, meaning))
    return tuple(found.values())


def with_plain_lines(text: str) -> str:
    """Return a text whose lines end with LF, however they did."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def header_hash(cells: Sequence[str]) -> bytes:
    """Return what tells one header from another; case and blanks around names do not."""
    names = (unicodedata.normalize("NFC", cell).strip().casefold() for cell in cells)
    return hashlib.sha256("\x1f".join(names).encode("utf-8", "surrogatepass")).digest()


def name_columns(cells: Sequence[str], columns: Columns) -> Header:
    """Find out what each column means; raise `InvalidRequest` when a needed one is missing."""
    if len(cells) > MAX_COLUMNS:
        raise InvalidRequest(
            f"The file has more than {MAX_COLUMNS} columns.", code="columns_too_many"
        )
    marks = find_marks(cells)
    meanings, guessed = _find_meanings(cells, columns, left_out=set(marks.values()))
    missing = [name for name in columns.needed if name not in meanings.values()]
    if missing:
        what = "no column" if len(missing) == 1 else "no columns"
        raise InvalidRequest(
            f"The file has {what} {', '.join(missing)}.",
            faults={name: ["There is no such column."] for name in missing},
            code="column_missing",
        )
    return _header(cells, meanings, guessed, marks)


def recall_names(cells: Sequence[str], columns: Columns) -> tuple[str | None, ...]:
    """Return what the columns of a mend file will mean, whatever is missing among them."""
    marks = find_marks(cells)
    meanings, guessed = _find_meanings(cells, columns, left_out=set(marks.values()))
    return _header(cells, meanings, guessed, marks).names


def find_marks(cells: Collection[str]) -> Mapping[str, int]:
    """Return where a mend file, or an object of one, has its own columns; none unless it is one.

    It has to tell what was wrong: a list of somebody else may well have an `item_id`.
    """
    # Asked for every JSON object, and hardly any is of a mend file.
    if not any(cell.strip().casefold() == ERROR_CODE for cell in cells):
        return {}
    places = {cell.strip().casefold(): index for index, cell in enumerate(cells)}
    if ERROR not in places:
        return {}
    return {name: places[name] for name in MEND_COLUMNS if name in places}


def _find_meanings(
    cells: Sequence[str], columns: Columns, *, left_out: set[int]
) -> tuple[dict[int, str | None], list[str]]:
    """Return what columns mean by their index: as given, else by name, else by synonym."""
    meanings: dict[int, str | None] = dict.fromkeys(left_out)
    given = {fold_name(name): meaning for name, meaning in columns.given}
    for index, cell in enumerate(cells):
        name = fold_name(cell)
        if index not in meanings and name in given:
            meanings[index] = given[name] or None
            # Only the first of two columns with one name is meant.
            del given[name]
    if given:
        unknown = ", ".join(sorted(given))
        raise InvalidRequest(f"The file has no column {unknown}.", code="column_missing")
    remembered = {fold_name(name): meaning for name, meaning in columns.remembered}
    for index, cell in enumerate(cells):
        name = fold_name(cell)
        if index in meanings or name not in remembered:
            continue
        meaning = remembered.pop(name)
        if meaning is None or meaning not in meanings.values():
            meanings[index] = meaning
    wanted = SYNONYMS[columns.kind]
    by_name = {meaning: (meaning,) for meaning in (*columns.needed, *wanted)}
    _match(meanings, [fold_name(cell) for cell in cells], by_name)
    guessed: list[int] = []
    if columns.takes_synonyms:
        guessed = _match(meanings, [plain(cell) for cell in cells], wanted)
    return meanings, [cells[index] for index in guessed]


def _match(
    meanings: dict[int, str | None],
    names: Sequence[str],
    wanted: Mapping[str, Sequence[str]],
) -> list[int]:
    """Give what is still wanted to the first column that has one of its names; return which."""
    free = {index: name for index, name in enumerate(names) if index not in meanings}
    matched: list[int] = []
    for meaning, known in wanted.items():
        found = None if meaning in meanings.values() else _first(free, known)
        if found is not None:
            meanings[found] = meaning
            del free[found]
            matched.append(found)
    return matched


def _first(names: Mapping[int, str], synonyms: Sequence[str]) -> int | None:
    places = {name: index for index, name in reversed(list(names.items()))}
    return next((places[synonym] for synonym in synonyms if synonym in places), None)


def _header(
    cells: Sequence[str],
    meanings: Mapping[int, str | None],
    guessed: Sequence[str],
    marks: Mapping[str, int],
) -> Header:
    taken = {name for name in meanings.values() if name is not None}
    if len(taken) < sum(name is not None for name in meanings.values()):
        raise InvalidRequest("Two columns cannot mean the same.", code="mapping_ambiguous")
    names: list[str | None] = []
    is_renamed = False
    for index, cell in enumerate(cells):
        if index in meanings:
            names.append(meanings[index])
            continue
        wanted = cell.strip() or f"column_{index + 1}"
        name = _free_name(wanted, taken)
        is_renamed = is_renamed or name != cell.strip()
        taken.add(name)
        names.append(name)
    return Header(
        cells=tuple(cells),
        names=tuple(names),
        guessed=tuple(guessed),
        is_renamed=is_renamed,
        marks=marks,
    )


def _free_name(wanted: str, taken: set[str]) -> str:
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    return name

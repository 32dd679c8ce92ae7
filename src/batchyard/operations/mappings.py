"""What columns mean: saved under a name for a team, offered when a header comes again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from batchyard.errors import InvalidRequest, NotFound
from batchyard.intake.columns import Columns, Header, header_hash, name_columns
from batchyard.intake.decoding import find_encoding
from batchyard.intake.flat import leaf_of
from batchyard.intake.tables import TableReader
from batchyard.models import Kind, Team
from batchyard.operations.transactions import Transactions
from batchyard.store import mappings
from batchyard.store.db import Database
from batchyard.store.mappings import SavedMapping

MAX_NAME_LENGTH = 100
MAX_COLUMNS = 2000
STEPS = {".", ".."}
"""Between slashes these are steps in an address: whoever sends or passes one on takes them out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """What the columns of a file seem to mean."""

    columns: Sequence[str]
    mapping: Mapping[str, str | None]
    guessed: Sequence[str] = ()
    """Columns found by a usual other name."""
    missing: Sequence[str] = ()
    """What no column was found for."""
    saved_as: str | None = None
    """The team's mapping for this very header, which this is then."""


async def save_mapping(
    db: Transactions,
    *,
    team: Team,
    kind: Kind,
    name: str,
    mapping: Mapping[str, str | None],
    header: Sequence[str] | None = None,
) -> None:
    """Keep what columns mean under a name; offered when `header` comes again.

    Raises `InvalidRequest`.
    """
    name = name.strip()
    if not name or len(name) > MAX_NAME_LENGTH or "\0" in name:
        raise InvalidRequest(f"A mapping's name has 1 to {MAX_NAME_LENGTH} characters.")
    if STEPS.intersection(name.split("/")):
        told = (
            f"A mapping cannot be called {name!r}: '.' and '..' by themselves are taken out of the "
            "address that has its name. Add a letter to them, or leave them out."
        )
        raise InvalidRequest(told, faults={"name": [told]})
    check_mapping(kind, mapping)
    async with db.transaction() as conn:
        await mappings.save(
            conn,
            team_id=team.id,
            kind=kind,
            name=name,
            mapping=mapping,
            header_hash=None if header is None else header_hash(header),
            now=db.clock(),
        )


async def list_mappings(
    db: Database, *, team: Team, kind: Kind | None = None
) -> list[SavedMapping]:
    """List a team's mappings."""
    async with db.pool.connection() as conn:
        return await mappings.list_all(conn, team_id=team.id, kind=kind)


async def read_mapping(
    db: Transactions, *, team: Team, kind: Kind, name: str
) -> SavedMapping | None:
    """Return what columns mean under a name, where the team has that."""
    if "\0" in name:
        return None
    async with db.transaction() as conn:
        found = await mappings.list_all(conn, team_id=team.id, kind=kind, name=name.strip())
    return found[0] if found else None


async def delete_mapping(db: Transactions, *, team: Team, kind: Kind, name: str) -> None:
    """Forget a mapping. Raises `NotFound`."""
    if "\0" in name:
        raise _missing(name)
    async with db.transaction() as conn:
        if not await mappings.delete(conn, team_id=team.id, kind=kind, name=name.strip()):
            raise _missing(name)


async def find_columns(
    db: Database,
    *,
    team: Team,
    kind: Kind,
    given: Mapping[str, str | None] | None = None,
    name: str | None = None,
) -> Columns:
    """Return how the columns of an upload are found: as given, or as saved under a name.

    What is given wins over what is saved. Raises `InvalidRequest` and `NotFound`.
    """
    mapping: dict[str, str | None] = {}
    if name is not None:
        async with db.pool.connection() as conn:
            saved = await mappings.list_all(conn, team_id=team.id, kind=kind, name=name.strip())
        if not saved:
            raise _missing(name)
        mapping |= saved[0].mapping
    if given:
        check_mapping(kind, given)
        mapping |= given
    return Columns(kind=kind, given=tuple(mapping.items()))


async def propose_mapping(db: Database, *, team: Team, kind: Kind, beginning: bytes) -> Proposal:
    """Tell what the columns of a CSV seem to mean, from its first bytes.

    Raises `InvalidRequest` when they are no CSV.
    """
    return await propose_for(db, team=team, kind=kind, header=read_header(beginning, kind=kind))


async def propose_for(db: Database, *, team: Team, kind: Kind, header: Sequence[str]) -> Proposal:
    """Tell what the columns of a header seem to mean."""
    cells = tuple(header)
    async with db.pool.connection() as conn:
        name = await mappings.find_by_header(
            conn, team_id=team.id, kind=kind, header_hash=header_hash(cells)
        )
    columns = await find_columns(db, team=team, kind=kind, name=name)
    try:
        named = name_columns(cells, columns)
    except InvalidRequest as error:
        return Proposal(columns=cells, mapping={}, missing=tuple(error.faults), saved_as=name)
    return Proposal(columns=cells, mapping=named.mapping, guessed=named.guessed, saved_as=name)


def read_header(beginning: bytes, *, kind: Kind, encoding: str | None = None) -> tuple[str, ...]:
    """Return the cells of a CSV's header from its first bytes, whatever they mean.

    Its encoding is found out unless said. Raises `InvalidRequest`.
    """
    said = None if encoding is None else find_encoding(encoding)
    reader = TableReader(_Anything(kind=kind), encoding=said)
    reader.feed(beginning)
    header: Header | None = reader.header
    if header is None:
        reader.finish()
        header = reader.header
    if header is None:
        raise InvalidRequest("The file is empty.", code="file_empty")
    return header.cells


class _Anything(Columns):
    """Columns of which none is needed."""

    @property
    def needed(self) -> tuple[str, ...]:
        """Nothing must be there."""
        return ()


def check_mapping(kind: Kind, mapping: Mapping[str, str | None]) -> None:
    """Raise `InvalidRequest` naming each fault of a mapping."""
    faults: dict[str, list[str]] = {}
    if len(mapping) > MAX_COLUMNS:
        raise InvalidRequest(f"A mapping has at most {MAX_COLUMNS} columns.")
    taken: set[str] = set()
    for column, meaning in mapping.items():
        if meaning is None:
            continue
        if meaning in taken:
            faults[column] = [f"Another column is {meaning!r} already."]
        elif kind is Kind.SHIPMENT and leaf_of(meaning) is None:
            faults[column] = [f"A shipment has no {meaning!r}."]
        elif not meaning.strip() or len(meaning) > 255 or "\0" in meaning + column:
            faults[column] = ["A name has 1 to 255 characters."]
        taken.add(meaning)
    if faults:
        told = " ".join(f"{column}: {one[0]}" for column, one in faults.items())
        raise InvalidRequest(told, faults=faults, code="mapping_invalid")


def _missing(name: str) -> NotFound:
    return NotFound(f"There is no mapping {name!r}.")

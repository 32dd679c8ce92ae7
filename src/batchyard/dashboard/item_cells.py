"""The values of a call in the form of its correction: what it showed of them, what was typed."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote

import orjson

from batchyard.dashboard.forms import Fields
from batchyard.errors import Conflict
from batchyard.intake.columns import with_plain_lines
from batchyard.models import JsonObject
from batchyard.operations.corrections import MEANWHILE

LONGEST = 1_000_000
"""Of a value, and of all of them as JSON."""
SHOWN = "was_cells"
"""The field that tells what was shown: one for all, and marks instead of values, because a form
has room for so many fields and bytes only."""
MARK_LENGTH = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """A value with a field of its own."""

    field: str
    name: str
    value: str
    shown: str
    """The mark of what was there when it was shown first."""

    @property
    def has_lines(self) -> bool:
        """Whether it is of several lines, which a field of one line would put together."""
        return "\n" in with_plain_lines(self.value)


def show_cells(payload: JsonObject) -> Sequence[Cell]:
    """Return values as they are held."""
    return [_held(name, str(value)) for name, value in payload.items()]


def read_cells(payload: JsonObject, fields: Fields) -> Sequence[Cell]:
    """Return values as they were typed, and as they are held where they were not touched.

    Raises `Conflict` where the form showed other names than there are.
    """
    shown = _read_shown(fields)
    if shown is not None and shown.keys() != payload.keys():
        raise Conflict(MEANWHILE)
    return [
        # A form that does not tell what it showed showed what there is.
        _typed(fields, held, shown=held.shown if shown is None else shown[held.name])
        for held in show_cells(payload)
    ]


def mark_cells(cells: Sequence[Cell]) -> str:
    """Return what the field that tells what was shown has in it."""
    return orjson.dumps({cell.name: cell.shown for cell in cells}).decode()


def _read_shown(fields: Fields) -> Mapping[str, str] | None:
    """Return the marks of what was shown by their names; None where the form does not tell."""
    if not fields.flag(SHOWN):
        return None
    try:
        told = orjson.loads(fields.exact(SHOWN, longest=LONGEST))
    except orjson.JSONDecodeError:
        return {}
    return {name: str(mark) for name, mark in told.items()} if isinstance(told, dict) else {}


def _typed(fields: Fields, held: Cell, *, shown: str) -> Cell:
    # A field that is missing was not shown.
    if not fields.flag(held.field):
        return held
    typed = fields.exact(held.field, longest=LONGEST)
    if _mark(typed) in {held.shown, shown}:
        return held
    # A form that comes back with a fault still knows what it showed at first.
    return replace(held, value=with_plain_lines(typed).strip(), shown=shown)


def _held(name: str, value: str) -> Cell:
    # In plain letters, which a browser leaves.
    return Cell(field=f"cell.{quote(name)}", name=name, value=value, shown=_mark(value))


def _mark(value: str) -> str:
    """Return a mark of a value; a browser makes CRLF of its line breaks."""
    return hashlib.sha256(with_plain_lines(value).encode()).hexdigest()[:MARK_LENGTH]

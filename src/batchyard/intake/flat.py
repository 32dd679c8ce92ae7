"""Flat columns with dotted names to the shape of a shipment, and back."""

import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from pydantic import BaseModel

from batchyard.intake.shipment_shape import Shipment

_NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d+)?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
_PARCEL = re.compile(r"parcels\.\d{1,3}", re.ASCII)

UPPER = ("country", "currency", "country_of_origin", "incoterm")
LOWER = ("carrier", "service", "weight_unit", "dimension_unit")
"""Codes that people write in any case."""

DEFAULTS: Mapping[str, str] = {
    name: field.default
    for name, field in Shipment.model_fields.items()
    if isinstance(field.default, str)
}
"""What a shipment has where nobody says otherwise: its units."""

Leaf = type[str] | type[int] | type[float]


@cache
def leaf_of(column: str) -> Leaf | None:
    """Return what a column of shipments holds, such as `parcels.0.gross_weight`; None is none."""
    kind: object = Shipment
    for part in column.split("."):
        if part.isdecimal():
            inner = typing.get_args(kind) if typing.get_origin(kind) is list else ()
            if not inner or len(part) > 3:
                return None
            kind = _bare(inner[0])
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            if part not in kind.model_fields:
                return None
            kind = _bare(kind.model_fields[part].annotation)
        else:
            return None
    if typing.get_origin(kind) is typing.Literal:
        return str
    return kind if kind in {str, int, float} else None


def is_parcel(column: str) -> bool:
    """Tell whether a column stands for a whole parcel: `{}` in it is one without values."""
    return _PARCEL.fullmatch(column) is not None


def list_columns() -> Iterator[str]:
    """Yield every column that a flat file of shipments can have; 0 stands for any index."""
    yield from _columns(Shipment, "")


def nest(names: Sequence[str | None], cells: Sequence[str]) -> dict[str, object]:
    """Put the cells of a row where their columns say; empty ones are left out.

    What is no number in a column of numbers stays text, for the check to refuse.
    """
    tree: dict[str, object] = {}
    for name, cell in zip(names, cells, strict=False):
        text = cell.strip()
        if name is None or not text:
            continue
        leaf = leaf_of(name)
        if leaf is not None:
            _put(tree, name.split("."), _converted(text, leaf, name))
        elif text == "{}" and is_parcel(name):
            _make(tree, name.split("."))
    nested = _listed(tree)
    if isinstance(nested, dict):
        nested.setdefault("parcels", [{}])
        return nested
    return {}


def unnest(found: Mapping[str, object]) -> dict[str, object]:
    """Return everything in an object by its dotted name, as `nest` would put it back."""
    cells: dict[str, object] = {}
    for name, value in found.items():
        inner = dict(enumerate(value)) if isinstance(value, list) else value
        if isinstance(inner, Mapping) and inner:
            parts = unnest({str(key): one for key, one in inner.items()})
            cells |= {f"{name}.{part}": one for part, one in parts.items()}
        else:
            cells[name] = value
    return cells


def _bare(annotation: object) -> object:
    """Take `Annotated` and `| None` off a type."""
    while typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    if typing.get_origin(annotation) in {typing.Union, types.UnionType}:
        known = [one for one in typing.get_args(annotation) if one is not type(None)]
        return _bare(known[0])
    return annotation


def _columns(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        kind, path = _bare(field.annotation), f"{prefix}{name}"
        if typing.get_origin(kind) is list:
            kind, path = _bare(typing.get_args(kind)[0]), f"{path}.0"
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _columns(kind, f"{path}.")
        else:
            yield path


def _converted(text: str, leaf: Leaf, name: str) -> object:
    last = name.rpartition(".")[2]
    if leaf is int:
        return int(text) if _WHOLE.fullmatch(text) and len(text) < 20 else text
    if leaf is float:
        return float(text.replace(",", ".")) if _NUMBER.fullmatch(text) else text
    if last in UPPER:
        return text.upper()
    return text.lower() if last in LOWER else text


def _put(tree: dict[str, object], path: Sequence[str], value: object) -> None:
    for part in path[:-1]:
        inner = tree.setdefault(part, {})
        if not isinstance(inner, dict):
            return
        tree = inner
    tree[path[-1]] = value


def _make(tree: dict[str, object], path: Sequence[str]) -> None:
    """Put an object there unless one is there already, whatever it has."""
    for part in path:
        inner = tree.setdefault(part, {})
        if not isinstance(inner, dict):
            return
        tree = inner


def _listed(tree: object) -> object:
    """Make lists of what has only numbers for names, in their order, without gaps."""
    if not isinstance(tree, dict):
        return tree
    if tree and all(name.isdecimal() for name in tree):
        return [_listed(tree[name]) for name in sorted(tree, key=int)]
    return {name: _listed(inner) for name, inner in tree.items()}

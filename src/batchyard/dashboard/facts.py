"""What was uploaded, and what came back, as names and values that people read; pure."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby, islice

MOST_FACTS = 120
GIST_FACTS = 6

TELLING: tuple[tuple[str, ...], ...] = (
    ("parties", "receiver", "contact", "company"),
    ("parties", "receiver", "contact", "name_lines"),
    ("parties", "receiver", "address", "postal_code"),
    ("parties", "receiver", "address", "city"),
    ("parties", "receiver", "address", "country"),
    ("delivery", "carrier"),
    ("delivery", "service"),
)
"""What a shipment is recognised by, sooner than by its first values."""

Fact = tuple[str, str]
"""A name and its value."""

Money = Callable[[float, str], str]
"""Writes an amount that is given in the smallest unit of a currency."""
CURRENCY = re.compile("[A-Z]{3}")
MOST = 10**18
"""No amount is as large; it could not be written to the digit."""
MINOR = "_minor"
"""Ends the names of amounts in answers of providers; once they are written it says nothing."""


def group_facts(
    value: Mapping[str, object], *, columns: Sequence[str] | None = None
) -> list[tuple[str, list[Fact]]]:
    """Return the values in an object, those of each object inside it under where it is.

    In the order of the columns they came in, as far as those are known: the database has another.
    """
    facts = list(islice(_walk(_ordered(value, columns), ()), MOST_FACTS))
    return [
        (" / ".join(path), [(name, text) for _, name, text in some])
        for path, some in groupby(facts, key=lambda fact: fact[0])
    ]


def tell_gist(value: Mapping[str, object], *, columns: Sequence[str] | None = None) -> str:
    """Return the first few values of an object, to recognise it by."""
    told = [text for path in TELLING if (text := _at(value, path))]
    facts = islice(_walk(_ordered(value, columns), ()), GIST_FACTS)
    return " · ".join(told or [text for _, _, text in facts])


def tell_amounts(value: Mapping[str, object], money: Money, *, ending: str) -> Mapping[str, object]:
    """Return an object with its amounts, known by the ending of their names, written as money.

    They are of the currency that the object names; without one they stay as they are.
    """
    currency = value.get("currency")
    if not (isinstance(currency, str) and CURRENCY.fullmatch(currency)):
        return value
    code: str = currency

    def tell(name: str, one: object) -> tuple[str, object]:
        match one:
            case Mapping():
                return name, dict(tell(*pair) for pair in one.items())
            case list():
                return name, [tell("", each)[1] for each in one]
            case int() | float() if name.endswith(ending) and _is_amount(one):
                return name.removesuffix(MINOR), money(one, code)
        return name, one

    return dict(tell(*pair) for pair in value.items())


def _is_amount(value: float) -> bool:
    return not isinstance(value, bool) and abs(value) < MOST


def is_nested(value: Mapping[str, object]) -> bool:
    """Tell whether an object is more than names and values."""
    return any(isinstance(one, Mapping | list) for one in value.values())


def write_pretty(value: object) -> str:
    """Write JSON for people; whole numbers of any size, as the database has them."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def _ordered(value: Mapping[str, object], columns: Sequence[str] | None) -> Mapping[str, object]:
    if not columns:
        return value
    places = {name: place for place, name in enumerate(columns)}
    names = sorted(value, key=lambda name: places.get(name, len(places)))
    return {name: value[name] for name in names}


def _walk(
    value: Mapping[str, object], path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """Yield plain values first, then what is inside."""
    inner: list[tuple[str, Mapping[str, object]]] = []
    for name, one in value.items():
        match one:
            case Mapping():
                inner.append((name, one))
            case list() if any(isinstance(each, Mapping) for each in one):
                inner += [
                    (f"{name} {number}", each)
                    for number, each in enumerate(one, 1)
                    if isinstance(each, Mapping)
                ]
            case list():
                if told := ", ".join(_text(each) for each in one if each is not None):
                    yield path, name, told
            case None | "":
                continue
            case _:
                yield path, name, _text(one)
    for name, each in inner:
        yield from _walk(each, (*path, name))


def _at(value: object, path: Sequence[str]) -> str:
    """Return what is at a path, in words; nothing where there is nothing."""
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    if isinstance(value, list):
        return ", ".join(_text(one) for one in value if one)
    return "" if value is None else _text(value)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)

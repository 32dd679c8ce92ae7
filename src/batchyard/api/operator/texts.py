"""Texts that the database cannot hold, refused before any route sees them."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice

from fastapi import Request

from batchyard.errors import InvalidRequest

NUL, SURROGATE = "has a NUL character", "has half of a pair of characters"

SUSPICIOUS = (b"\\u", b"\xed", b"\0")
"""Without one of these no such text is in a JSON body, in whatever encoding."""

FAULTS_TOLD = 100
PLACE_CHARACTERS = 300
"""How much is told of what is wrong: all of it could be many times larger than the body."""


async def check_texts(request: Request) -> None:
    """Raise `InvalidRequest` naming texts of the address or the body that cannot be kept.

    For a caller who is known, whichever route it is. A list that is read as a stream is judged row
    by row instead.
    """
    check({"path": request.path_params, "query": _grouped(request)})
    if getattr(request.scope.get("route"), "body_field", None) is None:
        return
    body = await request.body()
    if any(part in body for part in SUSPICIOUS):
        # What is no JSON is refused as that.
        with suppress(ValueError, RecursionError):
            said = await request.json()
            check({"body": said})


def check(said: Mapping[str, object]) -> None:
    """Raise `InvalidRequest` naming texts of a JSON object that cannot be kept."""
    faults: dict[str, list[str]] = {}
    for place, fault in islice(_faults(said), FAULTS_TOLD):
        # The name itself may be such a text.
        name = place.encode("ascii", "backslashreplace").decode().replace("\0", "\\x00")
        faults.setdefault(name, []).append(fault)
    if faults:
        raise InvalidRequest("The request is not valid.", faults=faults, code="invalid")


def _faults(said: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    # Not by recursion: a body may be nested deeper than Python calls. Nor is anything kept of a
    # member that is not open: a body may have many millions.
    names: list[object] = []
    left: list[Iterator[tuple[object, object]]] = [iter(said.items())]
    while left:
        for name, value in left[-1]:
            if isinstance(name, str) and (fault := _fault(name)):
                yield _place([*names, name]), fault
            if isinstance(value, dict | list):
                names.append(name)
                left.append(_members(value))
                break
            if isinstance(value, str) and (fault := _fault(value)):
                yield _place([*names, name]), fault
        else:
            left.pop()
            if left:
                names.pop()


def _members(value: dict[str, object] | list[object]) -> Iterator[tuple[object, object]]:
    return iter(value.items()) if isinstance(value, dict) else enumerate(value)


def _place(names: Iterable[object]) -> str:
    return ".".join(map(str, names))[:PLACE_CHARACTERS]


def _fault(text: str) -> str | None:
    if "\0" in text:
        return NUL
    try:
        text.encode()
    except UnicodeEncodeError:
        return SURROGATE
    return None


def _grouped(request: Request) -> dict[str, list[str]]:
    said = request.query_params
    return {name: said.getlist(name) for name in said}

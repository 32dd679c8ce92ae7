"""Texts that the database cannot hold, refused before any route sees them."""

from collections.abc import Iterator
from contextlib import suppress

from fastapi import Request

from batchyard.errors import InvalidRequest

NUL, SURROGATE = "has a NUL character", "has half of a pair of characters"

SUSPICIOUS = (b"\\u", b"\xed", b"\0")
"""Without one of these no such text is in a JSON body, in whatever encoding."""


async def check_texts(request: Request) -> None:
    """Raise `InvalidRequest` naming each text of the address or the body that cannot be kept.

    A dependency of every route. A list that is read as a stream is judged row by row instead.
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


def check(said: object) -> None:
    """Raise `InvalidRequest` naming each text of a JSON value that cannot be kept."""
    faults: dict[str, list[str]] = {}
    for place, fault in _faults(said):
        # The name itself may be such a text.
        name = place.encode("ascii", "backslashreplace").decode().replace("\0", "\\x00")
        faults.setdefault(name, []).append(fault)
    if faults:
        raise InvalidRequest("The request is not valid.", faults=faults, code="invalid")


def _faults(said: object) -> Iterator[tuple[str, str]]:
    # Not by recursion: a body may be nested deeper than Python calls.
    left: list[tuple[str, object]] = [("", said)]
    while left:
        place, value = left.pop()
        if isinstance(value, dict):
            for name, inner in value.items():
                named = f"{place}.{name}" if place else str(name)
                left += [(named, inner), (named, str(name))]
        elif isinstance(value, list):
            left += [(f"{place}.{index}", inner) for index, inner in enumerate(value)]
        elif isinstance(value, str) and (fault := _fault(value)):
            yield place, fault


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

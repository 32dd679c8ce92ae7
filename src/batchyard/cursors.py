"""Cursors: where the next page of a list begins, opaque to clients."""

import base64
import binascii
from collections.abc import Sequence

import orjson

from batchyard.errors import InvalidRequest


def write_cursor(values: Sequence[object]) -> str:
    """Return the cursor of a row by the values it is sorted by."""
    return base64.urlsafe_b64encode(orjson.dumps(list(values), default=str)).rstrip(b"=").decode()


def read_cursor(text: str | None, *, length: int) -> list[object] | None:
    """Return the values of a cursor; raise `InvalidRequest` for one not made here."""
    if text is None:
        return None
    try:
        values = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError):
        values = None
    if not isinstance(values, list) or len(values) != length:
        raise _foreign()
    return values


def read_number(text: str, *, most: int = 2**63 - 1) -> int:
    """Return the one number of a cursor; raise `InvalidRequest` for one not made here."""
    (number,) = read_cursor(text, length=1) or [None]
    if not isinstance(number, int) or not 0 <= number <= most:
        raise _foreign()
    return number


def _foreign() -> InvalidRequest:
    return InvalidRequest("The cursor is not one of ours.", faults={"cursor": ["not ours"]})

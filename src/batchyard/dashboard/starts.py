"""Cursors in addresses, checked before they reach the database: anybody can type an address."""

from collections.abc import Callable
from uuid import UUID

from batchyard.cursors import read_cursor
from batchyard.errors import InvalidRequest

MOST = 2**31 - 1


def whole(text: str) -> int:
    """Read a whole number that fits a column of the database; raise `ValueError`."""
    number = int(text)
    if abs(number) > MOST:
        raise ValueError(text)
    return number


def read_start(cursor: str | None, type_: Callable[[str], object]) -> tuple[str, str] | None:
    """Return what a cursor says: a value of this type and an id; raise `InvalidRequest`."""
    values = read_cursor(cursor, length=2)
    if values is None:
        return None
    value, id_ = str(values[0]), str(values[1])
    try:
        type_(value)
        UUID(id_)
    except ValueError as error:
        raise InvalidRequest("The cursor is not one of ours.") from error
    return value, id_

"""Where the next page of a list begins: cursors, checked before they reach the database."""

from datetime import datetime
from typing import Annotated, TypeVar
from uuid import UUID

from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError

from batchyard.cursors import read_cursor
from batchyard.errors import InvalidRequest

Shape = TypeVar("Shape", bound=tuple[object, ...])

Whole = Annotated[int, Field(ge=0, lt=2**31, strict=True)]
"""What fits an `integer` of the database."""

BATCH: TypeAdapter[tuple[datetime, UUID]] = TypeAdapter(tuple[AwareDatetime, UUID])
ITEM: TypeAdapter[tuple[UUID, int, UUID]] = TypeAdapter(tuple[UUID, Whole, UUID])
WARNING: TypeAdapter[tuple[int, str, str]] = TypeAdapter(
    tuple[
        Whole,
        Annotated[str, Field(pattern="^[a-z_0-9]*$")],
        Annotated[str, Field(pattern=r"^\([0-9]{1,9},[0-9]{1,4}\)$")],
    ]
)
DELIVERY: TypeAdapter[tuple[datetime, int, UUID]] = TypeAdapter(tuple[AwareDatetime, Whole, UUID])
NUMBER: TypeAdapter[tuple[str]] = TypeAdapter(
    tuple[Annotated[str, Field(pattern=r"^\+[0-9]{1,20}$")]]
)


def read_place(cursor: str | None, shape: TypeAdapter[Shape], *, length: int) -> Shape | None:
    """Return where a page begins; raise `InvalidRequest` for a cursor that is none of this list."""
    values = read_cursor(cursor, length=length)
    if values is None:
        return None
    try:
        return shape.validate_python(values)
    except ValidationError as error:
        raise InvalidRequest(
            "The cursor is not one of ours.", faults={"cursor": ["not ours"]}
        ) from error

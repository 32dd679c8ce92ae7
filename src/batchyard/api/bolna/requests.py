"""What routes read from a request: ids, pages, filters, times."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Path, Query, Response

from batchyard import schedule
from batchyard.api.bolna import translate
from batchyard.api.bolna.answers import Refusal
from batchyard.api.bolna.queries import Page
from batchyard.api.bolna.wire import EXAMPLE_ID
from batchyard.errors import InvalidRequest, NotFound

DEFAULT_PAGE_SIZE = 20
MAX_PAGE_SIZE = 1000
MAX_PAGE_NUMBER = 1_000_000

PageNumber = Annotated[int | None, Query(ge=1, le=MAX_PAGE_NUMBER)]
PageSize = Annotated[int | None, Query(ge=1, le=MAX_PAGE_SIZE)]

BatchId = Annotated[str, Path(description="32 hex digits, or with dashes", examples=[EXAMPLE_ID])]
AgentId = Annotated[str, Path(examples=[EXAMPLE_ID])]
ExecutionId = Annotated[str, Path(examples=[EXAMPLE_ID])]


def known_id(text: str, noun: str) -> UUID:
    """Read an id; raise `NotFound` for what cannot be one."""
    read = translate.parse_id(text)
    if read is None:
        raise missing(noun)
    return read


def missing(noun: str) -> NotFound:
    """Return the answer to an id of nothing that the team has."""
    return NotFound(f"There is no such {noun}.")


def page_of(number: int | None, size: int | None) -> Page | None:
    """Return the page that was asked for; None is everything."""
    if number is None and size is None:
        return None
    return Page(number=number or 1, size=size or DEFAULT_PAGE_SIZE)


def read_time(text: str | None, name: str) -> datetime | None:
    """Read a time; raise `Refusal` when it is none."""
    if text is None:
        return None
    try:
        return schedule.parse_time(text)
    except InvalidRequest:
        raise Refusal(400, f"{name} must be an ISO 8601 time, such as 2030-01-29T08:30:00Z") from (
            None
        )


def json_of(body: bytes | None, noun: str) -> Response:
    """Return JSON that PostgreSQL has rendered; raise `NotFound` when there is none."""
    if body is None:
        raise missing(noun)
    return Response(body, media_type="application/json")

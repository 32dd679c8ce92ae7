"""The do-not-contact list: numbers that are never called, whatever a list says."""

from datetime import datetime, time
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from batchyard.dashboard.forms import Fields, read_fields
from batchyard.dashboard.frame import go_to
from batchyard.dashboard.settings_frame import settings_page
from batchyard.dashboard.visitors import Visitor, needs
from batchyard.errors import InvalidRequest
from batchyard.operations import contacts
from batchyard.schedule import is_in_calendar

PATH = "/settings/do-not-contact"
PAGE = 50

router = APIRouter(prefix=PATH)

Contacts = Annotated[Visitor, Depends(needs("contacts"))]
After = Annotated[str, Query(max_length=40)]


@router.get("")
async def show_list(request: Request, visitor: Contacts, after: After = "") -> Response:
    """Show the list, a page of it."""
    return await _page(request, visitor, after=after.replace("\0", ""))


@router.post("")
async def add_number(request: Request, visitor: Contacts) -> Response:
    """Never contact a number again, also no item that waits."""
    fields = await read_fields(request)
    try:
        until = _read_day(visitor, fields.text("until", longest=20))
        entry = await contacts.block_number(
            visitor.db,
            team=visitor.team,
            actor=visitor.actor,
            number=fields.text("number", longest=40),
            reason=fields.text("reason", longest=500) or None,
            until=until,
        )
    except InvalidRequest as error:
        return await _page(
            request, visitor, typed=fields, faults={"number": [error.message]}, status=422
        )
    told = visitor.voice.say("{number} is not contacted any more.", number=entry.number)
    return go_to(PATH, visitor.config, notice=told)


@router.post("/allow")
async def allow_number(request: Request, visitor: Contacts) -> Response:
    """Allow a number again; it is in the form, as addresses end up in logs."""
    fields = await read_fields(request)
    number = fields.text("number", longest=40)
    await contacts.allow_number(visitor.db, team=visitor.team, actor=visitor.actor, number=number)
    told = visitor.voice.say("{number} may be contacted again.", number=number)
    return go_to(PATH, visitor.config, notice=told)


async def _page(
    request: Request,
    visitor: Visitor,
    *,
    after: str = "",
    typed: Fields | None = None,
    faults: dict[str, list[str]] | None = None,
    status: int = 200,
) -> Response:
    rows = await contacts.list_do_not_contact(
        visitor.db, team=visitor.team, after=after, limit=PAGE + 1
    )
    return settings_page(
        request,
        visitor,
        "settings_contacts.html",
        section="/do-not-contact",
        rows=rows[:PAGE],
        next=rows[PAGE - 1].number if len(rows) > PAGE else None,
        after=after,
        typed=typed,
        faults=faults or {},
        now=visitor.db.clock(),
        status=status,
    )


def _read_day(visitor: Visitor, text: str) -> datetime | None:
    """Return the end of a day where the team is; None where none was given."""
    if not text:
        return None
    try:
        day = datetime.fromisoformat(text).date()
    except ValueError as error:
        raise InvalidRequest("Choose a day.") from error
    end = datetime.combine(day, time(23, 59, 59), tzinfo=ZoneInfo(visitor.voice.timezone))
    if not is_in_calendar(end):
        raise InvalidRequest("Choose a day.")
    return end

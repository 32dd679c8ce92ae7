"""Do something to one item: stop, try again, correct, decide what nobody could find out."""

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote
from uuid import UUID

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response

from batchyard.dashboard.facts import write_pretty
from batchyard.dashboard.forms import Fields, read_fields
from batchyard.dashboard.frame import frame_of, go_to
from batchyard.dashboard.item import Whole, read_whole
from batchyard.dashboard.visitors import WRITE, Visitor
from batchyard.errors import Conflict, InvalidRequest
from batchyard.intake.columns import with_plain_lines
from batchyard.models import JsonObject, Kind
from batchyard.operations import corrections, items, steering
from batchyard.operations.outcomes import Verdict
from batchyard.operations.traces import changing_item
from batchyard.store.db import read_json

LONGEST = 1_000_000
"""Of a value, and of all of them as JSON."""

router = APIRouter()


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """A value with a field of its own."""

    field: str
    name: str
    value: str

    @property
    def has_lines(self) -> bool:
        """Whether it is of several lines, which a field of one line would put together."""
        return "\n" in with_plain_lines(self.value)


@router.post("/items/{item_id}/stop")
async def stop(visitor: Annotated[Visitor, WRITE], item_id: UUID) -> Response:
    """End an item that was not sent yet."""
    async with changing_item(
        visitor.db,
        team=visitor.team,
        actor=visitor.actor,
        item_id=item_id,
        action="item.stop",
    ) as work:
        await items.stop_item(work, team=visitor.team, item_id=item_id)
    return _back(visitor, item_id, "The item was stopped.")


@router.post("/items/{item_id}/retry")
async def retry(visitor: Annotated[Visitor, WRITE], item_id: UUID) -> Response:
    """Try an item again that failed or was stopped."""
    whole = await read_whole(visitor, item_id)
    if not whole.can_retry:
        raise Conflict("The item did not fail.")
    retried = await steering.retry_failed(
        visitor.db,
        team=visitor.team,
        actor=visitor.actor,
        kind=whole.item.kind,
        batch_id=whole.item.batch_id,
        statuses=[whole.item.status],
        item_ids=[item_id],
    )
    if not retried:
        raise Conflict("The item did not fail.")
    return _back(visitor, item_id, "The item is tried again.")


@router.post("/items/{item_id}/resolve")
async def resolve(request: Request, visitor: Annotated[Visitor, WRITE], item_id: UUID) -> Response:
    """Decide what became of an item whose answer was lost."""
    await read_whole(visitor, item_id)
    given = (await read_fields(request)).text("verdict")
    if given not in set(Verdict):
        raise InvalidRequest("Choose what became of it.")
    resolved = await steering.resolve_unknown(
        visitor.db,
        team=visitor.team,
        actor=visitor.actor,
        verdict=Verdict(given),
        item_ids=[item_id],
    )
    if not resolved:
        raise Conflict("The outcome of the item is known by now, or nothing is left of it.")
    return _back(visitor, item_id, "The outcome is decided.")


@router.get("/items/{item_id}/correct")
async def show_correction(
    request: Request, visitor: Annotated[Visitor, WRITE], item_id: UUID
) -> Response:
    """Show what was uploaded, to be corrected."""
    whole = await read_whole(visitor, item_id)
    if not whole.can_correct:
        raise Conflict("The item is out, or did not fail.")
    return _form(request, visitor, whole)


@router.post("/items/{item_id}/correct")
async def correct(request: Request, visitor: Annotated[Visitor, WRITE], item_id: UUID) -> Response:
    """Put the corrected row in its place; one that failed is tried again."""
    whole = await read_whole(visitor, item_id)
    fields = await read_fields(request)
    try:
        payload = _payload(whole, fields)
        number = fields.text("number", longest=100) or None
        fields.check()
        correction = await corrections.check_correction(
            visitor.db,
            team=visitor.team,
            item_id=item_id,
            payload=payload,
            number=number,
            refuses_unassigned=visitor.config.phone_check == "valid",
        )
    except InvalidRequest as error:
        return _form(request, visitor, whole, fields=fields, fault=error.message, status=422)
    # What was replaced is kept with the item, not here: the log would keep it for ever.
    async with changing_item(
        visitor.db,
        team=visitor.team,
        actor=visitor.actor,
        item_id=item_id,
        action="item.correct",
    ) as work:
        await corrections.correct_item(work, correction, team=visitor.team)
    return _back(visitor, item_id, "The item was corrected.")


def _form(
    request: Request,
    visitor: Visitor,
    whole: Whole,
    *,
    fields: Fields | None = None,
    fault: str | None = None,
    status: int = 200,
) -> Response:
    payload = whole.item.payload
    is_flat = _is_flat(whole)
    return frame_of(request).page(
        request,
        visitor,
        "item_correct.html",
        whole=whole,
        number=(whole.item.number or "") if fields is None else fields.text("number"),
        cells=[
            Cell(
                field=_field_of(name),
                name=name,
                value=str(value) if fields is None else _typed(fields, name, held=str(value)),
            )
            for name, value in payload.items()
        ]
        if is_flat
        else [],
        json=None
        if is_flat
        else write_pretty(payload)
        if fields is None
        else fields.text("json", longest=LONGEST),
        fault=fault,
        status=status,
    )


def _is_flat(whole: Whole) -> bool:
    """Tell whether each value has a field of its own; what is nested is edited as JSON."""
    return whole.item.kind is Kind.CALL and all(
        isinstance(value, str) for value in whole.item.payload.values()
    )


def _field_of(name: str) -> str:
    """Return what the field of a value is called: in plain letters, which a browser leaves."""
    return f"cell.{quote(name)}"


def _typed(fields: Fields, name: str, *, held: str) -> str:
    """Return a value as it was typed, and as it is held where it was not touched.

    A browser makes CRLF of its line breaks; a field that is missing was not shown.
    """
    field = _field_of(name)
    if not fields.flag(field):
        return held
    typed = with_plain_lines(fields.exact(field, longest=LONGEST))
    return held if typed == with_plain_lines(held) else typed.strip()


def _payload(whole: Whole, fields: Fields) -> JsonObject:
    if _is_flat(whole):
        return {
            name: _typed(fields, name, held=str(value))
            for name, value in whole.item.payload.items()
        }
    text = fields.text("json", longest=LONGEST)
    try:
        # It refuses what no database takes, such as NaN; the other one keeps long numbers.
        orjson.loads(text)
        given = read_json(text)
    except ValueError as error:
        raise InvalidRequest(f"This is no JSON: {error}.") from error
    if not isinstance(given, dict):
        raise InvalidRequest("This must be a JSON object: {...}.")
    return given


def _back(visitor: Visitor, item_id: UUID, notice: str) -> Response:
    return go_to(f"/items/{item_id}", visitor.config, notice=visitor.voice.say(notice))

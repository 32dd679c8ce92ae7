"""Do something to one item: stop, try again, correct, decide what nobody could find out."""

from typing import Annotated
from uuid import UUID

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response

from batchyard.dashboard.facts import write_pretty
from batchyard.dashboard.forms import Fields, read_fields
from batchyard.dashboard.frame import frame_of, go_to
from batchyard.dashboard.item import Whole, read_whole
from batchyard.dashboard.item_cells import LONGEST, SHOWN, mark_cells, read_cells, show_cells
from batchyard.dashboard.visitors import WRITE, Visitor
from batchyard.errors import Conflict, InvalidRequest
from batchyard.models import JsonObject, Kind
from batchyard.operations import corrections, items, steering
from batchyard.operations.outcomes import Verdict
from batchyard.operations.traces import changing_item
from batchyard.store.db import read_json

router = APIRouter()


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
        number = _number(fields)
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
        await corrections.correct_item(
            work, correction, team=visitor.team, seen=_seen(whole, fields)
        )
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
    cells = None
    if _is_flat(whole):
        cells = show_cells(payload) if fields is None else read_cells(payload, fields)
    held = whole.item.number or ""
    number = None if fields is None else _number(fields)
    return frame_of(request).page(
        request,
        visitor,
        "item_correct.html",
        whole=whole,
        number=held if number is None else number,
        was_number=held if fields is None or number is None else fields.text("was_number"),
        cells=cells or (),
        was_cells=None if cells is None else mark_cells(cells),
        was_json=None if cells is not None else _seen(whole, fields),
        json=None
        if cells is not None
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


def _number(fields: Fields) -> str | None:
    """Return the number that was typed; None where it was not touched."""
    typed = fields.text("number", longest=100)
    return None if typed == fields.text("was_number") else typed


def _seen(whole: Whole, fields: Fields | None) -> str:
    """Return the fingerprint of what is corrected: all of it as JSON, or what is there now."""
    if fields is not None and fields.flag("was_json"):
        return fields.text("was_json")
    return corrections.fingerprint(whole.item.payload, number=whole.item.number)


def _payload(whole: Whole, fields: Fields) -> JsonObject:
    if _is_flat(whole):
        return {cell.name: cell.value for cell in read_cells(whole.item.payload, fields)}
    if fields.flag(SHOWN):
        raise Conflict(corrections.MEANWHILE)
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

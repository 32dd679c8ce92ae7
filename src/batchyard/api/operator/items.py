"""Items: find, read with their whole history, correct, stop, retry."""

from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from batchyard.api.operator import item_queries
from batchyard.api.operator.access import READ, WRITE, Caller, ProvingRoute
from batchyard.api.operator.batches import Cursor, Limit, page, with_waiting
from batchyard.api.operator.item_queries import Place, Proof
from batchyard.api.operator.keyed import (
    KEY,
    KeyedRoute,
    complete,
    fingerprint_of,
    held,
    response_of,
)
from batchyard.api.operator.places import ITEM, read_place
from batchyard.cursors import write_cursor
from batchyard.errors import NotFound
from batchyard.operations import changes, corrections, idempotency, items, waiting
from batchyard.operations.access import Unproven
from batchyard.operations.idempotency import Kept
from batchyard.operations.traces import changing_item
from batchyard.operations.transactions import Joined, one_transaction
from batchyard.store.item_filters import ItemFilters

router = APIRouter(tags=["Items"], route_class=KeyedRoute)
proving = APIRouter(tags=["Items"], route_class=ProvingRoute)
"""For the list that pages turn through."""


class Corrected(BaseModel):
    """What takes the place of what an item has."""

    model_config = ConfigDict(extra="forbid")

    payload: dict[str, JsonValue] = Field(description="the whole of it, as an upload would give it")
    number: Annotated[str, Field(max_length=40)] | None = Field(
        default=None, description="of a call; left out, it stays"
    )


async def read_filters(
    status: Annotated[list[str] | None, Query()] = None,
    error_code: Annotated[str | None, Query(min_length=1, max_length=200)] = None,
    number: Annotated[
        str | None, Query(min_length=1, max_length=40, description="its beginning")
    ] = None,
    reference: Annotated[
        str | None, Query(min_length=1, max_length=255, description="its beginning")
    ] = None,
    text: Annotated[
        str | None, Query(min_length=1, max_length=200, description="words of the payload")
    ] = None,
) -> ItemFilters:
    """Read by what items are chosen."""
    return ItemFilters(
        statuses=status, error_code=error_code, number=number, reference=reference, words=text
    )


Filters = Annotated[ItemFilters, Depends(read_filters)]


@proving.get("/items")
async def list_items(
    caller: Annotated[Caller, READ],
    *,
    batch_id: UUID | None = None,
    filters: Filters,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Find items of the team, in the order of their batch."""
    if caller.unproven is not None and (batch_id is None or filters.asked):
        raise Unproven  # Several statements would have to prove it, or a long one twice.
    async with caller.db.pool.connection() as conn:
        rows = await item_queries.list_items(
            conn,
            filters,
            team_id=caller.team.id,
            batch_id=batch_id,
            after=_read_place(cursor),
            limit=limit + 1,
            proof=_proof_for(caller),
        )
    if caller.unproven is not None and not rows:
        raise Unproven
    place = rows[limit - 1][1:] if len(rows) > limit else None
    return page([row[0] for row in rows[:limit]], place and write_cursor(place))


def _proof_for(caller: Caller) -> Proof | None:
    if caller.unproven is None:
        return None
    return Proof(token_hash=caller.unproven, now=caller.db.clock())


@router.get("/items/{item_id}")
async def read_item(caller: Annotated[Caller, READ], item_id: UUID) -> Response:
    """Return an item: what was sent, every attempt, what it waits for."""
    return await _item(caller, item_id)


@router.patch("/items/{item_id}", dependencies=[KEY])
async def correct_item(
    request: Request, caller: Annotated[Caller, WRITE], item_id: UUID, corrected: Corrected
) -> Response:
    """Correct an item before it is sent, or when it failed: then it is tried again.

    It is judged as in an upload; what it had before is kept in its history.
    """
    # It is judged on connections of its own, so the key is held meanwhile: done twice, the item
    # would be tried twice.
    seen = fingerprint_of(request, await request.body())
    async with held(request, caller, seen=seen) as found:
        if isinstance(found, Kept):
            return response_of(idempotency.replay(found, request=seen))
        correction = await corrections.check_correction(
            caller.db,
            team=caller.team,
            item_id=item_id,
            payload=corrected.payload,
            number=corrected.number,
            refuses_unassigned=caller.config.phone_check == "valid",
        )
        async with one_transaction(caller.work) as work:
            joined = replace(caller, work=work)
            async with _changing(joined, item_id, "item.correct"):
                await corrections.correct_item(work, correction, team=caller.team)
            answer = await _item(joined, item_id)
            if found is not None:
                await complete(found, work.connection, seen=seen, response=answer)
    return answer


@router.post("/items/{item_id}/stop", status_code=204)
async def stop_item(caller: Annotated[Caller, WRITE], item_id: UUID) -> Response:
    """End an item that was not sent yet."""
    async with _changing(caller, item_id, "item.stop") as work:
        await items.stop_item(work, team=caller.team, item_id=item_id)
    return Response(status_code=204)


@router.post("/items/{item_id}/retry")
async def retry_item(caller: Annotated[Caller, WRITE], item_id: UUID) -> Response:
    """Try an item that failed again, under a new key."""
    async with _changing(caller, item_id, "item.retry") as work:
        await changes.retry_item(work, team=caller.team, item_id=item_id)
    return await _item(caller, item_id)


def _changing(caller: Caller, item_id: UUID, action: str) -> AbstractAsyncContextManager[Joined]:
    return changing_item(
        caller.work, team=caller.team, actor=caller.actor, item_id=item_id, action=action
    )


async def _item(caller: Caller, item_id: UUID) -> Response:
    async with caller.work.transaction() as conn:
        shown = await item_queries.read_item(conn, team_id=caller.team.id, item_id=item_id)
    if shown is None:
        raise NotFound("There is no such item.")
    found = await waiting.explain_item(caller.work, team=caller.team, item_id=item_id)
    return Response(with_waiting(shown, found), media_type="application/json")


def _read_place(cursor: str | None) -> Place | None:
    found = read_place(cursor, ITEM, length=3)
    if found is None:
        return None
    batch_id, position, item_id = found
    return Place(batch_id=batch_id, position=position, item_id=item_id)

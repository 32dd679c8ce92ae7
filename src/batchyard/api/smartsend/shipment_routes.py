"""Calls about shipments outside batches, their booking, and services (contract, section 4)."""

from typing import Annotated
from uuid import UUID

import orjson
from fastapi import Body, Query, Request
from fastapi.responses import Response
from pydantic import SkipValidation

from batchyard.api.smartsend import (
    answers,
    faults,
    replies,
    shipment_queries,
    team_queries,
    translate,
)
from batchyard.api.smartsend.answers import ShipmentState
from batchyard.api.smartsend.checking import check_shipment
from batchyard.api.smartsend.keyed import Key, once, once_slowly, tell_preference
from batchyard.api.smartsend.messages import Message
from batchyard.api.smartsend.replies import BODY_ERRORS, KEY_ERRORS, make_router, told
from batchyard.api.smartsend.requests import (
    OperationId,
    Paging,
    Preferring,
    ShipmentId,
    Visit,
    Visiting,
)
from batchyard.api.smartsend.shipment_queries import ShipmentRow
from batchyard.errors import Conflict
from batchyard.intake.shipment_shape import Shipment
from batchyard.models import BatchState as OurState
from batchyard.models import JsonObject
from batchyard.operations import bookings, shipments
from batchyard.operations.bookings import Endings
from batchyard.operations.traces import changing_item
from batchyard.operations.transactions import Joined, Transactions
from batchyard.store.db import Connection

PATIENCE_SECONDS = 25.0
"""So long a client waits for a booking; then it gets an operation to come back to."""

router = make_router("Shipments")


@router.get("/shipments", responses=told(200, answers.PlainShipments))
async def list_shipments(
    visit: Visiting,
    page: Paging,
    state: Annotated[ShipmentState | None, Query(description="only those in this state")] = None,
    batch: Annotated[UUID | None, Query(description="only those of this batch")] = None,
) -> Response:
    """List all shipments of the team, those of its newest batch first; single ones among them."""
    audience = await visit.audience()
    async with visit.db.pool.connection() as connection:
        total, rows = await team_queries.list_shipments(
            connection,
            team_id=visit.team.id,
            batch_id=batch,
            state=state,
            page=page,
            lost_before=visit.lost_before,
        )
    shown = [translate.shipment(row, audience=audience) for row in rows]
    meta = translate.meta(page, total=total, count=len(rows))
    return replies.page(orjson.dumps(shown), meta)


@router.post(
    "/shipments",
    status_code=201,
    responses=told(201, answers.OnePlainShipment, BODY_ERRORS, KEY_ERRORS),
)
async def create_shipment(
    request: Request,
    visit: Visiting,
    body: Annotated[SkipValidation[Shipment], Body()],
    key: Key = None,
) -> Response:
    """Make a shipment outside any batch; it waits for its booking."""
    audience = await visit.audience()
    payloads: list[JsonObject] = []

    async def check() -> None:
        payloads.append(check_shipment(body, audience=audience))

    async def perform(work: Joined) -> Response:
        (payload,) = payloads
        shipment = await shipments.create_shipment(work, team=visit.team, shipment=payload)
        after = {"status": "waiting"}
        await visit.note(work.connection, "shipment.create", subject=shipment, after=after)
        shown = translate.new_shipment(shipment, payload, audience=audience)
        return replies.data(shown, status=201)

    return await once(request, visit, key, perform, check=check)


@router.get("/shipments/{shipment}", responses=told(200, answers.OneShipment))
async def read_shipment(visit: Visiting, shipment: ShipmentId) -> Response:
    """Return one shipment with what went wrong."""
    row = await _read_shipment(visit, shipment)
    return replies.data(translate.explained_shipment(row, audience=await visit.audience()))


@router.delete("/shipments/{shipment}", responses=told(200, answers.Done, KEY_ERRORS))
async def cancel_shipment(
    request: Request, visit: Visiting, shipment: ShipmentId, key: Key = None
) -> Response:
    """Cancel a shipment that is not booked, nor being booked."""

    async def perform(work: Joined) -> Response:
        try:
            async with changing_item(
                work,
                team=visit.team,
                actor=visit.actor,
                item_id=shipment,
                action="shipment.cancel",
            ) as changed:
                await shipments.cancel_shipment(changed, team=visit.team, shipment_id=shipment)
        except Conflict as error:
            raise faults.refused(
                Message.SHIPMENT_TAKEN, under="state", language=visit.language
            ) from error
        return replies.message(Message.SHIPMENT_CANCELLED, visit)

    return await once(request, visit, key, perform)


@router.post(
    "/shipments/{shipment}/booking",
    responses=told(200, answers.OnePlainShipment, KEY_ERRORS, told(202, answers.OneOperation)),
)
async def book_shipment(
    request: Request,
    visit: Visiting,
    shipment: ShipmentId,
    preferred: Preferring,
    key: Key = None,
) -> Response:
    """Book a shipment now and answer it booked or failed; an operation where that takes long.

    With `Prefer: respond-async` the answer is an operation at once.
    """
    if preferred.is_async:

        async def perform(work: Joined) -> Response:
            return await _operation(work, visit, await _book(work, visit, shipment, key))

        return tell_preference(await once(request, visit, key, perform), "respond-async")

    begun: list[UUID] = []

    async def begin() -> None:
        begun.append(await _book(visit.db, visit, shipment, key))

    async def finish() -> Response:
        endings: Endings = request.app.state.endings
        if await endings.wait(shipment, seconds=PATIENCE_SECONDS):
            row = await _read_shipment(visit, shipment)
            if translate.has_ended(row):
                return replies.data(translate.shipment(row, audience=await visit.audience()))
        return await _operation(visit.db, visit, begun[0])

    if key is not None:
        return await once_slowly(request, visit, key, begin=begin, finish=finish)
    await begin()
    return await finish()


@router.get("/operations/{operation}", responses=told(200, answers.OneOperation))
async def read_operation(visit: Visiting, operation: OperationId) -> Response:
    """Return what became of a booking."""
    async with visit.db.pool.connection() as connection:
        return await _read_operation(connection, visit, operation, status=200)


@router.get("/routing/services", responses=told(200, answers.Services))
async def list_services(visit: Visiting) -> Response:
    """List everything that the team can send shipments by."""
    return replies.data(list(translate.services(await visit.audience())))


async def _book(work: Transactions, visit: Visit, shipment: UUID, key: str | None) -> UUID:
    async def seal(conn: Connection, booking_id: UUID) -> None:
        await visit.note(
            conn,
            "shipment.book",
            subject=shipment,
            before={"state": OurState.OPEN},
            after={"state": OurState.QUEUED, "operation": str(booking_id)},
        )

    try:
        return await bookings.book_shipment(
            work, team=visit.team, shipment_id=shipment, key=key, seal=seal
        )
    except Conflict as error:
        in_batch = error.state == OurState.OPEN
        message = Message.SHIPMENT_IN_BATCH if in_batch else Message.SHIPMENT_NOT_OPEN
        raise faults.refused(message, under="state", language=visit.language) from error


async def _read_shipment(visit: Visit, shipment: UUID) -> ShipmentRow:
    async with visit.db.pool.connection() as connection:
        return await shipment_queries.read_shipment(
            connection,
            team_id=visit.team.id,
            shipment_id=shipment,
            lost_before=visit.lost_before,
        )


async def _operation(work: Transactions, visit: Visit, operation: UUID) -> Response:
    async with work.transaction() as connection:
        answer = await _read_operation(connection, visit, operation, status=202)
    answer.headers["Location"] = f"{visit.team_url}/operations/{operation}"
    return answer


async def _read_operation(
    connection: Connection, visit: Visit, operation: UUID, *, status: int
) -> Response:
    row = await shipment_queries.read_operation(
        connection,
        team_id=visit.team.id,
        operation_id=operation,
        lost_before=visit.lost_before,
    )
    shown = translate.operation(row, base_url=visit.team_url, language=visit.language)
    return replies.data(shown, status=status)

"""Calls about booking batches and their shipments (contract, section 3)."""

from contextlib import AbstractAsyncContextManager
from typing import Annotated
from uuid import UUID

import orjson
from fastapi import Body, Query, Request
from fastapi.responses import Response

from batchyard.api.smartsend import answers, queries, replies, shipment_queries, translate, wire
from batchyard.api.smartsend.answers import BatchState, ShipmentState
from batchyard.api.smartsend.checking import Checked, check_shipments
from batchyard.api.smartsend.keyed import Key, once, tell_preference
from batchyard.api.smartsend.messages import Message
from batchyard.api.smartsend.replies import BODY_ERRORS, KEY_ERRORS, make_router, told
from batchyard.api.smartsend.requests import BatchId, Paging, Preferring, Visit, Visiting
from batchyard.models import BatchState as OurState
from batchyard.models import Kind
from batchyard.operations import batches, control, shipments
from batchyard.operations.batches import lock_list
from batchyard.operations.traces import changing_batch
from batchyard.operations.transactions import Joined, Transactions
from batchyard.store.db import Connection

KIND = Kind.SHIPMENT

router = make_router("Batches")


@router.get("/booking-batches", responses=told(200, answers.Batches))
async def list_batches(
    visit: Visiting,
    page: Paging,
    state: Annotated[BatchState | None, Query(description="only batches in this state")] = None,
) -> Response:
    """List the team's batches, newest first."""
    async with visit.db.pool.connection() as connection:
        found = await queries.list_batches(
            connection,
            team_id=visit.team.id,
            state=state,
            page=page,
            lost_before=visit.lost_before,
        )
    meta = translate.meta(page, total=found.total, count=found.count)
    return replies.page(found.json.encode(), meta)


@router.post(
    "/booking-batches",
    status_code=201,
    responses=told(201, answers.OneBatch, BODY_ERRORS, KEY_ERRORS),
)
async def create_batch(
    request: Request,
    visit: Visiting,
    key: Key = None,
    body: Annotated[wire.NewBatch | None, Body()] = None,
) -> Response:
    """Make an empty batch that takes shipments."""
    new = body or wire.NewBatch()

    async def perform(work: Joined) -> Response:
        batch = await batches.create_batch(
            work,
            team=visit.team,
            kind=KIND,
            reference=new.reference,
            identifier=new.identifier,
        )
        after = {"state": OurState.OPEN}
        await visit.note(work.connection, "batch.create", subject=batch, after=after)
        return await _batch(work, visit, batch, status=201)

    return await once(request, visit, key, perform)


@router.get("/booking-batches/{batch}", responses=told(200, answers.OneBatch))
async def read_batch(visit: Visiting, batch: BatchId) -> Response:
    """Return one batch."""
    async with visit.db.pool.connection() as connection:
        return await _read(connection, visit, batch)


@router.delete("/booking-batches/{batch}", responses=told(200, answers.Done, KEY_ERRORS))
async def cancel_batch(
    request: Request, visit: Visiting, batch: BatchId, key: Key = None
) -> Response:
    """Cancel an open batch and its shipments; it is gone after that."""

    async def perform(work: Joined) -> Response:
        async with _changing(work, visit, batch, "batch.cancel") as changed:
            await control.cancel_batch(changed, team=visit.team, kind=KIND, batch_id=batch)
        return replies.message(Message.BATCH_CANCELLED, visit)

    return await once(request, visit, key, perform)


@router.post("/booking-batches/{batch}/dispatch", responses=told(200, answers.OneBatch, KEY_ERRORS))
async def dispatch_batch(
    request: Request, visit: Visiting, batch: BatchId, key: Key = None
) -> Response:
    """Have an open batch booked in the background."""

    async def perform(work: Joined) -> Response:
        async with _changing(work, visit, batch, "batch.dispatch") as changed:
            await batches.dispatch_batch(
                changed, team=visit.team, kind=KIND, batch_id=batch, expected=OurState.OPEN
            )
        # Read in the same transaction: a worker may begin as soon as it is committed.
        return await _batch(work, visit, batch)

    return await once(request, visit, key, perform)


@router.post(
    "/booking-batches/{batch}/shipments",
    status_code=201,
    responses=told(201, answers.AddedShipments, BODY_ERRORS, KEY_ERRORS),
)
async def add_shipments(
    *,
    request: Request,
    visit: Visiting,
    batch: BatchId,
    preferred: Preferring,
    body: Annotated[wire.NewShipments, Body()],
    key: Key = None,
) -> Response:
    """Add shipments to an open batch: all of them, or none and every fault named.

    With `Prefer: handling=lenient` the good ones are added, and `errors` says what is wrong with
    the others, under their places in the request.
    """
    audience = await visit.audience()
    found: list[Checked] = []

    async def check() -> None:
        found.append(
            await check_shipments(body.data, audience=audience, is_lenient=preferred.is_lenient)
        )

    async def perform(work: Joined) -> Response:
        (checked,) = found
        ids = await shipments.add_shipments(
            work, team=visit.team, batch_id=batch, shipments=checked.payloads
        )
        state = {"state": OurState.OPEN}
        await visit.note(
            work.connection,
            "batch.add_rows",
            subject=batch,
            before=state,
            after={**state, "rows": len(ids)},
        )
        added: dict[str, object] = {
            "data": [
                translate.new_shipment(shipment_id, payload, audience=audience)
                for shipment_id, payload in zip(ids, checked.payloads, strict=True)
            ]
        }
        if preferred.is_lenient:
            added["errors"] = checked.faults
        return replies.rendered(orjson.dumps(added), status=201)

    answer = await once(request, visit, key, perform, check=check)
    return tell_preference(answer, "handling=lenient") if preferred.is_lenient else answer


@router.get("/booking-batches/{batch}/shipments", responses=told(200, answers.Shipments))
async def list_shipments_of_batch(
    visit: Visiting,
    batch: BatchId,
    page: Paging,
    state: Annotated[ShipmentState | None, Query(description="only those in this state")] = None,
) -> Response:
    """List the shipments of a batch in its order, each with what went wrong."""
    audience = await visit.audience()
    async with visit.db.pool.connection() as connection:
        total, rows = await shipment_queries.list_shipments(
            connection,
            team_id=visit.team.id,
            batch_id=batch,
            state=state,
            page=page,
            lost_before=visit.lost_before,
        )
    shown = [translate.explained_shipment(row, audience=audience) for row in rows]
    meta = translate.meta(page, total=total, count=len(rows))
    return replies.page(orjson.dumps(shown), meta)


def _changing(
    work: Joined, visit: Visit, batch: UUID, action: str
) -> AbstractAsyncContextManager[Joined]:
    return changing_batch(
        work,
        team=visit.team,
        actor=visit.actor,
        kind=KIND,
        batch_id=batch,
        action=action,
        lock=lock_list,
    )


async def _batch(work: Transactions, visit: Visit, batch: UUID, *, status: int = 200) -> Response:
    async with work.transaction() as connection:
        return await _read(connection, visit, batch, status=status)


async def _read(
    connection: Connection, visit: Visit, batch: UUID, *, status: int = 200
) -> Response:
    shown = await queries.read_batch(
        connection, team_id=visit.team.id, batch_id=batch, lost_before=visit.lost_before
    )
    return replies.rendered(b'{"data":%b}' % shown.encode(), status=status)

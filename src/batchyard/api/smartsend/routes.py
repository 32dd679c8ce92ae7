"""Every call of the Smart Send door (contract, sections 3 and 4)."""

import json
from collections.abc import Mapping
from typing import Annotated
from uuid import UUID

import orjson
from fastapi import APIRouter, Body, Depends, FastAPI, Query
from fastapi.responses import Response

import batchyard
from batchyard.api.smartsend import (
    answers,
    faults,
    queries,
    requests,
    shipment_queries,
    translate,
    wire,
)
from batchyard.api.smartsend.answers import BatchState, ShipmentState
from batchyard.api.smartsend.gate import DoorRoute, Frame
from batchyard.api.smartsend.language import translate as say
from batchyard.api.smartsend.messages import Message
from batchyard.api.smartsend.requests import BatchId, Paging, ShipmentId, Visit, Visiting
from batchyard.config import Config
from batchyard.models import BatchState as OurState
from batchyard.models import Kind
from batchyard.operations import batches, shipments
from batchyard.operations.transactions import one_transaction
from batchyard.store.db import Connection, Database

PREFIX = "/api/v2/team/{team}"
KIND = Kind.SHIPMENT


def build_door(config: Config, db: Database) -> FastAPI:
    """Return the door; its routes carry their whole path."""
    door = FastAPI(
        title="Batchyard: the Smart Send door",
        version=batchyard.__version__,
        openapi_url="/api/v2/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        strict_content_type=False,
        separate_input_output_schemas=False,
        generate_unique_id_function=lambda route: route.name,
    )
    door.state.db = db
    door.state.config = config
    faults.install(door)
    door.add_middleware(Frame)
    door.include_router(router)
    return door


def _told(status: int, model: type[answers.Answer]) -> dict[int | str, dict[str, object]]:
    return {status: {"model": model}}


router = APIRouter(
    prefix=PREFIX,
    route_class=DoorRoute,
    dependencies=[Depends(requests.bearer)],
    responses={
        401: {"model": answers.Done},
        404: {"model": answers.Done},
        422: {"model": answers.Invalid},
    },
)


@router.get("/booking-batches", responses=_told(200, answers.Batches))
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
    return _page(found.json.encode(), meta)


@router.post("/booking-batches", status_code=201, responses=_told(201, answers.OneBatch))
async def create_batch(
    visit: Visiting, body: Annotated[wire.NewBatch | None, Body()] = None
) -> Response:
    """Make an empty batch that takes shipments."""
    new = body or wire.NewBatch()
    async with one_transaction(visit.db) as work:
        batch = await batches.create_batch(
            work,
            team=visit.team,
            kind=KIND,
            reference=new.reference,
            identifier=new.identifier,
        )
        return await _batch(work.connection, visit, batch, status=201)


@router.get("/booking-batches/{batch}", responses=_told(200, answers.OneBatch))
async def read_batch(visit: Visiting, batch: BatchId) -> Response:
    """Return one batch."""
    async with visit.db.pool.connection() as connection:
        return await _batch(connection, visit, batch)


@router.delete("/booking-batches/{batch}", responses=_told(200, answers.Done))
async def cancel_batch(visit: Visiting, batch: BatchId) -> Response:
    """Cancel an open batch and its shipments; it is gone after that."""
    await batches.cancel_batch(visit.db, team=visit.team, kind=KIND, batch_id=batch)
    return _message(Message.BATCH_CANCELLED, visit)


@router.post("/booking-batches/{batch}/dispatch", responses=_told(200, answers.OneBatch))
async def dispatch_batch(visit: Visiting, batch: BatchId) -> Response:
    """Have an open batch booked in the background."""
    # Read in the same transaction: a worker may begin as soon as it is committed.
    async with one_transaction(visit.db) as work:
        await batches.dispatch_batch(
            work, team=visit.team, kind=KIND, batch_id=batch, expected=OurState.OPEN
        )
        return await _batch(work.connection, visit, batch)


@router.post(
    "/booking-batches/{batch}/shipments",
    status_code=201,
    responses=_told(201, answers.AddedShipments),
)
async def add_shipments(
    visit: Visiting, batch: BatchId, body: Annotated[wire.NewShipments, Body()]
) -> Response:
    """Add shipments to an open batch: all of them, or none and every fault named."""
    payloads = await requests.check_shipments(body.data, language=visit.language)
    ids = await shipments.add_shipments(
        visit.db, team=visit.team, batch_id=batch, shipments=payloads
    )
    added = [
        translate.new_shipment(shipment_id, payload, language=visit.language)
        for shipment_id, payload in zip(ids, payloads, strict=True)
    ]
    return _data(added, status=201)


@router.get("/booking-batches/{batch}/shipments", responses=_told(200, answers.Shipments))
async def list_shipments(
    visit: Visiting,
    batch: BatchId,
    page: Paging,
    state: Annotated[ShipmentState | None, Query(description="only those in this state")] = None,
) -> Response:
    """List the shipments of a batch in its order, each with what went wrong."""
    async with visit.db.pool.connection() as connection:
        total, rows = await shipment_queries.list_shipments(
            connection,
            team_id=visit.team.id,
            batch_id=batch,
            state=state,
            page=page,
            lost_before=visit.lost_before,
        )
    data = [translate.shipment(row, language=visit.language) for row in rows]
    meta = translate.meta(page, total=total, count=len(rows))
    return _page(orjson.dumps(data), meta)


@router.get("/shipments/{shipment}", responses=_told(200, answers.OneShipment))
async def read_shipment(visit: Visiting, shipment: ShipmentId) -> Response:
    """Return one shipment with what went wrong."""
    async with visit.db.pool.connection() as connection:
        row = await shipment_queries.read_shipment(
            connection,
            team_id=visit.team.id,
            shipment_id=shipment,
            lost_before=visit.lost_before,
        )
    return _data(translate.shipment(row, language=visit.language))


@router.get("/routing/services", responses=_told(200, answers.Services))
async def list_services(visit: Visiting) -> Response:
    """List everything a shipment can be sent by."""
    return _data(list(translate.services(visit.language)))


async def _batch(
    connection: Connection, visit: Visit, batch: UUID, *, status: int = 200
) -> Response:
    shown = await queries.read_batch(
        connection, team_id=visit.team.id, batch_id=batch, lost_before=visit.lost_before
    )
    return _json(b'{"data":%b}' % shown.encode(), status=status)


def _page(data: bytes, meta: Mapping[str, int | None]) -> Response:
    # Not orjson: a page number may have more than 64 bits.
    return _json(
        b'{"data":%b,"meta":%b}' % (data, json.dumps(meta, separators=(",", ":")).encode())
    )


def _data(data: object, *, status: int = 200) -> Response:
    return _json(orjson.dumps({"data": data}), status=status)


def _message(message: Message, visit: Visit) -> Response:
    return _json(orjson.dumps({"message": say(message, language=visit.language)}))


def _json(body: bytes, *, status: int = 200) -> Response:
    return Response(body, status_code=status, media_type="application/json")

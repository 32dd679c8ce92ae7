"""Decisions on many items at once: what failed is tried again, what nobody knows is settled."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from batchyard.api.operator.access import WRITE, Caller
from batchyard.api.operator.batches import find_kind
from batchyard.api.operator.keyed import LongRoute, answer_in_slices
from batchyard.errors import InvalidRequest
from batchyard.operations import changes, outcomes
from batchyard.operations.outcomes import Verdict
from batchyard.operations.slices import Slices
from batchyard.store.db import Connection

router = APIRouter(tags=["Items"], route_class=LongRoute)


class RetryRequest(BaseModel):
    """Which failed items to try again; nothing given takes all."""

    model_config = ConfigDict(extra="forbid")

    statuses: list[str] | None = Field(default=None, max_length=20)
    item_ids: list[UUID] | None = Field(default=None, max_length=10_000)


class Resolution(BaseModel):
    """What became of items whose outcome nobody could find out, and which."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    verdict: Verdict = Field(alias="as", description="done, failed, or retry under a new key")
    batch_id: UUID | None = None
    item_ids: list[UUID] | None = Field(default=None, max_length=10_000)
    everything: bool = Field(
        default=False, alias="all", description="every unknown item of the team"
    )


class Decided(BaseModel):
    """How many items it was."""

    items: int


@router.post("/batches/{batch_id}/retry", response_model=Decided)
async def retry_failed(
    request: Request,
    caller: Annotated[Caller, WRITE],
    batch_id: UUID,
    chosen: RetryRequest | None = None,
) -> Response:
    """Try failed items again under new keys; unknown outcomes have to be resolved instead."""
    wanted = chosen or RetryRequest()
    kind = await find_kind(caller.db, caller, batch_id)

    async def perform(slices: Slices) -> int:
        return await changes.retry_failed(
            caller.db,
            team=caller.team,
            kind=kind,
            batch_id=batch_id,
            statuses=wanted.statuses,
            item_ids=wanted.item_ids,
            slices=slices,
        )

    async def trace(conn: Connection, items: int) -> None:
        after = {"items": items, "statuses": wanted.statuses}
        await caller.note(conn, "batch.retry", subject=str(batch_id), after=after)

    return await answer_in_slices(request, caller, perform=perform, trace=trace, answer=_decided)


@router.post("/items/resolve", response_model=Decided)
async def resolve(
    request: Request, caller: Annotated[Caller, WRITE], resolution: Resolution
) -> Response:
    """Decide unknown outcomes: of these items, of a batch, or all of the team."""
    if resolution.batch_id is None and resolution.item_ids is None and not resolution.everything:
        raise InvalidRequest(
            "Name a batch or items, or say all.",
            faults={"all": ["must be true when neither batch_id nor item_ids is given"]},
        )

    async def perform(slices: Slices) -> int:
        return await outcomes.resolve_unknown(
            caller.db,
            team=caller.team,
            verdict=resolution.verdict,
            actor=caller.actor.name,
            batch_id=resolution.batch_id,
            item_ids=resolution.item_ids,
            slices=slices,
        )

    async def trace(conn: Connection, items: int) -> None:
        subject = None if resolution.batch_id is None else str(resolution.batch_id)
        after = {"as": resolution.verdict, "items": items}
        await caller.note(conn, "items.resolve", subject=subject, after=after)

    return await answer_in_slices(request, caller, perform=perform, trace=trace, answer=_decided)


def _decided(items: int) -> Response:
    return JSONResponse({"items": items})

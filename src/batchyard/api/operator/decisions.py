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
from batchyard.lifecycle import UNKNOWN_STATUS
from batchyard.operations import changes, outcomes
from batchyard.operations.outcomes import Verdict
from batchyard.operations.slices import Slices
from batchyard.operations.traces import note_batch, read_state
from batchyard.store.db import Connection
from batchyard.store.item_filters import ItemFilters

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
    status: list[str] | None = Field(default=None, max_length=20)
    error_code: str | None = Field(default=None, min_length=1, max_length=200)
    number: str | None = Field(
        default=None, min_length=1, max_length=40, description="its beginning"
    )
    reference: str | None = Field(
        default=None, min_length=1, max_length=255, description="its beginning"
    )
    text: str | None = Field(
        default=None, min_length=1, max_length=200, description="words of the payload"
    )
    everything: bool = Field(
        default=False, alias="all", description="every unknown item of the team"
    )

    def filters(self) -> ItemFilters:
        """Return what narrows the choice as it does a list of items."""
        return ItemFilters(
            statuses=self.status,
            error_code=self.error_code,
            number=self.number,
            reference=self.reference,
            words=self.text,
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
    states: list[str] = []

    async def perform(slices: Slices) -> int:
        kind = await find_kind(caller.db, caller, batch_id)
        states.append(await read_state(caller.db, batch_id=batch_id))
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
        await note_batch(
            conn,
            team=caller.team,
            actor=caller.actor,
            batch_id=batch_id,
            action="batch.retry",
            state_before=states[0],
            after={"items": items, "statuses": wanted.statuses},
            now=caller.db.clock(),
        )

    return await answer_in_slices(request, caller, perform=perform, trace=trace, answer=_decided)


@router.post("/items/resolve", response_model=Decided)
async def resolve(
    request: Request, caller: Annotated[Caller, WRITE], resolution: Resolution
) -> Response:
    """Decide unknown outcomes: of these items, of a batch, of what fits filters, or all.

    The filters are those of the list of items; what is given together narrows together.
    """
    filters = resolution.filters()
    is_named = resolution.batch_id is not None or resolution.item_ids is not None
    if not (is_named or filters.asked or resolution.everything):
        raise InvalidRequest(
            "Name a batch, items or filters, or say all.",
            faults={"all": ["must be true when neither batch_id, item_ids nor a filter is given"]},
        )

    async def perform(slices: Slices) -> int:
        return await outcomes.resolve_unknown(
            caller.db,
            team=caller.team,
            verdict=resolution.verdict,
            actor=caller.actor.name,
            batch_id=resolution.batch_id,
            item_ids=resolution.item_ids,
            filters=filters,
            slices=slices,
        )

    async def trace(conn: Connection, items: int) -> None:
        subject = None if resolution.batch_id is None else str(resolution.batch_id)
        after: dict[str, object] = {"as": resolution.verdict, "items": items}
        if filters.asked:
            # Not what for: what people are found by stays out of a log that forgets nothing.
            after["filters"] = sorted(filters.asked)
        await caller.note(
            conn, "items.resolve", subject=subject, before={"status": UNKNOWN_STATUS}, after=after
        )

    return await answer_in_slices(request, caller, perform=perform, trace=trace, answer=_decided)


def _decided(items: int) -> Response:
    return JSONResponse({"items": items})

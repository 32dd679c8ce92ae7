"""What went wrong: outcomes that wait for a person, and the last failures of a batch."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel, Field

from batchyard.api.operator import fault_queries, queries
from batchyard.api.operator.access import READ, Caller, KnownRoute
from batchyard.api.operator.batches import page
from batchyard.api.operator.items import Filters
from batchyard.errors import NotFound
from batchyard.operations import outcomes

router = APIRouter(tags=["Items"], route_class=KnownRoute)


class UnknownShown(BaseModel):
    """An item that may have been done, with what a person needs to find out."""

    item_id: UUID
    batch_id: UUID
    kind: str
    position: int
    reference: str | None
    number: str | None
    key: str = Field(description="what the provider was sent it under")
    provider: str | None
    provider_reference: str | None
    sent_at: datetime | None
    since: datetime
    error_code: str | None
    error_message: str | None


class Unknowns(BaseModel):
    """The oldest unknown outcomes, and how many there are."""

    data: list[UnknownShown]
    total: int


@router.get("/items/unknown")
async def list_unknown(
    caller: Annotated[Caller, READ],
    *,
    batch_id: UUID | None = None,
    filters: Filters,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
) -> Unknowns:
    """List outcomes that nobody could find out, the oldest first; a person has to decide them."""
    items = await outcomes.list_unknown(
        caller.db, team=caller.team, batch_id=batch_id, filters=filters, limit=limit
    )
    total = await outcomes.count_unknown(
        caller.db, team=caller.team, batch_id=batch_id, filters=filters
    )
    return Unknowns(data=[UnknownShown.model_validate(asdict(item)) for item in items], total=total)


@router.get("/batches/{batch_id}/failures")
async def list_failures(
    caller: Annotated[Caller, READ],
    batch_id: UUID,
    limit: Annotated[int, Query(ge=1, le=100)] = 10,
) -> Response:
    """List what failed last in a batch, the latest first."""
    async with caller.db.pool.connection() as conn:
        if await queries.find_kind(conn, team_id=caller.team.id, batch_id=batch_id) is None:
            raise NotFound("There is no such batch.")
        rows = await fault_queries.list_failures(conn, batch_id=batch_id, limit=limit)
    return page(rows, None)

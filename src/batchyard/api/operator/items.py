"""Items: find, read with their whole history, stop, retry, decide."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from batchyard.api.operator import queries
from batchyard.api.operator.access import READ, WRITE, Caller
from batchyard.api.operator.batches import Cursor, Limit, page, with_waiting
from batchyard.api.operator.cursors import read_cursor, write_cursor
from batchyard.api.operator.keyed import KeyedRoute
from batchyard.errors import InvalidRequest, NotFound
from batchyard.operations import audit, items, outcomes, waiting
from batchyard.operations.audit import Actor
from batchyard.operations.outcomes import Verdict

router = APIRouter(tags=["Items"], route_class=KeyedRoute)


class Resolution(BaseModel):
    """What became of items whose outcome nobody could find out, and which."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    verdict: Verdict = Field(alias="as", description="done, failed, or retry under a new key")
    batch_id: UUID | None = None
    item_ids: list[UUID] | None = Field(default=None, max_length=10_000)
    everything: bool = Field(
        default=False, alias="all", description="every unknown item of the team"
    )


@router.get("/items")
async def list_items(
    caller: Annotated[Caller, READ],
    *,
    batch_id: UUID | None = None,
    status: Annotated[list[str] | None, Query()] = None,
    error_code: Annotated[str | None, Query(max_length=200)] = None,
    number: Annotated[str | None, Query(max_length=40, description="its beginning")] = None,
    reference: Annotated[str | None, Query(max_length=255, description="its beginning")] = None,
    text: Annotated[str | None, Query(max_length=200, description="words of the payload")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Find items of the team, in the order of their batch."""
    after = read_cursor(cursor, length=3)
    filters = {
        "team_id": caller.team.id,
        "batch_id": batch_id,
        "statuses": status,
        "error_code": error_code,
        "number": _prefix(number),
        "reference": _prefix(reference),
        "words": text,
        "after_batch": None if after is None else str(after[0]),
        "after_position": None if after is None else str(after[1]),
        "after_id": None if after is None else str(after[2]),
        "limit": limit + 1,
    }
    async with caller.db.pool.connection() as conn:
        rows = await queries.list_items(conn, filters)
    last = rows[limit - 1] if len(rows) > limit else None
    return page(
        [row[0] for row in rows[:limit]],
        None if last is None else write_cursor([last[1], last[2], last[3]]),
    )


@router.get("/items/{item_id}")
async def read_item(caller: Annotated[Caller, READ], item_id: UUID) -> Response:
    """Return an item: what was sent, every attempt, what it waits for."""
    async with caller.db.pool.connection() as conn:
        shown = await queries.read_item(conn, team_id=caller.team.id, item_id=item_id)
    if shown is None:
        raise NotFound("There is no such item.")
    found = await waiting.explain_item(caller.db, team=caller.team, item_id=item_id)
    return Response(with_waiting(shown, found), media_type="application/json")


@router.post("/items/{item_id}/stop", status_code=204)
async def stop_item(caller: Annotated[Caller, WRITE], item_id: UUID) -> Response:
    """End an item that was not sent yet."""
    async with audit.audited(
        caller.db,
        team=caller.team,
        actor=Actor(name=caller.actor, source=caller.source),
        action="item.stop",
        subject=str(item_id),
    ) as work:
        await items.stop_item(work, team=caller.team, item_id=item_id)
    return Response(status_code=204)


@router.post("/items/resolve")
async def resolve(caller: Annotated[Caller, WRITE], resolution: Resolution) -> dict[str, int]:
    """Decide unknown outcomes: of these items, of a batch, or all of the team."""
    if resolution.batch_id is None and resolution.item_ids is None and not resolution.everything:
        raise InvalidRequest(
            "Name a batch or items, or say all.",
            faults={"all": ["must be true when neither batch_id nor item_ids is given"]},
        )
    resolved = await outcomes.resolve_unknown(
        caller.db,
        team=caller.team,
        verdict=resolution.verdict,
        actor=caller.actor,
        batch_id=resolution.batch_id,
        item_ids=resolution.item_ids,
    )
    async with audit.audited(
        caller.db,
        team=caller.team,
        actor=Actor(name=caller.actor, source=caller.source),
        action="items.resolve",
        subject=None if resolution.batch_id is None else str(resolution.batch_id),
        after={"as": resolution.verdict, "items": resolved},
    ):
        pass
    return {"items": resolved}


def _prefix(text: str | None) -> str | None:
    """Write a LIKE pattern for what begins with this text."""
    if text is None:
        return None
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"{escaped}%"

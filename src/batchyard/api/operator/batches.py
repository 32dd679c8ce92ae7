"""Batches of every kind: list, read, change, steer."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import orjson
from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from batchyard.api.operator import queries
from batchyard.api.operator.access import READ, WRITE, Caller
from batchyard.api.operator.cursors import read_cursor, write_cursor
from batchyard.api.operator.keyed import KeyedRoute
from batchyard.errors import NotFound
from batchyard.models import BatchState, Kind, RetryPolicy
from batchyard.operations import audit, batches, changes, control, deletions, waiting
from batchyard.operations.audit import Actor
from batchyard.operations.waiting import Waiting

router = APIRouter(tags=["Batches"], route_class=KeyedRoute)

Limit = Annotated[int, Query(ge=1, le=500, description="rows of a page")]
Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before")]
Sort = Literal["-created_at", "created_at", "-updated_at", "updated_at"]


class Retries(BaseModel):
    """Which ended calls are tried again, and when."""

    model_config = ConfigDict(extra="forbid")

    statuses: list[str] = Field(default_factory=list, max_length=20)
    max_retries: int = Field(default=0, ge=0, le=10)
    intervals_minutes: list[float] = Field(default_factory=lambda: [30.0], min_length=1)
    on_voicemail: bool = False

    def policy(self) -> RetryPolicy:
        """Return the policy as the engine takes it."""
        return RetryPolicy(
            statuses=tuple(self.statuses),
            max_retries=self.max_retries,
            intervals_minutes=tuple(self.intervals_minutes),
            on_voicemail=self.on_voicemail,
        )


class BatchChange(BaseModel):
    """What may be changed of a batch; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    reference: str | None = Field(default=None, max_length=255)
    priority: int | None = Field(default=None, ge=0, le=9)
    retries: Retries | None = None
    has_brake: bool | None = None
    bypass_windows: bool | None = None
    scheduled_at: AwareDatetime | None = None


class RetryRequest(BaseModel):
    """Which failed items to try again; nothing given takes all."""

    model_config = ConfigDict(extra="forbid")

    statuses: list[str] | None = None
    item_ids: list[UUID] | None = Field(default=None, max_length=10_000)


@router.get("/batches")
async def list_batches(
    caller: Annotated[Caller, READ],
    *,
    kind: Kind | None = None,
    state: Annotated[list[BatchState] | None, Query()] = None,
    agent_id: UUID | None = None,
    provider: str | None = None,
    text: Annotated[str | None, Query(max_length=200, description="in name or reference")] = None,
    created_after: AwareDatetime | None = None,
    created_before: AwareDatetime | None = None,
    singles: Annotated[bool, Query(description="single calls and bookings instead")] = False,
    sort: Sort = "-created_at",
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """List the team's batches with their counts."""
    after = read_cursor(cursor, length=2)
    filters = {
        "team_id": caller.team.id,
        "kind": kind,
        "states": state,
        "agent_id": agent_id,
        "provider": provider,
        "text": text,
        "created_after": created_after,
        "created_before": created_before,
        "is_single": singles,
        "after_value": None if after is None else str(after[0]),
        "after_id": None if after is None else str(after[1]),
        "limit": limit + 1,
    }
    async with caller.db.pool.connection() as conn:
        rows = await queries.list_batches(conn, filters, sort=sort)
    last = rows[limit - 1] if len(rows) > limit else None
    return page(
        [row[0] for row in rows[:limit]],
        None if last is None else write_cursor([last[1], last[2]]),
    )


@router.get("/batches/{batch_id}")
async def read_batch(caller: Annotated[Caller, READ], batch_id: UUID) -> Response:
    """Return a batch, and why it waits."""
    return await _batch(caller, batch_id)


@router.patch("/batches/{batch_id}")
async def change_batch(
    caller: Annotated[Caller, WRITE], batch_id: UUID, change: BatchChange
) -> Response:
    """Change a batch, also while it runs."""
    kind = await _kind(caller, batch_id)
    async with audit.audited(
        caller.db,
        team=caller.team,
        actor=_actor(caller),
        action="batch.change",
        subject=str(batch_id),
        after=change.model_dump(mode="json", exclude_unset=True),
    ) as work:
        await changes.change_batch(
            work,
            team=caller.team,
            kind=kind,
            batch_id=batch_id,
            priority=change.priority,
            retry_policy=None if change.retries is None else change.retries.policy(),
            reference=change.reference,
            has_brake=change.has_brake,
            bypass_windows=change.bypass_windows,
        )
        if change.scheduled_at is not None:
            await batches.schedule_batch(
                work, team=caller.team, kind=kind, batch_id=batch_id, at=change.scheduled_at
            )
    return await _batch(caller, batch_id)


@router.delete("/batches/{batch_id}", status_code=204)
async def delete_batch(caller: Annotated[Caller, WRITE], batch_id: UUID) -> Response:
    """Delete a batch in any state: gone at once, live items still run to their end."""
    kind = await _kind(caller, batch_id)
    async with audit.audited(
        caller.db,
        team=caller.team,
        actor=_actor(caller),
        action="batch.delete",
        subject=str(batch_id),
    ) as work:
        await deletions.delete_batch(work, team=caller.team, kind=kind, batch_id=batch_id)
    return Response(status_code=204)


@router.post("/batches/{batch_id}/dispatch")
async def dispatch_batch(caller: Annotated[Caller, WRITE], batch_id: UUID) -> Response:
    """Start a batch now."""
    return await _steer(caller, batch_id, "dispatch")


@router.post("/batches/{batch_id}/pause")
async def pause_batch(caller: Annotated[Caller, WRITE], batch_id: UUID) -> Response:
    """Let nothing more be sent until the batch is resumed."""
    return await _steer(caller, batch_id, "pause")


@router.post("/batches/{batch_id}/resume")
async def resume_batch(caller: Annotated[Caller, WRITE], batch_id: UUID) -> Response:
    """Let a paused batch go on."""
    return await _steer(caller, batch_id, "resume")


@router.post("/batches/{batch_id}/stop")
async def stop_batch(caller: Annotated[Caller, WRITE], batch_id: UUID) -> Response:
    """End a batch: what was not sent ends stopped, what is live finishes."""
    return await _steer(caller, batch_id, "stop")


@router.post("/batches/{batch_id}/cancel")
async def cancel_batch(caller: Annotated[Caller, WRITE], batch_id: UUID) -> Response:
    """Cancel a batch that was never started."""
    return await _steer(caller, batch_id, "cancel")


@router.post("/batches/{batch_id}/retry")
async def retry_failed(
    caller: Annotated[Caller, WRITE], batch_id: UUID, chosen: RetryRequest | None = None
) -> dict[str, int]:
    """Try failed items again under new keys; unknown outcomes have to be resolved instead."""
    kind = await _kind(caller, batch_id)
    wanted = chosen or RetryRequest()
    retried = await changes.retry_failed(
        caller.db,
        team=caller.team,
        kind=kind,
        batch_id=batch_id,
        statuses=wanted.statuses,
        item_ids=wanted.item_ids,
    )
    async with audit.audited(
        caller.db,
        team=caller.team,
        actor=_actor(caller),
        action="batch.retry",
        subject=str(batch_id),
        after={"items": retried},
    ):
        pass
    return {"items": retried}


def page(rows: list[str], cursor: str | None) -> Response:
    """Put rows that are JSON already into the envelope of a page."""
    tail = b'],"next_cursor":' + orjson.dumps(cursor) + b"}"
    body = b'{"data":[' + ",".join(rows).encode() + tail
    return Response(body, media_type="application/json")


async def _steer(caller: Caller, batch_id: UUID, action: str) -> Response:
    kind = await _kind(caller, batch_id)
    team = caller.team
    async with audit.audited(
        caller.db,
        team=team,
        actor=_actor(caller),
        action=f"batch.{action}",
        subject=str(batch_id),
    ) as work:
        match action:
            case "dispatch":
                await batches.dispatch_batch(work, team=team, kind=kind, batch_id=batch_id)
            case "pause":
                await control.pause_batch(work, team=team, kind=kind, batch_id=batch_id)
            case "resume":
                await control.resume_batch(work, team=team, kind=kind, batch_id=batch_id)
            case "stop":
                await control.mark_stopped(work, team=team, kind=kind, batch_id=batch_id)
            case "cancel":
                await batches.cancel_batch(work, team=team, kind=kind, batch_id=batch_id)
    if action == "cancel":
        return Response(status_code=204)
    return await _batch(caller, batch_id)


async def _kind(caller: Caller, batch_id: UUID) -> Kind:
    async with caller.db.pool.connection() as conn:
        kind = await queries.find_kind(conn, team_id=caller.team.id, batch_id=batch_id)
    if kind is None:
        raise NotFound("There is no such batch.")
    return Kind(kind)


async def _batch(caller: Caller, batch_id: UUID) -> Response:
    async with caller.db.pool.connection() as conn:
        batch = await queries.read_batch(conn, team_id=caller.team.id, batch_id=batch_id)
    if batch is None:
        raise NotFound("There is no such batch.")
    found = await waiting.explain_batch(caller.db, team=caller.team, batch_id=batch_id)
    return Response(with_waiting(batch, found), media_type="application/json")


def with_waiting(shown: str, found: Waiting | None) -> bytes:
    """Add why something waits to its JSON."""
    told: dict[str, str | datetime | None] | None = None
    if found is not None:
        told = {"reason": found.reason, "sentence": found.sentence, "until": found.until}
    return shown.rstrip()[:-1].encode() + b',"waiting":' + orjson.dumps(told) + b"}"


def _actor(caller: Caller) -> Actor:
    return Actor(name=caller.actor, source=caller.source)

"""Batches of every kind: list, read, change, steer."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import orjson
from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from batchyard.api.operator import queries
from batchyard.api.operator.access import READ, WRITE, Caller
from batchyard.api.operator.keyed import KeyedRoute
from batchyard.api.operator.places import BATCH, read_place
from batchyard.api.operator.wire import Bound, Limits, Moment, Retries, Text
from batchyard.cursors import write_cursor
from batchyard.errors import NotFound
from batchyard.models import BatchState, Kind
from batchyard.operations import batches, changes, limits, restore, waiting
from batchyard.operations.steering import Steer, steer_batch
from batchyard.operations.transactions import Joined, Transactions, one_transaction
from batchyard.operations.waiting import Waiting

router = APIRouter(tags=["Batches"], route_class=KeyedRoute)

SHOWN_AS = {"retries": "retry_policy"}
"""What may be changed under another name than it is shown by."""

Limit = Annotated[int, Query(ge=1, le=500, description="rows of a page")]
Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before")]
Sort = Literal["-created_at", "created_at", "-updated_at", "updated_at"]


class BatchChange(BaseModel):
    """What may be changed of a batch; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    reference: Text | None = Field(default=None, description="its name")
    priority: int | None = Field(default=None, ge=0, le=9)
    limits: Limits | None = Field(default=None, description="in place of all its limits")
    retries: Retries | None = None
    has_brake: bool | None = None
    bypass_windows: bool | None = None
    scheduled_at: Moment | None = Field(
        default=None, description="null: it waits until somebody starts it"
    )


@router.get("/batches")
async def list_batches(
    caller: Annotated[Caller, READ],
    *,
    kind: Kind | None = None,
    state: Annotated[list[BatchState] | None, Query()] = None,
    agent_id: UUID | None = None,
    provider: str | None = None,
    text: Annotated[str | None, Query(max_length=200, description="in name or reference")] = None,
    created_after: Bound | None = None,
    created_before: Bound | None = None,
    singles: Annotated[bool, Query(description="single calls and bookings instead")] = False,
    sort: Sort = "-created_at",
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """List the team's batches with their counts."""
    after = read_place(cursor, BATCH, length=2)
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
        "after_at": after and after[0],
        "after_id": after and after[1],
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
    async with one_transaction(caller.work) as work:
        before = await _shown(work, caller, batch_id)
        kind = Kind(str(before["kind"]))
        if change.limits is not None:
            # Limits are locked before batches, as everywhere.
            await limits.set_limit(
                work,
                scope=f"batch:{batch_id}",
                concurrency=change.limits.concurrency,
                rates=change.limits.as_rates(),
                burst=change.limits.burst,
            )
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
        if "scheduled_at" in change.model_fields_set and change.scheduled_at is None:
            await batches.unschedule_batch(work, team=caller.team, kind=kind, batch_id=batch_id)
        if change.scheduled_at is not None:
            await batches.schedule_batch(
                work, team=caller.team, kind=kind, batch_id=batch_id, at=change.scheduled_at
            )
        after = await _shown(work, caller, batch_id)
        # Null leaves everything as it is, except the time.
        changed = [
            name
            for name in change.model_fields_set
            if name == "scheduled_at" or getattr(change, name) is not None
        ]
        await caller.note(
            work.connection,
            "batch.change",
            subject=str(batch_id),
            before={name: before[SHOWN_AS.get(name, name)] for name in changed},
            after={name: after[SHOWN_AS.get(name, name)] for name in changed},
        )
    return await _batch(caller, batch_id)


@router.delete("/batches/{batch_id}", status_code=204)
async def delete_batch(caller: Annotated[Caller, WRITE], batch_id: UUID) -> Response:
    """Delete a batch in any state: gone at once, live items still run to their end."""
    return await _steer(caller, batch_id, Steer.DELETE)


@router.post("/resume-restored")
async def resume_restored(caller: Annotated[Caller, WRITE]) -> dict[str, list[UUID]]:
    """Let all batches go on that paused because the database came from a backup."""
    async with one_transaction(caller.work) as work:
        resumed = await restore.resume_restored(work, team=caller.team)
        await caller.note(
            work.connection,
            "batch.resume_restored",
            before={"state": BatchState.PAUSED},
            after={"batches": [str(batch_id) for batch_id in resumed]},
        )
    return {"batches": resumed}


@router.post("/batches/{batch_id}/dispatch")
async def dispatch_batch(caller: Annotated[Caller, WRITE], batch_id: UUID) -> Response:
    """Start a batch now."""
    return await _steer(caller, batch_id, Steer.DISPATCH)


@router.post("/batches/{batch_id}/pause")
async def pause_batch(caller: Annotated[Caller, WRITE], batch_id: UUID) -> Response:
    """Let nothing more be sent until the batch is resumed."""
    return await _steer(caller, batch_id, Steer.PAUSE)


@router.post("/batches/{batch_id}/resume")
async def resume_batch(caller: Annotated[Caller, WRITE], batch_id: UUID) -> Response:
    """Let a paused batch go on."""
    return await _steer(caller, batch_id, Steer.RESUME)


@router.post("/batches/{batch_id}/stop")
async def stop_batch(caller: Annotated[Caller, WRITE], batch_id: UUID) -> Response:
    """End a batch: what was not sent ends stopped, what is live finishes."""
    return await _steer(caller, batch_id, Steer.STOP)


@router.post("/batches/{batch_id}/cancel")
async def cancel_batch(caller: Annotated[Caller, WRITE], batch_id: UUID) -> Response:
    """Cancel a batch that was never started."""
    return await _steer(caller, batch_id, Steer.CANCEL)


def page(rows: list[str], cursor: str | None) -> Response:
    """Put rows that are JSON already into the envelope of a page."""
    tail = b'],"next_cursor":' + orjson.dumps(cursor) + b"}"
    body = b'{"data":[' + ",".join(rows).encode() + tail
    return Response(body, media_type="application/json")


async def find_kind(work: Transactions, caller: Caller, batch_id: UUID) -> Kind:
    """Return what a batch of the caller's team is made of. Raises `NotFound`."""
    async with work.transaction() as conn:
        kind = await queries.find_kind(conn, team_id=caller.team.id, batch_id=batch_id)
    if kind is None:
        raise missing_batch()
    return Kind(kind)


def missing_batch() -> NotFound:
    """Return what is told of a batch that is not there, or not the team's."""
    return NotFound("There is no such batch.")


def with_waiting(shown: str, found: Waiting | None) -> bytes:
    """Add why something waits to its JSON."""
    told: dict[str, str | datetime | None] | None = None
    if found is not None:
        told = {
            "reason": found.reason,
            "sentence": found.sentence,
            "until": found.until,
            "by": found.by,
            "error": found.error,
        }
    return shown.rstrip()[:-1].encode() + b',"waiting":' + orjson.dumps(told) + b"}"


async def _steer(caller: Caller, batch_id: UUID, steer: Steer) -> Response:
    kind = await find_kind(caller.work, caller, batch_id)
    await steer_batch(
        caller.work,
        team=caller.team,
        actor=caller.actor,
        kind=kind,
        batch_id=batch_id,
        steer=steer,
    )
    if steer in {Steer.CANCEL, Steer.DELETE}:
        return Response(status_code=204)
    return await _batch(caller, batch_id)


async def _batch(caller: Caller, batch_id: UUID) -> Response:
    async with caller.work.transaction() as conn:
        batch = await queries.read_batch(conn, team_id=caller.team.id, batch_id=batch_id)
    if batch is None:
        raise missing_batch()
    found = await waiting.explain_batch(caller.work, team=caller.team, batch_id=batch_id)
    return Response(with_waiting(batch, found), media_type="application/json")


async def _shown(work: Joined, caller: Caller, batch_id: UUID) -> dict[str, object]:
    batch = await queries.read_batch(work.connection, team_id=caller.team.id, batch_id=batch_id)
    if batch is None:
        raise missing_batch()
    shown: dict[str, object] = orjson.loads(batch)
    return shown

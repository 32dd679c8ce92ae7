"""The settings of a batch: limits, windows, retries, what it is called; changed while it runs."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response

from batchyard import retry
from batchyard.dashboard import queries
from batchyard.dashboard.batch_head import batch_page, read_head, read_standing
from batchyard.dashboard.forms import UNITS, Fields, read_fields, read_limits
from batchyard.dashboard.frame import go_to
from batchyard.dashboard.standing import Standing
from batchyard.dashboard.visitors import READ, WRITE, Visitor
from batchyard.errors import InvalidRequest, NotFound
from batchyard.models import RetryPolicy
from batchyard.operations import changes, limits
from batchyard.operations.audit import note
from batchyard.operations.changes import FAILED_STATUSES, HIGHEST_PRIORITY, LOWEST_PRIORITY
from batchyard.operations.limits import set_limit
from batchyard.operations.traces import changing_batch
from batchyard.operations.transactions import one_transaction
from batchyard.windows import read_guardrails

MOST_RETRIES = 10
MOST_MINUTES = 60 * 24 * 30

router = APIRouter()


@router.get("/batches/{batch_id}/settings")
async def show_settings(
    request: Request, visitor: Annotated[Visitor, READ], batch_id: UUID
) -> Response:
    """Show the settings; who may, can change them."""
    return await _page(request, visitor, batch_id)


@router.post("/batches/{batch_id}/settings/{section}")
async def change_settings(
    request: Request, visitor: Annotated[Visitor, WRITE], batch_id: UUID, section: str
) -> Response:
    """Change one section, and show them again."""
    if section not in SECTIONS:
        raise NotFound("There are no such settings.")
    standing = await read_standing(visitor, batch_id)
    fields = await read_fields(request)
    try:
        await SECTIONS[section](visitor, standing, fields)
    except InvalidRequest as error:
        faults = error.faults or {section: [error.message]}
        return await _page(
            request, visitor, batch_id, typed={section: fields}, faults=faults, status=422
        )
    notice = visitor.voice.say("The settings are changed; they hold at once.")
    return go_to(f"/batches/{batch_id}/settings", visitor.config, notice=notice)


async def _page(
    request: Request,
    visitor: Visitor,
    batch_id: UUID,
    *,
    typed: Mapping[str, Fields] | None = None,
    faults: Mapping[str, list[str]] | None = None,
    status: int = 200,
) -> Response:
    head = await read_head(visitor, batch_id)
    settings = await _read_settings(visitor, batch_id)
    policy = retry.from_json(settings.retry_policy)
    return batch_page(
        request,
        visitor,
        "batch_settings.html",
        head=head,
        tab="/settings",
        settings=settings,
        policy=policy,
        # To the fraction: a form that is saved stores what it shows.
        intervals=", ".join(f"{minutes:g}" for minutes in policy.intervals_minutes),
        limit=await limits.read_batch_limit(visitor.db, batch_id=batch_id),
        window=_window(settings.guardrails),
        statuses_to_retry=FAILED_STATUSES[head.standing.batch.kind],
        units=UNITS,
        typed=typed or {},
        faults=faults or {},
        status=status,
    )


async def _read_settings(visitor: Visitor, batch_id: UUID) -> queries.BatchSettings:
    async with visitor.db.pool.connection() as conn:
        settings = await queries.read_settings(conn, team_id=visitor.team.id, batch_id=batch_id)
    if settings is None:
        raise NotFound("There is no such batch.")
    return settings


async def _change_general(visitor: Visitor, standing: Standing, fields: Fields) -> None:
    reference = fields.text("reference", longest=255)
    priority = fields.whole("priority", least=LOWEST_PRIORITY, most=HIGHEST_PRIORITY)
    has_brake = fields.flag("has_brake")
    fields.check()
    await _change(
        visitor,
        standing,
        facts=("reference", "priority", "has_brake"),
        reference=reference,
        priority=priority,
        has_brake=has_brake,
    )


async def _change_windows(visitor: Visitor, standing: Standing, fields: Fields) -> None:
    bypasses = fields.flag("bypass_windows")
    await _change(visitor, standing, facts=("bypass_windows",), bypass_windows=bypasses)


async def _change_retries(visitor: Visitor, standing: Standing, fields: Fields) -> None:
    kind = standing.batch.kind
    chosen = [word for word in fields.texts("statuses") if word in FAILED_STATUSES[kind]]
    intervals = fields.numbers("intervals_minutes", least=0, most=MOST_MINUTES)
    settings = await _read_settings(visitor, standing.batch.id)
    held = retry.from_json(settings.retry_policy)
    # What the form does not show stays as it is.
    hidden = [word for word in held.statuses if word not in FAILED_STATUSES[kind]]
    policy = replace(
        held,
        statuses=(*chosen, *hidden),
        max_retries=fields.whole("max_retries", least=0, most=MOST_RETRIES) or 0,
        intervals_minutes=intervals or RetryPolicy().intervals_minutes,
        on_voicemail=fields.flag("on_voicemail"),
    )
    fields.check()
    await _change(visitor, standing, facts=("retries",), retry_policy=policy)


async def _change(
    visitor: Visitor, standing: Standing, *, facts: Sequence[str], **changed: object
) -> None:
    async with changing_batch(
        visitor.db,
        team=visitor.team,
        actor=visitor.actor,
        kind=standing.batch.kind,
        batch_id=standing.batch.id,
        action="batch.change",
        facts=facts,
    ) as work:
        await changes.change_batch(
            work,
            team=visitor.team,
            kind=standing.batch.kind,
            batch_id=standing.batch.id,
            **changed,  # type: ignore[arg-type]  # by name, as its callers above have them
        )


async def _change_limits(visitor: Visitor, standing: Standing, fields: Fields) -> None:
    concurrency, rates = read_limits(fields)
    scope = f"batch:{standing.batch.id}"
    # What the form does not show stays as it is.
    burst = await limits.read_burst(visitor.db, scope=scope) if rates else None
    async with one_transaction(visitor.db) as work:
        done = await set_limit(work, scope=scope, concurrency=concurrency, rates=rates, burst=burst)
        await note(
            work.connection,
            team=visitor.team,
            actor=visitor.actor,
            action="batch.limit",
            subject=str(standing.batch.id),
            before=_told(done.before.concurrency, done.before.rates),
            after=_told(concurrency, {rate.seconds: rate.count for rate in rates}),
            now=visitor.db.clock(),
        )


def _told(concurrency: int | None, rates: Mapping[int, int]) -> dict[str, object]:
    """Return limits as a trace tells them; rates are counts by their seconds."""
    told = [{"count": count, "seconds": seconds} for seconds, count in rates.items()]
    return {"concurrency": concurrency, "rates": told}


SECTIONS: Mapping[str, Callable[[Visitor, Standing, Fields], Awaitable[None]]] = {
    "general": _change_general,
    "limits": _change_limits,
    "windows": _change_windows,
    "retries": _change_retries,
}


def _window(guardrails: object) -> tuple[int, int] | None:
    try:
        return read_guardrails(guardrails)
    except InvalidRequest:
        return None

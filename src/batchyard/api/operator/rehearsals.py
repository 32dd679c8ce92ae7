"""Rehearsals: what a list, or a batch that was not started, would do; nothing is kept of them."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from batchyard.api.operator.access import READ, Caller, KnownRoute
from batchyard.api.operator.forms import receiving
from batchyard.api.operator.lists import NewBatch, body_of, options_of
from batchyard.api.operator.wire import Moment
from batchyard.models import RetryPolicy
from batchyard.operations import rehearsals
from batchyard.operations.outlooks import Assumptions
from batchyard.operations.plays import Rehearsal
from batchyard.operations.scenes import RehearsalSettings
from batchyard.operations.waiting import REASONS

router = APIRouter(tags=["Rehearsals"], route_class=KnownRoute)


class Assumed(BaseModel):
    """What is assumed of a provider of which too little was observed."""

    model_config = ConfigDict(extra="forbid")

    duration_seconds: float | None = Field(default=None, ge=0, le=86_400)
    failure_rate: float | None = Field(default=None, ge=0, le=1)
    price_minor: float | None = Field(
        default=None, ge=0, le=1e9, description="of one item, in the smallest unit"
    )
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] | None = None

    @model_validator(mode="after")
    def check_price(self) -> Self:
        """Refuse a price of nothing in particular."""
        if (self.price_minor is None) is not (self.currency is None):
            raise ValueError("a price has an amount and a currency")
        return self

    def assumptions(self) -> Assumptions:
        """Return them as the operation takes them."""
        return Assumptions(**self.model_dump())


class Rehearsed(BaseModel):
    """When a batch would start, and what is assumed."""

    model_config = ConfigDict(extra="forbid")

    start_at: Moment | None = Field(default=None, description="now unless said")
    assumptions: Assumed = Field(default_factory=Assumed)


class RehearsedList(NewBatch):
    """What is said of a list: as of a new batch, calls may leave out their agent."""

    start_at: Moment | None = Field(default=None, description="now unless said")
    assumptions: Assumed = Field(default_factory=Assumed)

    @model_validator(mode="after")
    def check_kind(self) -> Self:
        """Refuse retries after what cannot happen."""
        if self.retries is not None:
            self.retries.check(self.kind)
        return self

    def rehearsal_settings(self) -> RehearsalSettings:
        """Return what the rehearsal takes."""
        return RehearsalSettings(
            agent_id=self.agent_id,
            retry_policy=RetryPolicy() if self.retries is None else self.retries.policy(),
            start_at=self.start_at,
            bypass_windows=bool(self.bypass_windows),
            has_brake=self.has_brake is not False,
            assumptions=self.assumptions.assumptions(),
        )


class Verdicts(BaseModel):
    """What would become of the rows."""

    rows: int
    accepted: int
    corrected: int
    refused: int
    skipped: int
    codes: dict[str, int]
    first_refusals: list[dict[str, object]] = Field(description="with their cells: kept nowhere")
    duplicate_of: UUID | None
    offered_mapping: str | None


class Between(BaseModel):
    """A number, and between what it will most likely be."""

    low: float
    expected: float
    high: float


class Moments(BaseModel):
    """A moment, and between what it will most likely be."""

    low: datetime
    expected: datetime
    high: datetime


class RehearsalShown(BaseModel):
    """What the batch would do."""

    upload: Verdicts
    items: int
    sampled: int = Field(description="items that were played; each stands for as many")
    provider: str
    basis: str = Field(description="`exact`, `observed` or `assumed`")
    attempts: Between
    retries: float
    ended: dict[str, float] = Field(description="items by the status they would end with")
    costs: dict[str, Between] = Field(description="by currency, in the smallest unit")
    starts_at: datetime | None
    ends_at: Moments
    busiest_hour: datetime | None
    busiest_hour_attempts: float
    pace: list[tuple[datetime, float]] = Field(
        description="attempts that begin from each moment on, in steps of equal length"
    )
    limited_by: str | None = Field(description="what items would wait for most")
    limit_sentence: str | None
    waits: dict[str, float] = Field(description="seconds that items wait, by reason")
    remarks: list[str]


@router.post("/rehearsals", response_model=RehearsalShown, openapi_extra=body_of(RehearsedList))
async def rehearse_list(request: Request, caller: Annotated[Caller, READ]) -> Response:
    """Say what a list would do: verdicts, attempts, cost, start and end, what limits it most.

    The list is read and judged as for a new batch; then it is played through under the rules that
    hold now. Above 50,000 items a sample is played.
    """
    async with receiving(request, limit=caller.config.max_upload_bytes) as incoming:
        said = await incoming.read_options(RehearsedList)
        options = await options_of(request, caller, said, kind=said.kind)
        async with rehearsals.rehearse_file(
            caller.db,
            team=caller.team,
            options=options,
            settings=said.rehearsal_settings(),
            config=caller.config,
        ) as reading:
            async for chunk in incoming.chunks():
                await reading.feed(chunk)
            await reading.finish_file()
            return _shown(await reading.play())


@router.post("/batches/{batch_id}/rehearsal", response_model=RehearsalShown)
async def rehearse_batch(
    caller: Annotated[Caller, READ], batch_id: UUID, asked: Rehearsed | None = None
) -> Response:
    """Say what a batch that was not started yet would do."""
    said = asked or Rehearsed()
    settings = RehearsalSettings(start_at=said.start_at, assumptions=said.assumptions.assumptions())
    told = await rehearsals.rehearse_batch(
        caller.db, team=caller.team, batch_id=batch_id, settings=settings, config=caller.config
    )
    return _shown(told)


def _shown(told: Rehearsal) -> Response:
    shown: dict[str, object] = asdict(told)
    reason = told.limited_by
    shown["limit_sentence"] = None if reason is None else REASONS.get(reason, reason)
    return Response(orjson.dumps(shown, default=_plain), media_type="application/json")


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no place in JSON")

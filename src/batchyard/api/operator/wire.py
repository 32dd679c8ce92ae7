"""Shapes that several calls share: when ended items are tried again, how much may be in flight."""

import re
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from batchyard.models import Kind, Rate, RetryPolicy
from batchyard.operations.changes import retryable
from batchyard.schedule import is_in_calendar

Text = Annotated[str, Field(max_length=255, pattern=r"^[^\x00]*$")]
Minutes = Annotated[float, Field(ge=0, le=43_200)]

WRITTEN_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d")


def _written(value: object) -> object:
    """Raise `ValueError` for a number, which pydantic takes for seconds since 1970."""
    if isinstance(value, str) and WRITTEN_TIME.match(value):
        return value
    raise ValueError("must be a time of RFC 3339, such as 2030-01-29T08:30:00Z")


def _kept(at: datetime) -> datetime:
    """Raise `ValueError` for a time too far away to be kept."""
    if is_in_calendar(at):
        return at
    raise ValueError("must lie in the years 2 to 8999")


Bound = Annotated[AwareDatetime, BeforeValidator(_written)]
"""A time with its offset, to compare others with."""

Moment = Annotated[Bound, AfterValidator(_kept)]
"""A time with its offset, at which something happens."""


class Retries(BaseModel):
    """Which ended items are tried again, and when."""

    model_config = ConfigDict(extra="forbid")

    statuses: list[str] = Field(default_factory=list, max_length=20)
    max_retries: int = Field(default=0, ge=0, le=10)
    intervals_minutes: list[Minutes] = Field(
        default_factory=lambda: [30.0], min_length=1, max_length=20
    )
    on_voicemail: bool = False
    jitter: float = Field(
        default=0,
        ge=0,
        le=1,
        description="by how large a part of itself an interval may grow; never shorter",
    )

    def check(self, kind: Kind) -> None:
        """Raise `ValueError` for a status after which such an item cannot be tried again."""
        known = retryable(kind)
        if wrong := [status for status in self.statuses if status not in known]:
            raise ValueError(f"{wrong[0]!r} cannot be retried; known: {', '.join(known)}")

    def policy(self) -> RetryPolicy:
        """Return the policy as the engine takes it."""
        return RetryPolicy(
            statuses=tuple(self.statuses),
            max_retries=self.max_retries,
            intervals_minutes=tuple(self.intervals_minutes),
            on_voicemail=self.on_voicemail,
            jitter=self.jitter,
        )


class SaidRate(BaseModel):
    """So many items in so many seconds."""

    model_config = ConfigDict(extra="forbid")

    count: int = Field(ge=1, le=1_000_000)
    seconds: int = Field(ge=1, le=31 * 86_400)


class Limits(BaseModel):
    """How much of a batch may be in flight, and how fast it may start; what is left out is off."""

    model_config = ConfigDict(extra="forbid")

    concurrency: int | None = Field(default=None, ge=1, le=1_000_000)
    rates: list[SaidRate] = Field(default_factory=list, max_length=10)
    burst: int | None = Field(default=None, ge=1, le=1_000_000)

    def as_rates(self) -> list[Rate]:
        """Return the rates as the operation takes them."""
        return [Rate(count=rate.count, seconds=rate.seconds) for rate in self.rates]

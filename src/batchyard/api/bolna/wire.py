"""The shapes of the vendor's API, as they go over the wire."""

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from batchyard.api.bolna import translate
from batchyard.models import RetryPolicy

FROM_NUMBER = re.compile(r"\+[1-9]\d{6,14}", re.ASCII)

HEX_ID = "^[0-9a-f]{32}$"
ANY_ID = "^([0-9a-fA-F]{32}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$"
EXAMPLE_ID = "3c90c3cc-0d44-4b50-8888-8dd25736052a"
EXAMPLE_BATCH = EXAMPLE_ID.replace("-", "")

Interval = Annotated[float, Field(gt=0, le=30 * 24 * 60)]
Time = Annotated[
    str,
    Field(
        pattern=r"^\d{4,}-\d\d-\d\dT\d\d:\d\d:\d\dZ$",
        examples=["2024-01-23T05:14:37Z"],
        description="UTC, whole seconds",
    ),
]


class RetryConfig(BaseModel):
    """`retry_config` of a batch, contract section 5."""

    model_config = ConfigDict(extra="ignore", strict=True)

    enabled: bool = False
    max_retries: int = Field(default=3, ge=1, le=3)
    retry_on_statuses: list[Literal["no-answer", "busy", "failed", "error"]] = Field(
        default=["no-answer", "busy", "failed"]
    )
    retry_on_voicemail: bool = False
    retry_intervals_minutes: list[Interval] = Field(
        default=[30, 60, 120], min_length=1, description="the last one repeats"
    )

    def policy(self) -> RetryPolicy:
        """Return this in the words of the house."""
        return translate.retry_policy(
            enabled=self.enabled,
            max_retries=self.max_retries,
            statuses=tuple(self.retry_on_statuses),
            on_voicemail=self.retry_on_voicemail,
            intervals_minutes=tuple(self.retry_intervals_minutes),
        )


class Fault(BaseModel):
    """Every error of this door."""

    error: int = Field(description="the HTTP status", examples=[404])
    message: str = Field(examples=["There is no such batch."])


class Created(BaseModel):
    """Answer to an upload."""

    batch_id: str = Field(pattern=HEX_ID, examples=[EXAMPLE_BATCH])
    state: Literal["created"]


class Scheduled(BaseModel):
    """Answer to a schedule."""

    message: Literal["success"]
    state: str = Field(
        examples=["scheduled at 2024-01-29T08:30:00Z"],
        description="`scheduled at <time>` in version 2024-01, `scheduled` in 2026-08",
    )


class Batch(BaseModel):
    """A batch of calls; `from_phone_numbers` is there in version 2026-08 only."""

    batch_id: str = Field(pattern=HEX_ID, examples=[EXAMPLE_BATCH])
    humanized_created_at: str = Field(examples=["5 minutes ago"])
    created_at: Time
    updated_at: Time
    status: Literal[
        "created", "scheduled", "queued", "running", "completed", "stopped", "failed", "executed"
    ]
    scheduled_at: Time | None
    from_phone_number: str | None = Field(examples=["+19876543007"])
    file_name: str | None = Field(examples=["customers.csv"])
    valid_contacts: int = Field(ge=0, examples=[7])
    total_contacts: int = Field(ge=0, examples=[11])
    execution_status: dict[str, int] = Field(examples=[{"completed": 1, "ringing": 6}])
    from_phone_numbers: list[str] = Field(default=[], examples=[["+19876543007"]])


class Done(BaseModel):
    """Answer to a change."""

    message: Literal["success"]
    state: str = Field(examples=["stopped"])


def read_retry_config(text: str) -> RetryPolicy:
    """Read the JSON text of `retry_config`; raise `ValueError` with every fault."""
    try:
        config = RetryConfig.model_validate_json(text)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(['retry_config', *map(str, fault['loc'])])}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)
        )
        raise ValueError(faults) from error
    return config.policy()


def is_from_number(text: str) -> bool:
    """Tell whether a number has the E.164 shape; no more is asked of one that calls."""
    return FROM_NUMBER.fullmatch(text) is not None


def is_web_address(text: str) -> bool:
    """Tell whether a text is an absolute http or https address."""
    try:
        parts = urlsplit(text)
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and has_host and text.isprintable() and " " not in text

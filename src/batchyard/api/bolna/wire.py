"""The shapes of the vendor's API, as they go over the wire."""

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from batchyard.api.bolna import translate
from batchyard.models import RetryPolicy

FROM_NUMBER = re.compile(r"\+[1-9]\d{6,14}", re.ASCII)

Interval = Annotated[float, Field(gt=0, le=30 * 24 * 60)]


class RetryConfig(BaseModel):
    """`retry_config` of a batch, contract section 5."""

    model_config = ConfigDict(extra="ignore")

    enabled: bool = False
    max_retries: int = Field(default=3, ge=1, le=3)
    retry_on_statuses: tuple[Literal["no-answer", "busy", "failed", "error"], ...] = (
        "no-answer",
        "busy",
        "failed",
    )
    retry_on_voicemail: bool = False
    retry_intervals_minutes: tuple[Interval, ...] = Field(default=(30, 60, 120), min_length=1)


class Fault(BaseModel):
    """Every error of this door."""

    error: int = Field(description="the HTTP status", examples=[404])
    message: str = Field(examples=["There is no such batch."])


class Created(BaseModel):
    """Answer to an upload."""

    batch_id: str = Field(examples=["3c90c3cc0d444b5088888dd25736052a"])
    state: Literal["created"] = "created"


class Scheduled(BaseModel):
    """Answer to a schedule."""

    message: Literal["success"] = "success"
    state: str = Field(examples=["scheduled at 2024-01-29T08:30:00Z"])


class Batch(BaseModel):
    """A batch of calls, contract section 3; rendered by PostgreSQL, described here."""

    batch_id: str
    humanized_created_at: str = Field(examples=["5 minutes ago"])
    created_at: str
    updated_at: str
    status: str
    scheduled_at: str | None
    from_phone_number: str | None
    file_name: str | None
    valid_contacts: int
    total_contacts: int
    execution_status: dict[str, int]


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
    return translate.retry_policy(
        enabled=config.enabled,
        max_retries=config.max_retries,
        statuses=config.retry_on_statuses,
        on_voicemail=config.retry_on_voicemail,
        intervals_minutes=config.retry_intervals_minutes,
    )


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


FAULTS: dict[int | str, dict[str, object]] = {
    status: {"model": Fault} for status in (400, 401, 403, 404)
}

UPLOAD_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["agent_id", "file"],
                    "properties": {
                        "agent_id": {"type": "string", "format": "uuid"},
                        "file": {"type": "string", "format": "binary"},
                        "from_phone_number": {"type": "string"},
                        "from_phone_numbers": {"type": "array", "items": {"type": "string"}},
                        "retry_config": {"type": "string", "description": "JSON text"},
                        "webhook_url": {"type": "string"},
                    },
                }
            }
        },
    }
}

_SCHEDULE_SCHEMA = {
    "type": "object",
    "required": ["scheduled_at"],
    "properties": {
        "scheduled_at": {"type": "string", "examples": ["2030-01-29T08:30:00Z"]},
        "bypass_call_guardrails": {"type": "string", "enum": ["true", "false"]},
        "batch_id": {"type": "string", "description": "needed by the old form only"},
    },
}

SCHEDULE_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {"schema": _SCHEDULE_SCHEMA}
            for kind in ("multipart/form-data", "application/x-www-form-urlencoded")
        },
    }
}

"""The shapes of calls: what is asked for, and what a call looks like."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from batchyard.api.bolna.wire import ANY_ID, EXAMPLE_ID, HEX_ID, RetryConfig, Time

FROM_PATTERN = r"^\+[1-9][0-9]{6,14}$"

Id = Annotated[str, Field(pattern=ANY_ID, examples=[EXAMPLE_ID])]
Status = Literal[
    "scheduled",
    "prepared",
    "queued",
    "rescheduled",
    "initiated",
    "ringing",
    "in-progress",
    "call-disconnected",
    "completed",
    "no-answer",
    "busy",
    "failed",
    "error",
    "canceled",
    "stopped",
    "balance-low",
]
"""Contract, section 6; a test compares it with what the door says."""


class NewCall(BaseModel):
    """A call to be made."""

    model_config = ConfigDict(extra="ignore", strict=True)

    agent_id: Id
    recipient_phone_number: str = Field(
        description="E.164 with its plus, and possible in its country", examples=["+4520123456"]
    )
    from_phone_number: str | None = Field(
        default=None, pattern=FROM_PATTERN, examples=["+19876543007"]
    )
    scheduled_at: str | None = Field(
        default=None,
        description="ISO 8601, at most 30 days ahead; without an offset it is UTC, and a time that "
        "has passed means now",
        examples=["2024-01-29T08:30:00Z"],
    )
    user_data: dict[str, object] | None = Field(
        default=None, description="variables of the call", examples=[{"first_name": "Ane"}]
    )
    retry_config: RetryConfig | None = None
    bypass_call_guardrails: bool | None = None


class Placed(BaseModel):
    """Answer to a new call."""

    message: Literal["done"]
    status: Literal["queued"]
    execution_id: Id


class Stopped(BaseModel):
    """Answer to a stopped call."""

    message: Literal["done"]
    status: Literal["stopped"]
    execution_id: Id


class CostBreakdown(BaseModel):
    """US cents; null is what the provider did not tell."""

    llm: float | None
    network: float | None
    platform: float | None
    synthesizer: float | None
    transcriber: float | None


class Telephony(BaseModel):
    """What the network told."""

    duration: str | None = Field(examples=["61"])
    to_number: str | None = Field(examples=["+4520123456"])
    from_number: str | None = Field(examples=["+19876543007"])
    recording_url: str | None
    hosted_telephony: bool | None
    provider_call_id: str | None
    call_type: Literal["outbound"]
    provider: str | None = Field(examples=["sandbox"])
    hangup_by: str | None
    hangup_reason: str | None
    hangup_provider_code: object = Field(description="as the provider names it")
    ring_duration: float | None
    post_dial_delay: float | None
    to_number_carrier: str | None


class BatchRun(BaseModel):
    """How a call of a batch goes; null for a single call."""

    status: Status
    created_at: Time
    updated_at: Time
    retried: int = Field(ge=0)


class Attempt(BaseModel):
    """An attempt that was followed by another."""

    attempt: int = Field(ge=1)
    status: str = Field(examples=["busy"])
    at: Time | None


class Context(BaseModel):
    """Whom the call is for."""

    recipient_data: dict[str, object] = Field(examples=[{"first_name": "Ane"}])
    recipient_phone_number: str | None = Field(examples=["+4520123456"])


class Execution(BaseModel):
    """A call; the last three keys are there only where retries are on."""

    id: str = Field(examples=[EXAMPLE_ID])
    agent_id: str = Field(examples=[EXAMPLE_ID])
    batch_id: str | None = Field(pattern=HEX_ID, description="null for a single call")
    conversation_duration: float | None = Field(description="seconds")
    total_cost: float | None = Field(description="US cents")
    status: Status
    error_message: str | None
    answered_by_voice_mail: bool | None
    transcript: str | None
    created_at: Time
    updated_at: Time
    cost_breakdown: CostBreakdown
    telephony_data: Telephony
    transfer_call_data: object
    batch_run_details: BatchRun | None
    extracted_data: object
    context_details: Context
    retry_count: int = Field(default=0, ge=0)
    retry_history: list[Attempt] = []
    scheduled_at: Time | None = Field(default=None, description="when a waiting call is due")


class ExecutionPage(BaseModel):
    """A page of calls."""

    page_number: int = Field(ge=1)
    page_size: int = Field(ge=1)
    total: int = Field(ge=0)
    has_more: bool
    data: list[Execution]

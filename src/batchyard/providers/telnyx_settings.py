"""The settings and secrets of a Telnyx Call Control application, declared once."""

from datetime import timedelta
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from batchyard.models import Policy, Rate
from batchyard.providers.base import Promise
from batchyard.providers.settings import E164, Seconds, Settings, Url
from batchyard.providers.spoken import TEXT_LENGTH, check_template, is_twiml
from batchyard.providers.telnyx_signature import read_public_key

SLACK = timedelta(seconds=1)
"""The provider ends an exchange by itself; the engine's own limit comes a little later."""

SHARE_OF_PACE = 0.9
RATE_SECONDS = 60


class TelnyxSettings(Settings):
    """Everything about one application but its key."""

    connection_id: str = Field(
        min_length=1,
        max_length=100,
        description="the Call Control application that calls are placed through",
    )
    public_key: str = Field(
        description="the account's public key, which proves what Telnyx tells; from the portal, "
        "Keys & Credentials"
    )
    base_url: Url = Field(default="https://api.telnyx.com/v2", description="the API")
    from_number: E164 | None = Field(
        default=None, description="the caller where the batch names none, in E.164"
    )
    say: str | None = Field(
        default=None,
        min_length=1,
        max_length=TEXT_LENGTH,
        description="what is said: a text with the row's variables as `{first_name}`",
    )
    audio_url: Url | None = Field(
        default=None, description="in place of `say`: a WAV or MP3 that is played"
    )
    language: str = Field(
        default="en-US", max_length=20, description="the language of a text, such as `da-DK`"
    )
    voice: str = Field(default="female", max_length=200, description="the voice of a text")
    ring_seconds: int = Field(
        default=60, ge=5, le=600, description="how long it rings before it is no answer"
    )
    call_seconds: int | None = Field(
        default=None, ge=30, le=14400, description="the longest a call may last"
    )
    machine_detection: Literal["off", "detect", "greeting_end"] = Field(
        default="off",
        description="`detect` tells people from machines, `greeting_end` also waits until the "
        "machine has spoken",
    )
    record: bool = Field(default=False, description="whether calls are recorded")
    has_cost: bool = Field(
        default=False, description="whether the application is set to send `call.cost` webhooks"
    )
    price_wait_seconds: Seconds = Field(
        default=120,
        description="how long an ended call waits for its price and recording; 0: not at all",
    )
    calls_per_second: int = Field(
        default=30,
        ge=1,
        le=1000,
        description="the account's own limit; calls start a little slower",
    )
    concurrency: int = Field(
        default=10,
        gt=0,
        le=10_000,
        description="calls in flight at once, unless a limit says otherwise",
    )
    timeout_seconds: float = Field(
        default=10,
        gt=0,
        le=20,
        allow_inf_nan=False,
        description="the longest an exchange with the API may take",
    )
    key_ttl_seconds: float = Field(
        default=40,
        gt=0,
        le=40,
        allow_inf_nan=False,
        description="how long a key may be sent again; Telnyx forgets it after 60 seconds",
    )
    look_up_after_seconds: float = Field(
        default=60,
        gt=0,
        le=540,
        allow_inf_nan=False,
        description="when a live call is first looked up, if no webhook came; then more rarely",
    )
    ask_patience_seconds: Seconds = Field(
        default=600, description="how long it is tried to find out; then a person decides"
    )

    @field_validator("public_key")
    @classmethod
    def _is_a_key(cls, value: str) -> str:
        read_public_key(value)
        return value

    @field_validator("say")
    @classmethod
    def _can_be_filled(cls, value: str | None) -> str | None:
        if value is not None:
            if is_twiml(value):
                raise ValueError("this is TwiML; Telnyx is given a text, or an audio_url")
            check_template(value)
        return value

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        if (self.say is None) == (self.audio_url is None):
            raise ValueError("say: give it or audio_url, and not both")
        if self.key_ttl_seconds <= self.timeout_seconds + SLACK.total_seconds():
            raise ValueError("key_ttl_seconds: must be longer than timeout_seconds and a second")
        return self

    @property
    def promise(self) -> Promise:
        """What Telnyx guarantees: a key for a minute, then a list of the calls that live."""
        return Promise(
            policy=Policy.REPEATABLE,
            timeout=timedelta(seconds=self.timeout_seconds) + SLACK,
            key_ttl=timedelta(seconds=self.key_ttl_seconds),
            is_askable=True,
            is_one_sided=True,
            ask_patience=timedelta(seconds=self.ask_patience_seconds),
        )

    @property
    def rate(self) -> Rate:
        """How fast calls start unless a limit says otherwise."""
        count = max(1, int(self.calls_per_second * RATE_SECONDS * SHARE_OF_PACE))
        return Rate(count=count, seconds=RATE_SECONDS)

    @property
    def awaited(self) -> tuple[str, ...]:
        """What an answered call's result should have before it ends."""
        if self.price_wait_seconds == 0:
            return ()
        wanted = {"cost_minor": self.has_cost, "recording_url": self.record}
        return tuple(name for name, is_wanted in wanted.items() if is_wanted)


class TelnyxSecrets(BaseModel):
    """What proves who we are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    api_key: SecretStr = Field(min_length=1, description="a key of the account's API v2")

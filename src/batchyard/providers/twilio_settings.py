"""The settings and secrets of a Twilio account, declared once."""

from datetime import timedelta
from itertools import pairwise
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from batchyard.models import Policy, Rate
from batchyard.providers.base import Promise
from batchyard.providers.settings import E164, Seconds, Settings, Url
from batchyard.providers.spoken import check_template

SLACK = timedelta(seconds=1)
"""The provider ends an exchange by itself; the engine's own limit comes a little later."""

SHARE_OF_PACE = 0.9
"""So much of the account's calls per second is used: what exceeds them would queue unseen."""

RATE_SECONDS = 60


class TwilioSettings(Settings):
    """Everything about one account but its secrets."""

    account_sid: str = Field(
        pattern=r"^AC[0-9a-fA-F]{32}$",
        description="the account that calls are placed from; best a subaccount that nobody else "
        "uses",
    )
    api_key_sid: str | None = Field(
        default=None,
        pattern=r"^SK[0-9a-fA-F]{32}$",
        description="an API key to send requests with, in place of the auth token",
    )
    base_url: Url = Field(
        default="https://api.twilio.com",
        description="the API; for another region `https://api.EDGE.REGION.twilio.com`",
    )
    mode: Literal["live", "test"] = Field(
        default="live",
        description="`test`: the credentials must be test credentials, else nothing is sent",
    )
    from_number: E164 | None = Field(
        default=None, description="the caller where the batch names none, in E.164"
    )
    say: str | None = Field(
        default=None,
        min_length=1,
        description="what is said: a text, or TwiML, with the row's variables as `{first_name}`",
    )
    url: Url | None = Field(
        default=None, description="in place of `say`: where Twilio fetches the call's TwiML"
    )
    language: str | None = Field(
        default=None, max_length=20, description="the language of a text, such as `da-DK`"
    )
    voice: str | None = Field(default=None, max_length=100, description="the voice of a text")
    ring_seconds: int = Field(
        default=60, ge=5, le=600, description="how long it rings before it is no answer"
    )
    call_seconds: int | None = Field(
        default=None, ge=1, le=86400, description="the longest a call may last"
    )
    machine_detection: Literal["off", "detect", "message_end"] = Field(
        default="off",
        description="`detect` tells people from machines, `message_end` also waits for the beep",
    )
    record: bool = Field(default=False, description="whether calls are recorded")
    price_wait_seconds: Seconds = Field(
        default=120,
        description="how long an ended call waits for its price and recording; 0: not at all",
    )
    calls_per_second: int = Field(
        default=1, ge=1, le=100, description="the account's own limit; calls start a little slower"
    )
    concurrency: int = Field(
        default=100,
        gt=0,
        le=10_000,
        description="calls in flight at once, unless a limit says otherwise",
    )
    timeout_seconds: float = Field(
        default=15,
        gt=0,
        le=60,
        allow_inf_nan=False,
        description="the longest an exchange with the API may take",
    )
    look_up_after_seconds: float = Field(
        default=60,
        gt=0,
        le=3600,
        allow_inf_nan=False,
        description="when a live call is first looked up, if no callback came; then more rarely",
    )
    look_after_seconds: tuple[Seconds, ...] = Field(
        default=(30, 120, 600),
        min_length=1,
        description="how long after a lost answer the call must not be listed, each time, before "
        "it is believed never to have been placed",
    )
    resend_unlisted: bool = Field(
        default=True,
        description="whether a call that no look found is placed again; else a person decides",
    )
    ask_patience_seconds: Seconds = Field(
        default=3600, description="how long it is tried to find out; then a person decides"
    )

    @field_validator("say")
    @classmethod
    def _can_be_filled(cls, value: str | None) -> str | None:
        if value is not None:
            check_template(value)
        return value

    @field_validator("look_after_seconds")
    @classmethod
    def _rises(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(later <= earlier for earlier, later in pairwise(value)):
            raise ValueError("each look must come later than the one before")
        return value

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        if (self.say is None) == (self.url is None):
            raise ValueError("say: give it or url, and not both")
        return self

    @property
    def promise(self) -> Promise:
        """What Twilio guarantees: no key, but a list of calls by their numbers."""
        return Promise(
            policy=Policy.ASKABLE,
            timeout=timedelta(seconds=self.timeout_seconds) + SLACK,
            is_askable=True,
            is_one_sided=not self.resend_unlisted,
            looks=tuple(timedelta(seconds=seconds) for seconds in self.look_after_seconds),
            ask_patience=timedelta(seconds=self.ask_patience_seconds),
            is_exclusive_per_number=True,
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
        return ("cost_minor", "recording_url") if self.record else ("cost_minor",)


class TwilioSecrets(BaseModel):
    """What proves who we are, and who they are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    auth_token: SecretStr = Field(
        min_length=1,
        description="the account's primary auth token; it signs what Twilio tells, so it is needed "
        "with an API key too",
    )
    api_key_secret: SecretStr | None = Field(
        default=None, description="the secret of `api_key_sid`"
    )

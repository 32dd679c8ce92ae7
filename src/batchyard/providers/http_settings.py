"""The settings of an `http` provider, as the operator stored them."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from standardwebhooks import Webhook

from batchyard.errors import ConfigError
from batchyard.models import Policy
from batchyard.providers.base import Promise, Service
from batchyard.providers.settings import Seconds, Settings, Url, read_settings

SECRET_PREFIX = "whsec_"  # noqa: S105  # the mark of the standard, not a secret
SECRET_BYTES = range(24, 65)
"""How long a secret may be by the Standard Webhooks specification."""

SLACK = timedelta(seconds=1)
"""The provider ends an exchange by itself; the engine's own limit comes a little later."""


class HttpService(BaseModel):
    """A service that this provider books."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    carrier: str = Field(min_length=1, max_length=255)
    service: str = Field(min_length=1, max_length=255)
    carrier_name: str | None = None
    service_name: str | None = None
    is_pickup: bool = False
    is_return: bool = False

    @model_validator(mode="before")
    @classmethod
    def _read_short_form(cls, value: object) -> object:
        """Read `carrier/service`."""
        if not isinstance(value, str):
            return value
        carrier, _, service = value.partition("/")
        return {"carrier": carrier, "service": service}


class HttpSettings(Settings):
    """Everything about one provider of kind `http` but its secret."""

    url: Url = Field(description="where items are posted")
    policy: Policy = Field(
        default=Policy.NEITHER,
        description="what you promise about a key that arrives twice: `repeatable`, `askable`, "
        "`neither`",
    )
    timeout_seconds: float = Field(
        default=30,
        gt=0,
        le=600,
        allow_inf_nan=False,
        description="the longest an exchange may take, connecting and reading included",
    )
    result_url: Url | None = Field(
        default=None,
        description="where you can be asked about a key; an askable provider needs it, others may "
        "have it",
    )
    not_done: frozenset[int] = Field(
        default=frozenset({409, 423}),
        description="statuses with which you prove that nothing was done, besides 408, 425 and 429",
    )
    key_ttl_seconds: Seconds = Field(
        default=86400, description="how long a repeatable provider honours a key"
    )
    ask_settles_after_seconds: Seconds = Field(
        default=0, description='how long after a request your "never received" is not yet believed'
    )
    look_up_after_seconds: float = Field(
        default=60,
        gt=0,
        le=86400,
        allow_inf_nan=False,
        description="when a live item is first looked up, if a callback was lost; then more and "
        "more rarely",
    )
    services: tuple[HttpService, ...] | None = Field(
        default=None,
        description="what shipments you book, as `carrier/service`; without it, whatever the "
        "catalogue has",
    )
    concurrency: int = Field(
        default=40,
        gt=0,
        le=10_000,
        description="items in flight at once, unless a limit says otherwise",
    )

    @field_validator("not_done")
    @classmethod
    def _are_faults(cls, value: frozenset[int]) -> frozenset[int]:
        if wrong := sorted(status for status in value if not 400 <= status <= 599):
            raise ValueError(f"statuses that prove nothing was done lie in 400..599, not {wrong}")
        return value

    @model_validator(mode="after")
    def _keeps_its_promise(self) -> Self:
        if self.policy is Policy.ASKABLE and self.result_url is None:
            raise ValueError("result_url: an askable provider needs it")
        if self.policy is Policy.REPEATABLE and self.key_ttl_seconds <= self.timeout_seconds:
            raise ValueError("key_ttl_seconds: must be longer than timeout_seconds")
        return self

    @property
    def promise(self) -> Promise:
        """What these settings say the provider guarantees."""
        is_repeatable = self.policy is Policy.REPEATABLE
        return Promise(
            policy=self.policy,
            timeout=timedelta(seconds=self.timeout_seconds) + SLACK,
            key_ttl=timedelta(seconds=self.key_ttl_seconds) if is_repeatable else None,
            is_askable=self.result_url is not None,
            ask_settles_after=timedelta(seconds=self.ask_settles_after_seconds),
        )


def read_services(settings: Mapping[str, object]) -> Sequence[Service] | None:
    """Read only the services of stored settings; raise `ConfigError` when they are wrong."""
    listed = read_settings(HttpSettings, "http", settings).services
    return None if listed is None else [Service(**one.model_dump()) for one in listed]


def read_secret(name: str, secret: str | None) -> Webhook | None:
    """Make the signer of a Standard Webhooks secret; raise `ConfigError` when it is none."""
    if secret is None:
        return None
    try:
        key = base64.b64decode(secret.strip().removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) not in SECRET_BYTES:
        raise ConfigError(
            f"The secret of provider '{name}' must be {SECRET_PREFIX} and 24 to 64 bytes in "
            "base64; make one with: openssl rand -base64 32."
        )
    return Webhook(key)

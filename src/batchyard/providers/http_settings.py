"""The settings of an `http` provider, as the operator stored them."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from standardwebhooks import Webhook

from batchyard.errors import ConfigError
from batchyard.models import Policy
from batchyard.network import fault_of_url
from batchyard.providers.base import Promise, Service

SECRET_PREFIX = "whsec_"  # noqa: S105  # the mark of the standard, not a secret
SECRET_BYTES = range(24, 65)
"""How long a secret may be by the Standard Webhooks specification."""

SLACK = timedelta(seconds=1)
"""The provider ends an exchange by itself; the engine's own limit comes a little later."""


def _url(value: str) -> str:
    if fault := fault_of_url(value):
        raise ValueError(f"{value!r} {fault}")
    return value


Url = Annotated[str, AfterValidator(_url)]
Seconds = Annotated[float, Field(ge=0, le=366 * 86400, allow_inf_nan=False)]


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


class HttpSettings(BaseModel):
    """Everything about one provider of kind `http` but its secret."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Url
    policy: Policy = Policy.NEITHER
    timeout_seconds: float = Field(default=30, gt=0, le=600, allow_inf_nan=False)
    result_url: Url | None = None
    not_done: frozenset[int] = frozenset({409, 423})
    key_ttl_seconds: Seconds = 86400
    ask_settles_after_seconds: Seconds = 0
    look_up_after_seconds: float = Field(default=60, gt=0, le=86400, allow_inf_nan=False)
    concurrency: int = Field(default=40, gt=0, le=10_000)
    services: tuple[HttpService, ...] | None = None

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


def read_settings(name: str, settings: Mapping[str, object]) -> HttpSettings:
    """Check stored settings; raise `ConfigError` naming each wrong one."""
    try:
        return HttpSettings.model_validate(dict(settings))
    except ValidationError as error:
        faults = "; ".join(_fault(".".join(map(str, e["loc"])), e["msg"]) for e in error.errors())
        raise ConfigError(f"Provider '{name}' has wrong settings. {faults}.") from error


def read_services(settings: Mapping[str, object]) -> Sequence[Service] | None:
    """Read only the services of stored settings; raise `ConfigError` when they are wrong."""
    listed = read_settings("http", settings).services
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


def _fault(where: str, message: str) -> str:
    text = message.removeprefix("Value error, ")
    return f"{where}: {text}" if where else text

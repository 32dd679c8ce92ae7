"""The settings of a `karrio` provider, as the operator stored them."""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Literal

from pydantic import Field, field_validator

from batchyard.errors import ConfigError
from batchyard.models import Policy
from batchyard.providers import settings as declared
from batchyard.providers.base import Promise, Service
from batchyard.providers.http_settings import SLACK, HttpService
from batchyard.providers.settings import Seconds, Settings, Url

FORBIDDEN_OPTIONS = frozenset(
    {
        "apply_shipping_rules",
        "has_alternative_services",
        "preferred_service",
        "shipping_method",
    }
)
"""With these Karrio buys where only a draft was asked for, or buys something else."""

COMMON_ADDONS: Mapping[str, Mapping[str, object]] = {
    name: {name: True}
    for name in (
        "email_notification",
        "saturday_delivery",
        "signature_confirmation",
        "sms_notification",
    )
}
"""Add-ons that Karrio knows by these names for every carrier that has them."""

KEY = re.compile(r"[\x21-\x7e]{8,500}")


class Mode(StrEnum):
    """What the key is for; Karrio fixes it with the key."""

    TEST = "test"
    LIVE = "live"


class KarrioSettings(Settings):
    """Everything about one Karrio server but the key to it."""

    url: Url = Field(description="the server, with its base path if it has one")
    mode: Mode = Field(
        default=Mode.TEST,
        description="`test` or `live`: what the API key must be for; with a key of the other mode "
        "nothing is bought",
    )
    label: Literal["pdf", "zpl"] = Field(
        default="pdf", description="`pdf` or `zpl`: the format labels are bought in"
    )
    strict: bool = Field(
        default=False,
        description="whether a carrier's own refusal is doubted, so that a person decides",
    )
    timeout_seconds: float = Field(
        default=120,
        gt=0,
        le=600,
        allow_inf_nan=False,
        description="the longest a purchase may take",
    )
    draft_timeout_seconds: float = Field(
        default=60,
        gt=0,
        le=600,
        allow_inf_nan=False,
        description="the longest a draft may take: Karrio asks the carrier for rates",
    )
    read_timeout_seconds: float = Field(
        default=20, gt=0, le=25, allow_inf_nan=False, description="the longest a look-up may take"
    )
    ask_patience_seconds: Seconds = Field(
        default=600, description="how long it is tried to find out; then a person decides"
    )
    concurrency: int = Field(
        default=4,
        gt=0,
        le=1000,
        description="shipments in flight at once, unless a limit says otherwise",
    )
    options: dict[str, object] = Field(
        default_factory=dict, description="options of Karrio that every shipment gets, as JSON"
    )
    addons: dict[str, dict[str, object]] = Field(
        default_factory=dict,
        description="what add-ons of a shipment mean: by their code, the options they stand for",
    )
    pickup_option: str | None = Field(
        default=None,
        min_length=1,
        description="the option of Karrio that takes the code of a service point",
    )
    services: tuple[HttpService, ...] | None = Field(
        default=None,
        description="what is booked, as `carrier/service`; without it, what the connections of the "
        "server offer",
    )

    @field_validator("options", "addons")
    @classmethod
    def _buys_nothing_by_itself(cls, given: dict[str, object]) -> dict[str, object]:
        names = set(given)
        names |= {name for value in given.values() if isinstance(value, dict) for name in value}
        if wrong := sorted(names & FORBIDDEN_OPTIONS):
            raise ValueError(f"{', '.join(wrong)} lets Karrio buy by itself, so it is not taken")
        return given

    @field_validator("pickup_option")
    @classmethod
    def _is_no_forbidden_option(cls, name: str | None) -> str | None:
        if name in FORBIDDEN_OPTIONS:
            raise ValueError(f"{name} lets Karrio buy by itself, so it is not taken")
        return name

    @property
    def longest_seconds(self) -> float:
        """How long an exchange may take at most; each has its own time."""
        return max(self.draft_timeout_seconds, self.timeout_seconds, self.read_timeout_seconds)

    @property
    def promise(self) -> Promise:
        """Askable, one-sided: a booking that is found is one, nothing found proves nothing."""
        seconds = self.draft_timeout_seconds + self.timeout_seconds + self.read_timeout_seconds
        return Promise(
            policy=Policy.ASKABLE,
            timeout=timedelta(seconds=seconds) + SLACK,
            is_askable=True,
            is_one_sided=True,
            ask_patience=timedelta(seconds=self.ask_patience_seconds),
        )


def read_settings(name: str, settings: Mapping[str, object]) -> KarrioSettings:
    """Check stored settings; raise `ConfigError` naming each wrong one."""
    return declared.read_settings(KarrioSettings, name, settings)


def read_services(settings: Mapping[str, object]) -> Sequence[Service] | None:
    """Read only the services of stored settings; None where the server says them."""
    listed = read_settings("karrio", settings).services
    return None if listed is None else [Service(**one.model_dump()) for one in listed]


def read_key(name: str, secret: str | None) -> str:
    """Check the API key; raise `ConfigError` when there is none, or none that could be one."""
    if secret is None:
        raise ConfigError(f"Provider '{name}' needs the API key of its server: --secret-file FILE.")
    if KEY.fullmatch(secret.strip()) is None:
        raise ConfigError(
            f"The secret of provider '{name}' is no API key, such as key_ and 32 hexadecimal "
            "digits."
        )
    return secret.strip()

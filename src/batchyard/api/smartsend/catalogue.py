"""Which carriers and services there are, and what they are called."""

from collections.abc import Mapping
from functools import cache
from importlib import resources

from pydantic import BaseModel, ConfigDict

DEFAULT_LANGUAGE = "en"


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str
    name: Mapping[str, str]

    def name_in(self, language: str) -> str:
        """Return the name in a language, else in English."""
        return self.name.get(language) or self.name[DEFAULT_LANGUAGE]


class Addon(_Entry):
    """Something a delivery may have besides."""


class Service(_Entry):
    """One way in which a carrier delivers."""

    is_pickup: bool = False
    is_return: bool = False


class Carrier(_Entry):
    """Who delivers."""

    services: tuple[Service, ...]
    logo_url: str | None = None
    icon_url: str | None = None

    def service(self, code: str) -> Service | None:
        """Return the service of this code."""
        return next((service for service in self.services if service.code == code), None)


class Catalogue(BaseModel):
    """All carriers, their services, and the add-ons with a name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    carriers: tuple[Carrier, ...]
    addons: tuple[Addon, ...]

    def carrier(self, code: str) -> Carrier | None:
        """Return the carrier of this code."""
        return next((carrier for carrier in self.carriers if carrier.code == code), None)

    def addon_name(self, code: str, *, language: str) -> str:
        """Return what an add-on is called; one without a name is called by its code."""
        return next((addon.name_in(language) for addon in self.addons if addon.code == code), code)


@cache
def catalogue() -> Catalogue:
    """Return the catalogue that is part of this release."""
    text = resources.files("batchyard.api.smartsend").joinpath("catalogue.json").read_bytes()
    return Catalogue.model_validate_json(text)

"""Which carriers and services there are for whom, and what they are called."""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources

from pydantic import BaseModel, ConfigDict

from batchyard.clock import monotonic
from batchyard.intake.shipment_shape import Offer
from batchyard.models import Team
from batchyard.operations.services import list_declared
from batchyard.providers.base import Service as Declared
from batchyard.store.db import Database

DEFAULT_LANGUAGE = "en"
BELIEVED_SECONDS = 1.0
"""So long it is not asked again what a team's provider declares."""


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

    def codes(self) -> Offer:
        """Return what shipments are checked against."""
        return {one.code: {service.code for service in one.services} for one in self.carriers}

    def narrowed(self, declared: Sequence[Declared]) -> "Catalogue":
        """Return only what is declared, in its order; what has no name here gets the declared."""
        by_carrier: dict[str, dict[str, Service]] = {}
        names: dict[str, str] = {}
        for one in declared:
            carrier = self.carrier(one.carrier)
            known = carrier.service(one.service) if carrier else None
            by_carrier.setdefault(one.carrier, {})[one.service] = known or _service(one)
            if one.carrier_name is not None:
                names[one.carrier] = one.carrier_name
        carriers = []
        for code, services in by_carrier.items():
            carrier = self.carrier(code)
            if carrier is None:
                name = {DEFAULT_LANGUAGE: names.get(code, code)}
                carrier = Carrier(code=code, name=name, services=())
            carriers.append(carrier.model_copy(update={"services": tuple(services.values())}))
        return self.model_copy(update={"carriers": tuple(carriers)})

    def addon_name(self, code: str, *, language: str) -> str:
        """Return what an add-on is called; one without a name is called by its code."""
        return next((addon.name_in(language) for addon in self.addons if addon.code == code), code)


@cache
def catalogue() -> Catalogue:
    """Return the catalogue that is part of this release."""
    text = resources.files("batchyard.intake").joinpath("catalogue.json").read_bytes()
    return Catalogue.model_validate_json(text)


class Offers:
    """What each team can send by, as its provider declares it; one a process."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._known: dict[int, tuple[float, Catalogue]] = {}

    async def of(self, team: Team) -> Catalogue:
        """Return what a team can send by; at most a second old."""
        asked_at, known = self._known.get(team.id, (0.0, None))
        if known is None or monotonic() - asked_at > BELIEVED_SECONDS:
            declared = await list_declared(self._db, team=team)
            known = catalogue() if declared is None else catalogue().narrowed(declared)
            self._known[team.id] = (monotonic(), known)
        return known


def _service(declared: Declared) -> Service:
    return Service(
        code=declared.service,
        name={DEFAULT_LANGUAGE: declared.service_name or declared.service},
        is_pickup=declared.is_pickup,
        is_return=declared.is_return,
    )

"""What to print on the parcels of a shipment, from the shipment as clients describe it; pure."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from babel import Locale

from batchyard.models import JsonObject
from batchyard.providers.labels import Label

CARRIER_NAMES = {
    "postnord": "PostNord",
    "gls": "GLS",
    "dao": "DAO",
    "bring": "Bring",
    "dhl": "DHL",
}


def shipment_labels(
    payload: JsonObject, codes: Sequence[str], *, booking: str | None, notice: str | None
) -> Iterator[Label]:
    """Yield the label of each parcel; there is a tracking code for each, in ASCII."""
    parcels = parcels_of(payload)
    carrier = text_at(payload, "delivery", "carrier")
    country_code = text_at(payload, "parties", "receiver", "address", "country").upper()
    for index, (parcel, code) in enumerate(zip(parcels, codes, strict=True), start=1):
        yield Label(
            carrier=CARRIER_NAMES.get(carrier, carrier.upper()),
            service=text_at(payload, "delivery", "service").replace("_", " ").title(),
            receiver=address_lines(payload, "receiver"),
            country=country_name(country_code),
            country_code=country_code,
            tracking_code=code,
            sender=address_lines(payload, "sender"),
            booking=booking,
            reference=text_at(payload, "reference") or None,
            parcel=index,
            parcels=len(parcels),
            weight=_weight(parcel, unit=text_at(payload, "weight_unit") or "g"),
            notice=notice,
        )


@cache
def country_name(code: str) -> str:
    """Return the English name of an ISO 3166 country, or the code where there is none."""
    return str(Locale("en").territories.get(code, code))


def parcels_of(payload: JsonObject) -> Sequence[JsonObject]:
    """Return the parcels of a shipment; one that names none has one."""
    found = [parcel for parcel in _list(payload, "parcels") if isinstance(parcel, Mapping)]
    return found or ({},)


def address_lines(payload: JsonObject, party: str) -> tuple[str, ...]:
    """Return name and address of a party, line by line, without the country."""
    path = ("parties", party)
    place = (text_at(payload, *path, "address", part) for part in ("postal_code", "city"))
    lines = (
        *_texts(payload, *path, "contact", "name_lines"),
        text_at(payload, *path, "contact", "company"),
        *_texts(payload, *path, "address", "address_lines"),
        " ".join(place),
    )
    return tuple(line.strip() for line in lines if line.strip())


def text_at(payload: JsonObject, *path: str) -> str:
    """Return the text at a place, empty where there is none."""
    found = _find(payload, *path)
    return found if isinstance(found, str) else ""


def _weight(parcel: JsonObject, *, unit: str) -> str | None:
    weight = parcel.get("gross_weight")
    if not isinstance(weight, int | float):
        return None
    if unit == "g" and weight >= 1000:
        return f"{weight / 1000:.2f} kg"
    return f"{weight:g} {unit}"


def _find(payload: JsonObject, *path: str) -> object:
    found: object = payload
    for name in path:
        if not isinstance(found, Mapping):
            return None
        found = found.get(name)
    return found


def _list(payload: JsonObject, *path: str) -> Sequence[object]:
    found = _find(payload, *path)
    return found if isinstance(found, list | tuple) else ()


def _texts(payload: JsonObject, *path: str) -> Iterator[str]:
    return (text for text in _list(payload, *path) if isinstance(text, str))

"""A shipment as Karrio takes it; pure. The mapping is in docs/providers/karrio.md."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation

from batchyard.models import JsonObject
from batchyard.providers.karrio_settings import COMMON_ADDONS, FORBIDDEN_OPTIONS, KarrioSettings
from batchyard.providers.shipment_labels import text_at

KEY_MARK = "batchyard_key"
"""Where in a shipment's metadata its key is."""

ADDRESS_LINES = 2
LINE_LENGTH = 100

WEIGHT_UNITS = {"g": "G", "kg": "KG", "lb": "LB", "oz": "OZ"}

DIMENSION_UNITS: Mapping[str, tuple[Decimal, str]] = {
    "mm": (Decimal("0.1"), "CM"),
    "cm": (Decimal(1), "CM"),
    "m": (Decimal(100), "CM"),
    "in": (Decimal(1), "IN"),
}
"""By what a measure is multiplied, and the unit it has then."""

SIDES = ("length", "width", "height")


class Unbookable(Exception):
    """A shipment that cannot be put to Karrio as it is; nothing was sent."""

    def __init__(self, code: str, message: str, *, is_retryable: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.is_retryable = is_retryable
        """Whether it can be booked once somebody has seen to it."""


def address_of(party: JsonObject, *, place: str) -> dict[str, object]:
    """Return the address of a party; raise `Unbookable` for what does not fit."""
    country = text_at(party, "address", "country").upper()
    lines = [line for line in texts_at(party, "address", "address_lines") if line]
    if not lines:
        raise Unbookable("address_missing", f"{place}.address.address_lines: there is no street.")
    if len(lines) > ADDRESS_LINES:
        raise Unbookable(
            "address_too_long",
            f"{place}.address.address_lines: Karrio takes {ADDRESS_LINES} lines of {LINE_LENGTH} "
            f"characters, here are {len(lines)}. Shorten the address.",
        )
    company = text_at(party, "contact", "company").strip()
    person = " ".join(line for line in texts_at(party, "contact", "name_lines") if line)
    if not person and not company:
        raise Unbookable("name_missing", f"{place}.contact.name_lines: there is no name.")
    area = text_at(party, "address", "administrative_area").strip()
    given = {
        "person_name": (person or company, 100, "contact.name_lines"),
        "company_name": (company, 100, "contact.company"),
        "address_line1": (lines[0], LINE_LENGTH, "address.address_lines.0"),
        "address_line2": (lines[1] if lines[1:] else "", LINE_LENGTH, "address.address_lines.1"),
        "postal_code": (
            text_at(party, "address", "postal_code").strip(),
            20,
            "address.postal_code",
        ),
        "city": (text_at(party, "address", "city").strip(), 50, "address.city"),
        "state_code": (area.removeprefix(f"{country}-"), 50, "address.administrative_area"),
        "phone_number": (text_at(party, "contact", "phone"), 50, "contact.phone"),
        "email": (text_at(party, "contact", "email").strip(), 254, "contact.email"),
        "federal_tax_id": (_tax_id(party), 50, "identifiers"),
    }
    fitting = {
        name: fit(text, at_most, place=f"{place}.{where}")
        for name, (text, at_most, where) in given.items()
        if text
    }
    return {**fitting, "country_code": country}


def parcel_of(parcel: JsonObject, payload: JsonObject, *, place: str) -> dict[str, object]:
    """Return a parcel with its weight and size; raise `Unbookable` for what is missing."""
    weight = number_at(parcel, "gross_weight")
    if weight is None:
        raise Unbookable(
            "weight_missing", f"{place}.gross_weight: a carrier needs the weight of each parcel."
        )
    shown: dict[str, object] = {"weight": float(weight), "weight_unit": weight_unit(payload)}
    sides = {side: number_at(parcel, side) for side in SIDES}
    missing = [side for side, length in sides.items() if length is None]
    if len(missing) == len(SIDES):
        return shown
    if missing:
        raise Unbookable(
            "dimensions_partial",
            f"{place}.{missing[0]}: give length, width and height, or none of them.",
        )
    unit = text_at(payload, "dimension_unit") or "cm"
    if unit not in DIMENSION_UNITS:
        raise Unbookable("unit_unknown", f"dimension_unit: {unit!r} is none.")
    factor, name = DIMENSION_UNITS[unit]
    lengths = {side: float(length * factor) for side, length in sides.items() if length is not None}
    return {**shown, **lengths, "dimension_unit": name}


def options_of(payload: JsonObject, settings: KarrioSettings) -> dict[str, object]:
    """Return the options a shipment gets; raise `Unbookable` for an add-on nobody explained."""
    options: dict[str, object] = {**settings.options}
    if currency := text_at(payload, "currency"):
        options["currency"] = currency
    for index, code in enumerate(_addons(payload)):
        meant = settings.addons.get(code, COMMON_ADDONS.get(code))
        if meant is None or code in FORBIDDEN_OPTIONS:
            known = ", ".join(sorted({*settings.addons, *COMMON_ADDONS}))
            raise Unbookable(
                "addon_unknown",
                f"delivery.addons.{index}.code: nobody said what {code!r} is at Karrio. Known: "
                f"{known}. The provider's setting addons adds more.",
            )
        options |= meant
    if point := text_at(payload, "parties", "pickup", "service_point_code"):
        if settings.pickup_option is None:
            raise Unbookable(
                "pickup_unsupported",
                "parties.pickup.service_point_code: the provider's setting pickup_option must "
                "name the option of Karrio that takes it.",
            )
        options[settings.pickup_option] = point
    return options


def weight_unit(payload: JsonObject) -> str:
    """Return the unit that weights of a shipment have at Karrio."""
    unit = text_at(payload, "weight_unit") or "g"
    if unit not in WEIGHT_UNITS:
        raise Unbookable("unit_unknown", f"weight_unit: {unit!r} is none.")
    return WEIGHT_UNITS[unit]


def fit(text: str, at_most: int, *, place: str) -> str:
    """Return a text; raise `Unbookable` when Karrio would not take its length."""
    if len(text) > at_most:
        raise Unbookable(
            "too_long", f"{place}: Karrio takes {at_most} characters, here are {len(text)}."
        )
    return text


def number_at(found: JsonObject, name: str) -> Decimal | None:
    """Return a number above zero; None where there is none."""
    value = found.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() and number > 0 else None


def object_at(found: JsonObject, *path: str) -> JsonObject:
    """Return the object at a place, empty where there is none."""
    for name in path:
        inner = found.get(name)
        found = inner if isinstance(inner, Mapping) else {}
    return found


def texts_at(found: JsonObject, *path: str) -> Iterator[str]:
    """Yield the texts of a list at a place, without blanks around them."""
    listed = object_at(found, *path[:-1]).get(path[-1])
    for text in listed if isinstance(listed, list | tuple) else ():
        if isinstance(text, str):
            yield text.strip()


def objects_of(found: JsonObject, name: str) -> Sequence[JsonObject]:
    """Return the objects of a list."""
    listed = found.get(name)
    given = listed if isinstance(listed, list | tuple) else ()
    return [one for one in given if isinstance(one, Mapping)]


def _addons(payload: JsonObject) -> Iterator[str]:
    for addon in objects_of(object_at(payload, "delivery"), "addons"):
        yield text_at(addon, "code")


def _tax_id(party: JsonObject) -> str:
    return text_at(party, "identifiers", "vat") or text_at(party, "identifiers", "tax_id")

"""What customs want to know of a shipment, as Karrio takes it; pure."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from babel.numbers import get_currency_precision

from batchyard.models import JsonObject
from batchyard.providers.karrio_shapes import (
    Unbookable,
    fit,
    number_at,
    objects_of,
    weight_unit,
)
from batchyard.providers.shipment_labels import text_at

# fmt: off
UNION = frozenset({
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU",
    "IE", "IT", "LT", "LU", "LV", "MC", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK",
})
# fmt: on
"""Countries between which goods need no customs papers: the European Union, and Monaco with it."""

UNION_ZONE = "EU"

OWN_ZONES: Mapping[str, Mapping[str, str]] = {
    "DE": {"27498": "Heligoland", "78266": "Buesingen"},
    "ES": {"35": "Canary Islands", "38": "Canary Islands", "51": "Ceuta", "52": "Melilla"},
    "FI": {"22": "Aland"},
    "GR": {"63086": "Mount Athos"},
    "IT": {"23041": "Livigno"},
}
"""Parts of these countries that need papers all the same, by how their postal codes begin."""

INCOTERMS = frozenset({"CFR", "CIF", "CIP", "CPT", "DAP", "DDP", "EXW", "FAS", "FCA", "FOB"})
"""Those of 2020 that Karrio knows: all but DPU."""

LARGEST_AMOUNT = 2**53


def is_needed(shipper: JsonObject, recipient: JsonObject) -> bool:
    """Tell whether goods cross a border of customs between two addresses of Karrio's form."""
    return _zone(shipper) != _zone(recipient)


def customs_of(payload: JsonObject, parcels: Sequence[JsonObject]) -> dict[str, object]:
    """Return the declaration; raise `Unbookable` where something of it is missing."""
    currency = text_at(payload, "currency")
    commodities: list[dict[str, object]] = []
    total = Decimal(0)
    for index, parcel in enumerate(parcels):
        items = objects_of(parcel, "items")
        if not items:
            raise Unbookable(
                "customs_items_missing",
                f"parcels.{index}.items: the shipment crosses a customs border; say what is in it.",
            )
        weight = Decimal(0)
        for place, item in enumerate(items):
            where = f"parcels.{index}.items.{place}"
            quantity = _quantity(item, place=where)
            unit_weight = _unit_weight(item, place=where)
            value = _value(item, currency, place=where)
            commodities.append(_commodity(item, payload, quantity, unit_weight, value, place=where))
            weight += quantity * unit_weight
            total += quantity * value
        _compare(weight, parcel, place=f"parcels.{index}")
    term = text_at(payload, "delivery", "incoterm")
    if term and term not in INCOTERMS:
        raise Unbookable("incoterm_unsupported", f"delivery.incoterm: Karrio knows no {term}.")
    invoice = text_at(payload, "invoice_number")
    return {
        "commodities": commodities,
        "content_type": "merchandise",
        "duty": {
            "paid_by": "sender" if term == "DDP" else "recipient",
            "currency": currency,
            "declared_value": float(total),
        },
        **({"incoterm": term} if term else {}),
        **({"invoice": fit(invoice, 50, place="invoice_number")} if invoice else {}),
    }


def _commodity(
    item: JsonObject,
    payload: JsonObject,
    quantity: int,
    unit_weight: Decimal,
    value: Decimal,
    *,
    place: str,
) -> dict[str, object]:
    description = text_at(item, "description").strip()
    texts = {
        "title": (description, 200, "description"),
        "description": (description, 200, "description"),
        "sku": (text_at(item, "sku"), 100, "sku"),
        "hs_code": (text_at(item, "hs_code"), 100, "hs_code"),
    }
    origin = text_at(item, "country_of_origin")
    return {
        "quantity": quantity,
        "weight": float(unit_weight),
        "weight_unit": weight_unit(payload),
        "value_amount": float(value),
        "value_currency": text_at(payload, "currency"),
        **({"origin_country": origin} if origin else {}),
        **{
            name: fit(text, at_most, place=f"{place}.{where}")
            for name, (text, at_most, where) in texts.items()
            if text
        },
    }


def _quantity(item: JsonObject, *, place: str) -> int:
    quantity = number_at(item, "quantity")
    if quantity is None or quantity != quantity.to_integral_value():
        raise Unbookable("customs_quantity_missing", f"{place}.quantity: say how many there are.")
    return int(quantity)


def _unit_weight(item: JsonObject, *, place: str) -> Decimal:
    weight = number_at(item, "net_weight")
    if weight is None:
        raise Unbookable(
            "customs_weight_missing",
            f"{place}.net_weight: customs want the weight of one piece, and sharing out the "
            "parcel's would invent it.",
        )
    return weight


def _value(item: JsonObject, currency: str, *, place: str) -> Decimal:
    amount = item.get("unit_net_amount")
    if not isinstance(amount, int) or isinstance(amount, bool) or abs(amount) > LARGEST_AMOUNT:
        raise Unbookable(
            "customs_value_missing",
            f"{place}.unit_net_amount: customs want the value of one piece.",
        )
    return major(amount, currency)


def _compare(weight: Decimal, parcel: JsonObject, *, place: str) -> None:
    """Refuse pieces that weigh more than their parcel: likely the weight of a line was given."""
    gross = number_at(parcel, "gross_weight")
    if gross is not None and weight > gross:
        raise Unbookable(
            "customs_weight_exceeds",
            f"{place}.items: the pieces weigh {weight} together, their parcel {gross}. "
            "net_weight is that of one piece.",
        )


def major(amount: int, currency: str) -> Decimal:
    """Return an amount of the smallest unit in the currency's own: 1250 of DKK is 12.5."""
    return Decimal(amount).scaleb(-get_currency_precision(currency))


def minor(amount: Decimal, currency: str) -> int:
    """Return an amount in the currency's smallest unit, rounded."""
    return int(amount.scaleb(get_currency_precision(currency)).to_integral_value())


def _zone(address: JsonObject) -> str:
    country = text_at(address, "country_code")
    code = text_at(address, "postal_code").replace(" ", "").replace("-", "").upper()
    for beginning, zone in OWN_ZONES.get(country, {}).items():
        if code.removeprefix(country).startswith(beginning):
            return zone
    return UNION_ZONE if country in UNION else country

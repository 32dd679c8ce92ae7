"""A shipment that was bought at Karrio as Batchyard keeps it: result and documents; pure."""

import base64
import binascii
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Literal

from batchyard.models import Document, JsonObject
from batchyard.network import fault_of_url
from batchyard.providers.karrio_customs import minor
from batchyard.providers.karrio_shapes import number_at, object_at, objects_of, texts_at
from batchyard.providers.shipment_labels import parcels_of, text_at

LONGEST_CODE = 200
LONGEST_URL = 4096
LARGEST_PRICE = 10**12

KINDS: dict[str, Literal["label", "customs", "other"]] = {"label": "label", "invoice": "customs"}
FORMATS: dict[str, Literal["pdf", "zpl", "png"]] = {"PDF": "pdf", "ZPL": "zpl", "PNG": "png"}


def result_of(shipment: JsonObject, payload: JsonObject, *, note: str = "") -> dict[str, object]:
    """Return what is told of a booking, by the published schema; what does not fit is left out.

    Karrio tells the numbers of several parcels in no order, so each parcel gets the number of the
    shipment, and all of them are listed beside it.
    """
    result: dict[str, object] = {
        "karrio": {
            "shipment_id": text_at(shipment, "id"),
            "carrier_id": text_at(shipment, "carrier_id"),
            "carrier_name": text_at(shipment, "carrier_name"),
            "service": text_at(shipment, "service"),
            "is_test": shipment.get("test_mode") is True,
            **({"note": note} if note else {}),
        }
    }
    code = text_at(shipment, "tracking_number").strip()
    if code and len(code) <= LONGEST_CODE:
        url = _absolute(text_at(shipment, "tracking_url"))
        parcel = {"tracking_code": code, "tracking_url": url}
        result["parcels"] = [parcel for _ in parcels_of(payload)]
    numbers = sorted(
        {number for number in texts_at(shipment, "meta", "tracking_numbers") if number}
    )
    if len(numbers) > 1:
        result["tracking_numbers"] = numbers
    return result | _price(object_at(shipment, "selected_rate"))


def held_documents(shipment: JsonObject) -> list[JsonObject]:
    """Return the documents whose contents an answer holds, as they are kept until all are there.

    Only the answer to a purchase has them all: extra ones cannot be fetched later.
    """
    parts = ("category", "format", "base64")
    told = [one for one in objects_of(shipment, "shipping_documents") if text_at(one, "base64")]
    return [{part: text_at(one, part) for part in parts} for one in told]


def documents_of(result: JsonObject) -> list[Document]:
    """Return the documents whose contents are kept with a booking."""
    found = (document_of(one) for one in objects_of(result, "documents"))
    return [document for document in found if document is not None]


def document_of(told: JsonObject) -> Document | None:
    """Read one document; None where it has no content, or one that nobody here can show."""
    format_ = FORMATS.get(text_at(told, "format").upper())
    try:
        content = base64.b64decode("".join(text_at(told, "base64").split()), validate=True)
    except (binascii.Error, ValueError):
        return None
    if format_ is None or not content:
        return None
    return Document(
        kind=KINDS.get(text_at(told, "category"), "other"), format=format_, content=content
    )


def needed_documents(shipment: JsonObject) -> list[str]:
    """Return which documents a booking needs, by Karrio's names."""
    return ["label", "invoice"] if shipment.get("invoice_url") else ["label"]


def missing_documents(result: JsonObject, held: Sequence[Document]) -> list[str]:
    """Return which of the documents that a booking needs are not held yet."""
    kinds = {document.kind for document in held}
    needed = texts_at(result, "documents")
    return [name for name in needed if KINDS.get(name, "other") not in kinds]


def _price(rate: JsonObject) -> dict[str, object]:
    currency = text_at(rate, "currency")
    charge = number_at(rate, "total_charge")
    if rate.get("total_charge") == 0:
        charge = Decimal(0)
    if charge is None or not (len(currency) == 3 and currency.isascii() and currency.isupper()):
        return {}
    try:
        price = minor(charge, currency)
    except InvalidOperation:
        return {}
    return {"price_minor": price, "currency": currency} if price <= LARGEST_PRICE else {}


def _absolute(url: str) -> str | None:
    """Return an address that leads somewhere for everybody; Karrio's own paths need its key."""
    is_usable = url.startswith(("http://", "https://")) and len(url) <= LONGEST_URL
    return url if is_usable and fault_of_url(url) is None else None

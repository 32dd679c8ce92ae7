"""The order of a draft, and which of its rates was wanted; pure."""

from batchyard.models import JsonObject, Request
from batchyard.providers.karrio_customs import customs_of, is_needed
from batchyard.providers.karrio_settings import KarrioSettings
from batchyard.providers.karrio_shapes import (
    KEY_MARK,
    Unbookable,
    address_of,
    fit,
    object_at,
    objects_of,
    options_of,
    parcel_of,
)
from batchyard.providers.shipment_labels import parcels_of, text_at

REFERENCE_LENGTH = 100

SENDER_MISSING = (
    "The team has no sender address. Set it: batchyard sender set --file FILE, or "
    "PUT /api/v1/sender."
)


def order_of(request: Request, settings: KarrioSettings) -> dict[str, object]:
    """Return the body that asks for a draft; raise `Unbookable`.

    It names no service to buy: with `service` Karrio would buy at once. The wanted one is only
    asked a rate for.
    """
    payload = request.payload
    sender = object_at(payload, "parties", "sender")
    if not sender:
        raise Unbookable("sender_missing", SENDER_MISSING, is_retryable=True)
    carrier, service = (
        text_at(payload, "delivery", "carrier"),
        text_at(payload, "delivery", "service"),
    )
    if not carrier or not service:
        raise Unbookable("service_missing", "delivery: name the carrier and the service.")
    parcels = parcels_of(payload)
    shipper = address_of(sender, place="sender")
    recipient = address_of(object_at(payload, "parties", "receiver"), place="parties.receiver")
    order: dict[str, object] = {
        "shipper": shipper,
        "recipient": recipient,
        "parcels": [
            parcel_of(parcel, payload, place=f"parcels.{index}")
            for index, parcel in enumerate(parcels)
        ],
        "carrier_ids": [carrier],
        "services": [service],
        "label_type": settings.label.upper(),
        "options": options_of(payload, settings),
        "payment": {"paid_by": "sender", "currency": text_at(payload, "currency") or None},
        "metadata": {KEY_MARK: request.key},
    }
    if return_to := object_at(sender, "return_to"):
        order["return_address"] = address_of(return_to, place="sender.return_to")
    if reference := text_at(payload, "reference"):
        order["reference"] = fit(reference, REFERENCE_LENGTH, place="reference")
    if is_needed(shipper, recipient):
        order["customs"] = customs_of(payload, parcels)
    return order


def find_rate(draft: JsonObject, payload: JsonObject) -> str | None:
    """Return the rate of the wanted carrier and service; None when the draft has none."""
    carrier, service = (
        text_at(payload, "delivery", "carrier"),
        text_at(payload, "delivery", "service"),
    )
    for rate in objects_of(draft, "rates"):
        connection = {text_at(rate, "carrier_id"), text_at(rate, "meta", "carrier_connection_id")}
        if text_at(rate, "service") == service and carrier in connection and text_at(rate, "id"):
            return text_at(rate, "id")
    return None

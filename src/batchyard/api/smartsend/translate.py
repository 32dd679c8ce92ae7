"""From rows to the shapes clients get; pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from batchyard.api.smartsend.catalogue import Carrier, Catalogue, Service, catalogue
from batchyard.api.smartsend.language import translate
from batchyard.api.smartsend.messages import Message
from batchyard.api.smartsend.queries import Page
from batchyard.api.smartsend.shipment_queries import OperationRow, ShipmentRow
from batchyard.intake.shipment_shape import Parcel, Shipment
from batchyard.lifecycle import STOPPED_STATUS, UNKNOWN_STATUS
from batchyard.models import JsonObject

OUTCOME_UNKNOWN = "outcome_unknown"
STOPPED = "stopped"
FAILED = "failed"
CANCELLED = "cancelled"

OPERATION_STATES = {
    "open": "pending",
    "queued": "pending",
    "processing": "running",
    "booked": "succeeded",
    "failed": "failed",
    "cancelled": "failed",
}
"""What the state of a shipment says about the operation that books it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Audience:
    """For whom an answer is made: the language, and what there is to send by."""

    language: str
    offer: Catalogue


def moment(at: datetime) -> str:
    """Return a time as the door writes it: RFC 3339, UTC, whole seconds."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def meta(page: Page, *, total: int, count: int) -> dict[str, int | None]:
    """Describe a page that holds `count` of `total`."""
    first = (page.number - 1) * page.size + 1
    return {
        "current_page": page.number,
        "per_page": page.size,
        "total": total,
        "last_page": max(1, -(-total // page.size)),
        "from": first if count else None,
        "to": first + count - 1 if count else None,
    }


def services(audience: Audience) -> Iterator[dict[str, object]]:
    """Return every service of every carrier."""
    for carrier in audience.offer.carriers:
        for service in carrier.services:
            yield _service(carrier, service, audience.language)


def _service(carrier: Carrier, service: Service, language: str) -> dict[str, object]:
    return {
        "service_code": service.code,
        "service_name": service.name_in(language),
        "carrier_code": carrier.code,
        "carrier_name": carrier.name_in(language),
        "carrier_logo_url": carrier.logo_url,
        "carrier_icon_url": carrier.icon_url,
        "is_pickup": service.is_pickup,
        "is_return": service.is_return,
    }


def new_shipment(
    shipment_id: UUID, payload: JsonObject, *, audience: Audience
) -> dict[str, object]:
    """Return a shipment that was added just now to an open batch."""
    return _shipment(shipment_id, "open", payload, {}, audience)


def shipment(row: ShipmentRow, *, audience: Audience) -> dict[str, object]:
    """Return a stored shipment."""
    return _shipment(row.id, row.state, row.payload, row.result, audience)


def explained_shipment(row: ShipmentRow, *, audience: Audience) -> dict[str, object]:
    """Return a stored shipment with what went wrong."""
    return {**shipment(row, audience=audience), "errors": _errors(row, audience.language)}


def has_ended(row: ShipmentRow) -> bool:
    """Tell whether a shipment is booked or never will be; not while its outcome is unknown."""
    return OPERATION_STATES[row.state] in ("succeeded", "failed")


def operation(row: OperationRow, *, base_url: str, language: str) -> dict[str, object]:
    """Return what became of the booking of a shipment; `base_url` leads to the team."""
    return {
        "uuid": str(row.operation_id),
        "state": OPERATION_STATES[row.state],
        "resource_url": f"{base_url}/shipments/{row.id}",
        "created_at": moment(row.requested_at),
        "finished_at": moment(row.at) if has_ended(row) else None,
        "errors": _cancellation(row, language) or _errors(row, language),
    }


def _shipment(
    shipment_id: UUID, state: str, payload: JsonObject, result: JsonObject, audience: Audience
) -> dict[str, object]:
    # PostgreSQL does not keep the order of keys.
    fields = {name: payload.get(name) for name in Shipment.model_fields}
    return {
        "uuid": str(shipment_id),
        "state": state,
        **fields,
        "delivery": _delivery(_object(payload.get("delivery")), audience),
        "parcels": _parcels(payload, result),
    }


def _delivery(delivery: JsonObject, audience: Audience) -> dict[str, object]:
    carrier_code, service_code = str(delivery.get("carrier")), str(delivery.get("service"))
    carrier, service = _find(audience.offer, carrier_code, service_code)
    language = audience.language
    codes = [str(_object(addon).get("code")) for addon in _list(delivery.get("addons"))]
    return {
        "carrier_code": carrier_code,
        "carrier_name": carrier.name_in(language) if carrier else carrier_code,
        "carrier_logo_url": carrier.logo_url if carrier else None,
        "carrier_icon_url": carrier.icon_url if carrier else None,
        "service_code": service_code,
        "service_name": service.name_in(language) if service else service_code,
        "is_pickup": service is not None and service.is_pickup,
        "is_return": service is not None and service.is_return,
        "incoterm": delivery.get("incoterm"),
        "addons": [
            {"code": code, "name": catalogue().addon_name(code, language=language)}
            for code in codes
        ],
    }


def _find(
    offer: Catalogue, carrier_code: str, service_code: str
) -> tuple[Carrier | None, Service | None]:
    """Return what the codes mean to the team, else what they mean at all: offers change."""
    carrier = offer.carrier(carrier_code) or catalogue().carrier(carrier_code)
    service = carrier.service(service_code) if carrier else None
    if service is None and (known := catalogue().carrier(carrier_code)):
        service = known.service(service_code)
    return carrier, service


def _parcels(payload: JsonObject, result: JsonObject) -> list[dict[str, object]]:
    booked = _list(result.get("parcels"))
    parcels = []
    for index, stored in enumerate(_list(payload.get("parcels"))):
        parcel = _object(stored)
        found = _object(booked[index]) if index < len(booked) else {}
        parcels.append(
            {
                "uuid": parcel.get("uuid"),
                **{name: parcel.get(name) for name in Parcel.model_fields},
                "tracking_code": found.get("tracking_code"),
                "tracking_url": found.get("tracking_url"),
            }
        )
    return parcels


def _cancellation(row: ShipmentRow, language: str) -> list[dict[str, object]]:
    """Tell why an operation came to nothing though nothing went wrong."""
    if row.state != CANCELLED:
        return []
    return [_error(row, CANCELLED, Message.SHIPMENT_CANCELLED.value, language)]


def _errors(row: ShipmentRow, language: str) -> list[dict[str, object]]:
    if row.state != "failed":
        return []
    if row.status == UNKNOWN_STATUS:
        code, message, retryable = OUTCOME_UNKNOWN, Message.SHIPMENT_UNKNOWN.value, False
    elif row.status == STOPPED_STATUS or row.phase != "done":
        # Not sent and never will be: the batch was stopped.
        code, message, retryable = STOPPED, Message.SHIPMENT_STOPPED.value, True
    else:
        code = row.error_code or FAILED
        message = row.error_message or Message.SHIPMENT_FAILED.value
        retryable = row.result.get("retryable") is True
    return [_error(row, code, message, language, is_retryable=retryable)]


def _error(
    row: ShipmentRow, code: str, message: str, language: str, *, is_retryable: bool = False
) -> dict[str, object]:
    return {
        "code": code,
        "message": translate(message, language=language),
        "retryable": is_retryable,
        "at": moment(row.at),
    }


def _object(value: object) -> JsonObject:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else ()

"""Requests for tests of providers."""

from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID

from batchyard.models import Kind, Request

SENT_AT = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
BATCH_ID = UUID(int=1)


def make_call(
    number: str = "+12125550147",
    *,
    item: int = 7,
    attempt: int = 1,
    delivery: int = 1,
    payload: Mapping[str, object] | None = None,
) -> Request:
    return _make(
        Kind.CALL,
        item=item,
        attempt=attempt,
        delivery=delivery,
        payload={"first_name": "Åse", "last_name": "Holm"} if payload is None else payload,
        number=number,
    )


def make_shipment(
    postal_code: str = "8000",
    *,
    carrier: str = "gls",
    parcels: int = 1,
    item: int = 7,
    attempt: int = 1,
    delivery: int = 1,
) -> Request:
    receiver = {
        "address": {
            "address_lines": ["Skovvej 4"],
            "postal_code": postal_code,
            "city": "Aarhus C",
            "country": "DK",
        },
        "contact": {"name_lines": ["Søren Kjær"], "company": "Kjær & Søn ApS"},
    }
    payload = {
        "currency": "DKK",
        "weight_unit": "g",
        "reference": f"WEB-{item}",
        "delivery": {"carrier": carrier, "service": "home"},
        "parties": {"receiver": receiver},
        "parcels": [{"gross_weight": 1250}] * parcels,
    }
    return _make(
        Kind.SHIPMENT, item=item, attempt=attempt, delivery=delivery, payload=payload, number=None
    )


def _make(
    kind: Kind,
    *,
    item: int,
    attempt: int,
    delivery: int,
    payload: Mapping[str, object],
    number: str | None,
) -> Request:
    return Request(
        key=f"{UUID(int=item)}.{attempt}",
        item_id=UUID(int=item),
        batch_id=BATCH_ID,
        team="default",
        kind=kind,
        attempt=attempt,
        delivery=delivery,
        sent_at=SENT_AT,
        payload=payload,
        number=number,
    )

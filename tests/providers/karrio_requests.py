"""Requests for shipments through Karrio, and the provider they go through."""

from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from batchyard.models import Answer, Ended, JsonObject, Kind, Lost, NotReceived, Refused, Request
from batchyard.providers.base import Surroundings
from batchyard.providers.karrio import KarrioProvider
from tests.providers.fakes.karrio_state import TEST_KEY

TIMEOUTS = {
    "draft": "draft_timeout_seconds",
    "purchase": "timeout_seconds",
    "read": "read_timeout_seconds",
}
"""The setting that ends each step."""
PATIENT_SECONDS = 10.0
SILENT_SECONDS = 1.0
"""Long enough to send a request on a slow machine."""

SENDER: JsonObject = {
    "address": {
        "address_lines": ["Havnegade 1"],
        "postal_code": "8000",
        "city": "Aarhus",
        "country": "DK",
    },
    "contact": {"name_lines": ["Lager"], "company": "Kop ApS", "phone": "+4586123456"},
    "identifiers": {"vat": "DK12345678"},
}

SHIPMENT: dict[str, Any] = {
    "currency": "DKK",
    "weight_unit": "g",
    "dimension_unit": "cm",
    "reference": "WEB-7",
    "delivery": {"carrier": "post-nord", "service": "standard_service"},
    "parties": {
        "sender": SENDER,
        "receiver": {
            "address": {
                "address_lines": ["Åboulevarden 1", "3. tv"],
                "postal_code": "2100",
                "city": "København",
                "country": "DK",
            },
            "contact": {"name_lines": ["Søren", "Ørsted"], "phone": "+4520123456"},
        },
    },
    "parcels": [
        {
            "gross_weight": 1200,
            "items": [
                {
                    "description": "Cup",
                    "quantity": 2,
                    "net_weight": 500,
                    "unit_net_amount": 12550,
                    "country_of_origin": "DK",
                    "hs_code": "691110",
                }
            ],
        }
    ],
}


def changed(**changes: object) -> dict[str, Any]:
    """Return the shipment with changes; a place is written with `__`, None takes it away."""
    shipment = deepcopy(SHIPMENT)
    for name, value in changes.items():
        *way, last = name.split("__")
        place: Any = shipment
        for step in way:
            place = place[int(step) if step.isdecimal() else step]
        if value is None:
            place.pop(last, None)
        else:
            place[int(last) if last.isdecimal() else last] = value
    return shipment


def abroad(country: str = "NO", /, **changes: object) -> dict[str, Any]:
    """Return the shipment to another country."""
    return changed(parties__receiver__address__country=country, **changes)


def ask_for(payload: JsonObject | None = None, *, reference: str | None = None) -> Request:
    """Return a request with a key never used before."""
    item_id = uuid4()
    return Request(
        key=f"{item_id}.1",
        item_id=item_id,
        batch_id=uuid4(),
        team="default",
        kind=Kind.SHIPMENT,
        attempt=1,
        delivery=1,
        sent_at=datetime(2026, 12, 1, 9, tzinfo=UTC),
        payload=SHIPMENT if payload is None else payload,
        reference=reference,
    )


class Kept:
    """Keeps references as the engine does, or loses its claim."""

    def __init__(self) -> None:
        self.references: dict[str, str] = {}
        self.is_ours = True

    async def keep(self, request: Request, reference: str) -> bool:
        """Keep one."""
        if self.is_ours:
            self.references[request.key] = reference
        return self.is_ours


def open_karrio(
    url: str,
    *,
    kept: Kept | None = None,
    key: str = TEST_KEY,
    ahead: timedelta = timedelta(0),
    silent: str | None = None,
    **settings: object,
) -> KarrioProvider:
    """Open a provider whose clock is so far ahead.

    It waits long for every answer but that of the `silent` step: none comes, so none is too slow.
    """
    timeouts = dict.fromkeys(TIMEOUTS.values(), PATIENT_SECONDS)
    if silent is not None:
        timeouts[TIMEOUTS[silent]] = SILENT_SECONDS
    return KarrioProvider(
        Surroundings(
            name="karrio",
            clock=lambda: datetime.now(UTC) + ahead,
            report=lambda _key, _answer: None,
            settings={"url": url, **timeouts, **settings},
            secret=key,
            allow_private=True,
            keep=(kept or Kept()).keep,
        )
    )


def later(request: Request, kept: Kept) -> Request:
    """Return the request as it is asked about."""
    return replace(request, reference=kept.references.get(request.key))


def if_silent(step: str, fault: str) -> str | None:
    """Name the step where its fault is that no answer comes."""
    return step if fault.startswith("hang_") else None


def code_of(answer: Answer | NotReceived) -> str | None:
    match answer:
        case Ended():
            return answer.error_code
        case Refused() | Lost():
            return answer.code
        case _:
            return None

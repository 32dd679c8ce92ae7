"""The fates of shipments in the sandbox: the postal code decides, else a mix; pure."""

from collections.abc import Iterator
from enum import StrEnum
from hashlib import sha256
from random import Random

from batchyard.models import Ended, Request
from batchyard.providers.labels import Label
from batchyard.providers.sandbox_fate import Event, Fate, Manner, Special, dice, reference
from batchyard.providers.shipment_labels import (
    address_lines,
    parcels_of,
    shipment_labels,
    text_at,
)

NOTICE = "SANDBOX LABEL - NOT VALID FOR CARRIAGE"
TRACKING_URL = "https://track.example/"


class ShipmentOutcome(StrEnum):
    """How a booking can end; what is not booked is the error code of the failure."""

    BOOKED = "booked"
    ADDRESS_REFUSED = "address_refused"
    CARRIER_REJECTED = "carrier_rejected"
    CARRIER_UNAVAILABLE = "carrier_unavailable"


S = ShipmentOutcome

SPECIAL_POSTAL_CODES: dict[str, Special[ShipmentOutcome]] = {
    "9801": Special(outcome=S.BOOKED, manner=Manner.ANSWER_LOST),
    "9802": Special(outcome=S.BOOKED, manner=Manner.LOST_FIRST),
    "9803": Special(outcome=S.BOOKED, manner=Manner.REFUSED_FIRST),
    "9804": Special(outcome=S.BOOKED, manner=Manner.TWICE_AND_LATE),
    "9805": Special(outcome=S.BOOKED, manner=Manner.SILENT),
    "9806": Special(outcome=S.CARRIER_REJECTED),
    "9807": Special(outcome=S.BOOKED, first_outcome=S.CARRIER_UNAVAILABLE),
}
"""By the whole postal code; compared with `docs/sandbox.md` by a test."""

REFUSED_PREFIX = "99"

SHIPMENT_MIX: dict[ShipmentOutcome, int] = {S.BOOKED: 98, S.CARRIER_REJECTED: 2}
"""Percent of all other postal codes."""

REASONS = {
    S.ADDRESS_REFUSED: "The carrier does not deliver to this postal code.",
    S.CARRIER_REJECTED: "The carrier rejected the booking.",
    S.CARRIER_UNAVAILABLE: "The carrier's booking system is out of order.",
}

TRACKING_FORMATS: dict[str, tuple[str, int]] = {
    "postnord": ("00370", 14),
    "gls": ("", 11),
    "dao": ("00057", 14),
    "bring": ("3707", 13),
    "dhl": ("JJD", 17),
}
"""Prefix and number of digits; a GS1 check digit over the digits follows."""
OTHER_FORMAT = ("BY", 13)


def shipment_fate(request: Request, *, seed: str) -> Fate:
    """Return what becomes of a booking.

    It depends on seed, receiver, reference and attempt, so that a file runs alike each time; only
    the codes depend on the key.
    """
    outcome, manner = _outcome(request, seed)
    ends_after_seconds = _dice(request, seed, "times").uniform(0.5, 3)
    if outcome is S.BOOKED:
        result = {
            "parcels": [
                {"tracking_code": code, "tracking_url": TRACKING_URL + code}
                for code in tracking_codes(request)
            ],
            "price_minor": _price_minor(request),
            "currency": _currency(request),
        }
        ending = Ended(status="booked", result=result, reference=reference(request.key))
    else:
        ending = Ended(
            status="failed",
            error_code=outcome.value,
            error_message=REASONS[outcome],
            reference=reference(request.key),
        )
    return Fate(
        events=(Event(after_seconds=0, status="processing"),),
        ends_after_seconds=ends_after_seconds,
        ending=ending,
        manner=manner,
    )


def tracking_codes(request: Request) -> tuple[str, ...]:
    """Return one code per parcel in the manner of the carrier; decided by key and index."""
    prefix, digits = TRACKING_FORMATS.get(
        text_at(request.payload, "delivery", "carrier"), OTHER_FORMAT
    )
    codes = []
    for index in range(len(parcels_of(request.payload))):
        number = int(sha256(f"{request.key}/{index}".encode()).hexdigest(), 16) % 10**digits
        body = f"{number:0{digits}d}"
        codes.append(f"{prefix}{body}{check_digit(prefix + body)}")
    return tuple(codes)


def check_digit(code: str) -> int:
    """Return the check digit of GS1 (modulo 10, weights 3 and 1 from the right) over the digits."""
    digits = [int(char) for char in code if char.isdigit()]
    total = sum(digit * (1 if place % 2 else 3) for place, digit in enumerate(reversed(digits)))
    return -total % 10


def labels(request: Request) -> Iterator[Label]:
    """Yield what to print on each parcel of a booked shipment."""
    return shipment_labels(
        request.payload,
        tracking_codes(request),
        booking=reference(request.key),
        notice=NOTICE,
    )


def _outcome(request: Request, seed: str) -> tuple[ShipmentOutcome, Manner]:
    postal_code = text_at(request.payload, "parties", "receiver", "address", "postal_code")
    postal_code = postal_code.replace(" ", "")
    special = SPECIAL_POSTAL_CODES.get(postal_code)
    if special is not None:
        return special.outcome_of(request.attempt), special.manner
    if postal_code.startswith(REFUSED_PREFIX):
        return S.ADDRESS_REFUSED, Manner.PLAIN
    chance = _dice(request, seed, "shipment")
    drawn = chance.choices(tuple(SHIPMENT_MIX), weights=tuple(SHIPMENT_MIX.values()))[0]
    return drawn, Manner.PLAIN


def _dice(request: Request, seed: str, about: str) -> Random:
    who = (*address_lines(request.payload, "receiver"), text_at(request.payload, "reference"))
    return dice(seed, about, *who, request.attempt)


def _price_minor(request: Request) -> int:
    base, each = (590, 250) if _currency(request) == "EUR" else (4500, 1900)
    return base + each * (len(parcels_of(request.payload)) - 1)


def _currency(request: Request) -> str:
    return text_at(request.payload, "currency") or "EUR"

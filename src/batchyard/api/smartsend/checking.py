"""Shipments as they come: each is checked by itself, every fault of all is told."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from batchyard.api.smartsend import faults
from batchyard.api.smartsend.faults import Faults, Refused
from batchyard.api.smartsend.messages import Message
from batchyard.api.smartsend.translate import Audience
from batchyard.intake.shipment_shape import Offer, Shipment, stored
from batchyard.models import JsonObject

CHECKED_AT_ONCE = 100
"""After so many shipments others get their turn on the event loop."""
MAX_FAULTS = 50_000
"""Looking for more faults in one body stops here."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """What is good of the shipments that came, in their order, and what is not."""

    payloads: list[JsonObject]
    """As they are stored."""
    faults: Faults


async def check_shipments(
    given: Sequence[object], *, audience: Audience, is_lenient: bool = False
) -> Checked:
    """Check all shipments; raise `Refused` for any fault, or when lenient, where none is good."""
    checked: list[JsonObject] = []
    found: Faults = {}
    offer = audience.offer.codes()
    for index, one in enumerate(given):
        if index % CHECKED_AT_ONCE == 0:
            await asyncio.sleep(0)
        try:
            checked.append(stored(_validate(one, offer)))
        except ValidationError as error:
            found |= _tell(error, audience.language, under=("data", index))
            if len(found) > MAX_FAULTS:
                break
    if found and not (is_lenient and checked and len(found) <= MAX_FAULTS):
        raise Refused(Message.INVALID, faults=found)
    return Checked(payloads=checked, faults=found)


def check_shipment(given: object, *, audience: Audience) -> JsonObject:
    """Return one shipment as it is stored; raise `Refused` with every fault."""
    try:
        return stored(_validate(given, audience.offer.codes()))
    except ValidationError as error:
        raise Refused(Message.INVALID, faults=_tell(error, audience.language)) from error


def _validate(given: object, offer: Offer) -> Shipment:
    return Shipment.model_validate(given, context=offer)


def _tell(error: ValidationError, language: str, *, under: tuple[str | int, ...] = ()) -> Faults:
    told = error.errors(include_url=False, include_input=False)
    found = faults.tell(told, language=language, under=under)
    # A body that is no object at all has a fault without a place.
    return {path or "body": sentences for path, sentences in found.items()}

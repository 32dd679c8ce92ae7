"""What an answer of Karrio proves; pure. The tables are in docs/providers/karrio.md."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from batchyard.errors import InvalidRequest
from batchyard.models import Ended, JsonObject, Lost, Refused, Request
from batchyard.providers import results
from batchyard.providers.http_answers import describe, retry_after
from batchyard.providers.http_exchange import Reply
from batchyard.providers.karrio_shapes import KEY_MARK, objects_of
from batchyard.providers.shipment_labels import text_at

MESSAGE_LENGTH = 500
AWAY_SECONDS = 10.0
"""So long everything waits when nobody serves."""

UNAVAILABLE = frozenset({502, 503, 504})
REJECTED = frozenset({400, 404, 409, 413, 422})
"""With these a draft is refused for what it says."""

BEFORE_CARRIER = frozenset({"service_unavailable", "validation_error"})
"""Codes of a 400 that Karrio gives before it speaks to a carrier; a plain `validation` may come
after the carrier said yes."""

SDK = "SHIPPING_SDK_"
PREFLIGHT = frozenset(
    SDK + name
    for name in (
        "NON_SUPPORTED_ERROR",
        "ORIGIN_NOT_SERVICED_ERROR",
        "DESTINATION_NOT_SERVICED_ERROR",
        "MULTI_PARCEL_NOT_SUPPORTED_ERROR",
        "FIELD_ERROR",
    )
)
"""Faults that Karrio finds while it writes the request to the carrier."""

NOT_PROVEN = "not_proven"
"""Of a draft that shows no trace of a purchase, which proves nothing by itself."""

SERVER_FAULT = re.compile(r"5[0-9]{2}")
SHIPMENT_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Bought:
    """A shipment that was bought, as Karrio tells it."""

    shipment: JsonObject
    doubt: str = ""
    """What must be said of looking it up later."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LookFirst:
    """The draft has to be looked at before the answer means anything."""

    when_unbought: Ended
    """What it means when the draft was not bought."""
    statuses: frozenset[str] = frozenset({"draft"})
    """Which statuses of the draft show that."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What Karrio or a carrier says of a fault."""

    code: str
    message: str

    @property
    def sentence(self) -> str:
        """The carrier's words with its code."""
        return f"{self.message} ({self.code})" if self.code else self.message


def stop(code: str, message: str) -> Refused:
    """Say that nothing can be bought until somebody has seen to the provider."""
    return Refused(code=code, message=message, stops_provider=True)


def fault_of_draft(reply: Reply, *, now: datetime) -> Ended | Refused | Lost:
    """Say what a draft that was not made means: nothing was bought; `Lost` may be tried again."""
    told = read_faults(reply.body)
    words = _words(told) or describe(reply)
    if unserved := _not_served(reply, told, words, now=now):
        return unserved
    if told and reply.status in REJECTED:
        return _failed("rejected", words)
    if told and reply.status == 424 and not all(_is_internal(one) for one in told):
        return _failed("carrier_refused", words)
    if reply.status in UNAVAILABLE:
        seconds = retry_after(reply, now=now) or AWAY_SECONDS
        return Refused(code=_code(reply), message=words, retry_after_seconds=seconds)
    return Lost(code=_code(reply), message=words)


def read_purchase(
    reply: Reply, *, parcels: int, strict: bool, now: datetime
) -> Bought | LookFirst | Ended | Refused | Lost:
    """Say what the answer to a purchase proves."""
    if reply.is_success:
        return _read_success(reply)
    told = read_faults(reply.body)
    words = _words(told) or describe(reply)
    lost = Lost(code=_code(reply), message=words)
    if not told and reply.status not in {401, 429}:
        # Not written by Karrio, so nothing is known of what Karrio did.
        return lost
    if unserved := _not_served(reply, told, words, now=now):
        return unserved
    return _read_refusal(reply, told, words, is_believed=parcels == 1 and not strict) or lost


def _read_refusal(
    reply: Reply, told: Sequence[Told], words: str, *, is_believed: bool
) -> LookFirst | Ended | Refused | None:
    """Say what a refusal in Karrio's own words proves; None: nothing.

    A carrier's refusal is believed of one parcel only: with several, some may be booked.
    """
    codes = {one.code for one in told}
    match reply.status:
        case 404:
            return Refused(code="draft_gone", message=words)
        case 409 if "state_error" in codes:
            gone = _failed("draft_cancelled", "Somebody cancelled the draft at Karrio.")
            return LookFirst(when_unbought=gone, statuses=frozenset({"cancelled"}))
        case 400 if codes <= BEFORE_CARRIER:
            return _failed("rejected", words)
        case 424 if codes <= PREFLIGHT:
            return _failed("carrier_refused", words)
        case 424 if _is_carriers_own(codes) and is_believed:
            return LookFirst(when_unbought=_failed("carrier_refused", words))
    return None


def judge(shipment: JsonObject) -> Bought | Lost:
    """Say what a shipment that was looked up proves: a booking, or nothing."""
    shipment_id, request_id = text_at(shipment, "id"), text_at(shipment, "meta", "request_id")
    where = f"Look at shipment {shipment_id} in Karrio, request id {request_id or 'unknown'}."
    status = text_at(shipment, "status")
    is_marked = bool(shipment.get("selected_rate") or shipment.get("carrier_name"))
    if status == "draft" and is_marked:
        return Lost(
            code="half_recorded",
            message=f"The carrier said yes, but Karrio did not record the booking. {where}",
        )
    if status == "draft":
        return Lost(code=NOT_PROVEN, message=f"Nothing shows whether it was bought. {where}")
    if status == "cancelled":
        return Lost(code="cancelled_there", message=f"It was cancelled at Karrio. {where}")
    if not status:
        return Lost(code="answer_unreadable", message="The shipment has no status.")
    return Bought(shipment=shipment)


def is_unbought(shipment: JsonObject, *, statuses: frozenset[str]) -> bool:
    """Tell whether a draft that was looked at shows no trace of a purchase."""
    marks = ("selected_rate", "carrier_name", "tracking_number")
    return text_at(shipment, "status") in statuses and not any(shipment.get(m) for m in marks)


def is_of_key(shipment: JsonObject, key: str) -> bool:
    """Tell whether a shipment was made for this very key."""
    marks = (text_at(shipment, "metadata", KEY_MARK), text_at(shipment, "meta", "request_id"))
    return key in marks


def is_of_other_attempt(shipment: JsonObject, request: Request) -> bool:
    """Tell whether a shipment was surely made for another key of the same item.

    One whose marks somebody took away at Karrio is not: it may be this key's.
    """
    item, _, attempt = text_at(shipment, "metadata", KEY_MARK).rpartition(".")
    return item == str(request.item_id) and attempt != str(request.attempt)


def read_object(reply: Reply) -> JsonObject:
    """Read an answer that must be an object; raise `InvalidRequest`."""
    found = results.read_json(reply.body)
    if not isinstance(found, Mapping):
        raise InvalidRequest("The answer is not a JSON object.")
    return found


def read_faults(body: bytes) -> Sequence[Told]:
    """Read what Karrio says of a fault; nothing where it did not write it."""
    try:
        found = results.read_json(body)
    except InvalidRequest:
        return ()
    if not isinstance(found, Mapping):
        return ()
    return [_told(one) for name in ("errors", "messages") for one in objects_of(found, name)]


def describe_offer(shipment: JsonObject) -> str:
    """Say what a draft without the wanted rate offers instead."""
    said = _words([_told(one) for one in objects_of(shipment, "messages")])
    offered = sorted({text_at(rate, "service") for rate in objects_of(shipment, "rates")} - {""})
    if said:
        return said
    return f"It offers {', '.join(offered)}." if offered else "It offers none."


def _read_success(reply: Reply) -> Bought | Lost:
    try:
        shipment = read_object(reply)
    except InvalidRequest as error:
        return Lost(code="answer_unreadable", message=error.message)
    if SHIPMENT_ID.fullmatch(text_at(shipment, "id")) is None:
        return Lost(code="answer_unreadable", message="The answer is no shipment.")
    return judge(shipment)


def _told(one: JsonObject) -> Told:
    code = one.get("code")
    message = one.get("message")
    words = message if isinstance(message, str) else ""
    details = one.get("details")
    if isinstance(details, Mapping) and details:
        named = "; ".join(f"{field}: {_detail(fault)}" for field, fault in details.items())
        words = f"{words.rstrip('.')}: {named}" if words else named
    # Karrio nests codes now and then; a nested one is not any we know.
    return Told(code=code if isinstance(code, str) else "", message=_shorten(words))


def _detail(fault: object) -> str:
    if isinstance(fault, Mapping):
        return str(fault.get("message") or fault.get("code") or "")
    return str(fault)


def _is_internal(one: Told) -> bool:
    return not one.code or (one.code.startswith(SDK) and one.code not in PREFLIGHT)


def _is_carriers_own(codes: set[str]) -> bool:
    """Tell whether all codes are a carrier's, and none is a fault of its server."""
    return bool(codes) and all(
        code and not code.startswith(SDK) and SERVER_FAULT.fullmatch(code) is None for code in codes
    )


def _not_served(reply: Reply, told: Sequence[Told], words: str, *, now: datetime) -> Refused | None:
    """Say what proves that Karrio did not even look at a request.

    A 403 without its words is of something in between that minds what this one request says.
    """
    if reply.status == 401 or (reply.status == 403 and told):
        return stop("credentials_refused", f"Karrio refuses the API key: {words}")
    if reply.status == 429:
        seconds = retry_after(reply, now=now)
        return Refused(code=_code(reply), message=words, retry_after_seconds=seconds)
    return None


def _code(reply: Reply) -> str:
    return f"http_{reply.status}"


def _failed(code: str, message: str) -> Ended:
    return Ended(status="failed", error_code=code, error_message=message)


def _words(told: Sequence[Told]) -> str:
    return _shorten("; ".join(one.sentence for one in told if one.sentence))


def _shorten(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= MESSAGE_LENGTH else f"{plain[: MESSAGE_LENGTH - 1]}…"

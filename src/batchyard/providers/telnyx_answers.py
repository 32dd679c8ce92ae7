"""What Telnyx's answers prove, and what its words for a call mean; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from urllib.parse import parse_qsl, urlsplit

from babel.numbers import get_currency_precision

from batchyard.errors import InvalidRequest
from batchyard.models import Ended, JsonObject, Kind, Lost, Refused
from batchyard.providers import results
from batchyard.providers.http_answers import describe, retry_after
from batchyard.providers.http_exchange import Reply

CREDENTIAL_CODES = frozenset({"10009", "10010"})
"""Authentication or authorisation failed."""

BUSY_PAUSE_SECONDS = 1.0

CHANNEL_CODES = frozenset({"90041"})
CHANNEL_WORDS = "channel limit exceeded"
"""So the vendor names the limits of account, profile and connection (D1, D2, D3), whatever code
they come with."""

CHANNEL_PAUSE_SECONDS = 5.0

OVER_CODES = frozenset({"90018"})
"""A command came too late: the call has ended."""

REFUSED = frozenset({400, 403, 422})
"""With these Telnyx turns a command down in its own words, and does nothing."""

CAUSES: Mapping[str, str] = {
    "user_busy": "busy",
    "no_answer": "no-answer",
    "timeout": "no-answer",
    "originator_cancel": "canceled",
    "call_rejected": "failed",
    "not_found": "failed",
    "unspecified": "failed",
}
"""What a hangup cause makes of a call that nobody answered."""

DECLINED = frozenset({"486", "600", "603"})
"""SIP codes with which a person, not a network, rejects a call."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Leg:
    """A call as Telnyx shows it in a look-up."""

    control_id: str | None
    client_state: str | None
    has_ended: bool
    """Whether it was and is over; one that is not dialled yet is not alive, but has no end."""
    duration_seconds: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """A page of live calls."""

    legs: Sequence[Leg]
    after: str | None = None
    """The cursor of the page that follows, where the list has cursors; the last page may have one
    as well, of a page without calls."""
    is_last: bool = False
    """Whether the list says that none follows; one that says nothing ends with a page without
    calls."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """A webhook: something happened to a call."""

    type: str
    at: datetime | None
    payload: JsonObject

    @property
    def control_id(self) -> str | None:
        """The call it is about; recordings and some others do not say."""
        return _text(self.payload.get("call_control_id"))

    @property
    def client_state(self) -> str | None:
        """What we gave the call to be told with."""
        return _text(self.payload.get("client_state"))


def read_refusal(reply: Reply, *, now: datetime) -> Refused | Ended | Lost:
    """Say what an answer to a call that we asked for proves, when it is no success."""
    errors = _errors(reply)
    code, said = _first_fault(reply)
    name = "telnyx_error" if code is None else f"telnyx_{code}"
    message = f"Telnyx answered {reply.status}: {said[:400]}" if said else describe(reply)
    if reply.status == 429:
        wait = retry_after(reply, now=now)
        return Refused(
            code=name,
            message=message,
            retry_after_seconds=BUSY_PAUSE_SECONDS if wait is None else wait,
        )
    if are_credentials_refused(reply):
        return Refused(code=name, message=message, stops_provider=True)
    if reply.status in {403, 422} and code is not None:
        is_number = any(_pointer(error).endswith("/to") for error in errors)
        return Ended(
            status="failed" if is_number else results.REJECTED_STATUS[Kind.CALL],
            result={"hangup_reason": f"{code}: {said[:400]}"},
            error_code=name,
            error_message=message,
            is_refusal=True,
        )
    return Lost(code=name, message=message)


def read_channel_limit(reply: Reply) -> Refused | None:
    """Say that a dial found no free channel, and when to try again; None where it was not that.

    Of a dial that is sent again it proves nothing: the first may be what uses the channels up.
    """
    code, said = _first_fault(reply)
    if not _is_channel_limit(reply):
        return None
    return Refused(
        code="telnyx_channels" if code is None else f"telnyx_{code}",
        message=f"Telnyx answered {reply.status}: {said[:400]}",
        retry_after_seconds=CHANNEL_PAUSE_SECONDS,
    )


def is_too_late(reply: Reply) -> bool:
    """Tell whether a command or a question came when its call was over."""
    code, _ = _first_fault(reply)
    return reply.status == 404 or (reply.status == 422 and code in OVER_CODES)


def read_command_refusal(reply: Reply) -> str | None:
    """Return Telnyx's words for a command that it turned down for good; None: it did not."""
    code, said = _first_fault(reply)
    if reply.status not in REFUSED or code is None or is_too_late(reply):
        return None
    return f"Telnyx answered {reply.status}: {code} {said[:400]}".rstrip()


def read_failed_look_up(reply: Reply) -> Lost:
    """Say what an answer to a question or a command means that is no success."""
    return Lost(
        code=f"http_{reply.status}",
        message=describe(reply),
        stops_provider=is_key_refused(reply),
    )


def is_key_refused(reply: Reply) -> bool:
    """Tell whether our key is not taken at all; a good one may lack the permission to ask."""
    return reply.status == 401 and are_credentials_refused(reply)


def are_credentials_refused(reply: Reply) -> bool:
    """Tell whether Telnyx itself says that it does not take our key."""
    code, _ = _first_fault(reply)
    is_refused = reply.status in {401, 403} and code in CREDENTIAL_CODES
    return is_refused and not _is_channel_limit(reply)


def read_leg(body: bytes) -> Leg:
    """Read a call in an answer; raise `InvalidRequest` for what is none."""
    answer = results.read_json(body)
    data = answer.get("data") if isinstance(answer, Mapping) else None
    if not isinstance(data, Mapping):
        raise InvalidRequest("The answer has no data.")
    return _leg(data)


def read_page(body: bytes) -> Page:
    """Read a page of live calls; raise `InvalidRequest` for nonsense.

    The reference tells of cursors, the vendor's own library counts pages.
    """
    answer = results.read_json(body)
    data = answer.get("data") if isinstance(answer, Mapping) else None
    if not isinstance(answer, Mapping) or not isinstance(data, list):
        raise InvalidRequest("The list has no calls.")
    legs = [_leg(one) for one in data if isinstance(one, Mapping)]
    meta = answer.get("meta")
    about = meta if isinstance(meta, Mapping) else {}
    if (after := _cursor(about)) is not None:
        return Page(legs=legs, after=after)
    number, total = about.get("page_number"), about.get("total_pages")
    if isinstance(number, int) and isinstance(total, int):
        return Page(legs=legs, is_last=number >= total)
    return Page(legs=legs, is_last="cursors" in about or "next" in about)


def read_event(body: bytes) -> Event:
    """Read a webhook; raise `InvalidRequest` for what is none."""
    answer = results.read_json(body)
    data = answer.get("data") if isinstance(answer, Mapping) else None
    if not isinstance(data, Mapping):
        raise InvalidRequest("The webhook has no data.")
    kind, payload = _text(data.get("event_type")), data.get("payload")
    if kind is None or not isinstance(payload, Mapping):
        raise InvalidRequest("The webhook has no event_type or no payload.")
    return Event(type=kind, at=read_time(data.get("occurred_at")), payload=payload)


def read_end(event: Event, *, answered_at: datetime | None) -> Ended:
    """Say how a call ended that was hung up; `answered_at` where that was told."""
    cause = _text(event.payload.get("hangup_cause")) or "unspecified"
    sip = _text(event.payload.get("sip_hangup_cause"))
    source = _text(event.payload.get("hangup_source"))
    was_answered = answered_at is not None or (cause == "normal_clearing" and sip == "200")
    status = "completed" if was_answered else CAUSES.get(cause, "no-answer")
    if cause == "call_rejected" and sip in DECLINED:
        status = "busy"
    duration = None
    if answered_at is not None and event.at is not None:
        duration = max(0, round((event.at - answered_at).total_seconds()))
    reason = cause if sip is None or not sip.isdigit() else f"{cause} (SIP {sip})"
    is_failure = status == "failed"
    return Ended(
        status=status,
        result={
            "duration_seconds": duration,
            "hangup_reason": reason,
            "hangup_by": source if source in {"caller", "callee"} else None,
            "hangup_provider_code": int(sip) if sip is not None and sip.isdigit() else None,
        },
        error_code=f"telnyx_{cause}" if is_failure else None,
        error_message=f"The call failed: {reason}." if is_failure else None,
        reference=event.control_id,
    )


def read_cost(event: Event) -> JsonObject:
    """Read what a call cost; nothing when it could not be told."""
    parts = event.payload.get("cost_parts")
    first = parts[0] if isinstance(parts, Sequence) and parts else None
    currency = _text(first.get("currency")) if isinstance(first, Mapping) else None
    if currency is None or len(currency) != 3 or not currency.isalpha():
        return {}
    try:
        amount = abs(Decimal(str(event.payload.get("total_cost"))))
    except InvalidOperation:
        return {}
    if not amount.is_finite():
        return {}
    minor = amount.scaleb(get_currency_precision(currency.upper()))
    return {"cost_minor": float(minor), "currency": currency.upper()}


def read_recording(event: Event) -> JsonObject:
    """Read where a recording is; the lasting address where the account has such."""
    for key in ("public_recording_urls", "recording_urls"):
        urls = event.payload.get(key)
        for form in ("mp3", "wav"):
            address = urls.get(form) if isinstance(urls, Mapping) else None
            if isinstance(address, str) and address.startswith(("https://", "http://")):
                return {"recording_url": address}
    return {}


def read_time(value: object) -> datetime | None:
    """Read a time with an offset (ISO 8601); None when it is none."""
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return None if at is None or at.tzinfo is None else at


def _errors(reply: Reply) -> list[JsonObject]:
    try:
        body = results.read_json(reply.body)
    except InvalidRequest:
        return []
    listed = body.get("errors") if isinstance(body, Mapping) else None
    found = listed if isinstance(listed, list) else []
    return [one for one in found if isinstance(one, Mapping)]


def _first_fault(reply: Reply) -> tuple[str | None, str]:
    """Return code and words of the first fault that an answer names."""
    errors = _errors(reply)
    first = errors[0] if errors else {}
    words = (_text(first.get(key)) for key in ("title", "detail"))
    return _text(first.get("code")), " ".join(text for text in words if text)


def _is_channel_limit(reply: Reply) -> bool:
    code, said = _first_fault(reply)
    return reply.status == 403 and (code in CHANNEL_CODES or CHANNEL_WORDS in said.lower())


def _cursor(meta: JsonObject) -> str | None:
    """Return the cursor of the page that follows, from where it is named, or from its address."""
    cursors = meta.get("cursors")
    after = cursors.get("after") if isinstance(cursors, Mapping) else None
    if isinstance(after, str) and after:
        return after
    following = meta.get("next")
    query = urlsplit(following).query if isinstance(following, str) else ""
    return dict(parse_qsl(query)).get("page[after]")


def _pointer(error: JsonObject) -> str:
    source = error.get("source")
    pointer = source.get("pointer") if isinstance(source, Mapping) else None
    return pointer if isinstance(pointer, str) else ""


def _leg(data: JsonObject) -> Leg:
    duration = data.get("call_duration")
    return Leg(
        control_id=_text(data.get("call_control_id")),
        client_state=_text(data.get("client_state")),
        has_ended=data.get("is_alive") is False and bool(data.get("end_time")),
        duration_seconds=duration if isinstance(duration, int) else None,
    )


def _text(value: object) -> str | None:
    if isinstance(value, bool) or value is None:
        return None
    return str(value)[:500] if isinstance(value, str | int) else None

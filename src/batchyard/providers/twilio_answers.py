"""What Twilio's answers prove, and what its words for a call mean; pure.

The lists of codes are those of its error pages; whatever is not on them proves nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime

from babel.numbers import get_currency_precision

from batchyard.errors import InvalidRequest
from batchyard.models import Ended, JsonObject, Kind, Lost, Refused
from batchyard.providers import results
from batchyard.providers.http_answers import describe, retry_after
from batchyard.providers.http_exchange import Reply

NUMBER_CODES = frozenset({21211, 21214, 21216, 21217})
"""The number called cannot be: no number, not reachable, blocked."""

ACCOUNT_CODES = frozenset(
    {13227, 21201, 21205, 21206, 21207, 21208, 21209, 21210, 21212, 21213, 21215, 21218, 21219}
    | set(range(21221, 21228))
)
"""Our request or the account's settings do not allow it; the next call would fare no better."""

CALLBACK_CODES = frozenset({21609})
"""Twilio cannot reach the address at which it is to tell of calls, so it places none: the next
would fare no better until that is mended."""

OPT_OUT_CODE = 21610

CONCURRENCY_CODE = 10004
CONCURRENCY_PAUSE_SECONDS = 5.0
BUSY_PAUSE_SECONDS = 1.0

CREDENTIAL_CODES = frozenset({10001, 20003, 20005, 20006, 20008})
"""Wrong password, no permission, account suspended or closed, test credentials."""

STATE_CODE = 21220
"""The call is in a state that does not allow it."""

NOT_FOUND_CODE = 20404
TEST_CREDENTIALS_CODE = 20008

LIVE_WORDS: Mapping[str, str] = {
    "queued": "initiated",
    "initiated": "initiated",
    "ringing": "ringing",
    "in-progress": "in-progress",
    "answered": "in-progress",
}
FINAL_WORDS = frozenset({"completed", "busy", "no-answer", "failed", "canceled"})

SIP_REASONS: Mapping[int, str] = {
    200: "OK",
    403: "Forbidden",
    404: "Not Found",
    408: "Request Timeout",
    410: "Gone",
    480: "Temporarily Unavailable",
    484: "Address Incomplete",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    500: "Server Internal Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    600: "Busy Everywhere",
    603: "Decline",
    604: "Does Not Exist Anywhere",
}
"""The phrases of RFC 3261, section 21."""

UNAVAILABLE = 480


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """What Twilio says of a request that it did not carry out."""

    code: int | None
    message: str

    @property
    def name(self) -> str:
        """The code as an item keeps it."""
        return "twilio_error" if self.code is None else f"twilio_{self.code}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """A call as Twilio tells of it, in a look-up or a callback."""

    sid: str
    status: str
    result: JsonObject
    """What is known of its result so far."""
    sip_code: int | None = None
    created_at: datetime | None = None
    is_ours: bool = True
    """Whether it was placed through the API."""

    @property
    def live_word(self) -> str | None:
        """Our word for a call that goes on; None for one that is over."""
        return LIVE_WORDS.get(self.status)

    def end(self) -> Ended:
        """Return what a call that is over becomes."""
        word, reason, code = self.status, None, None
        if self.sip_code is not None:
            phrase = SIP_REASONS.get(self.sip_code)
            reason = f"SIP {self.sip_code}{f' {phrase}' if phrase else ''}"
            if word == "failed" and self.sip_code == UNAVAILABLE:
                word = "no-answer"
        if word == "failed":
            code = "call_failed" if self.sip_code is None else f"sip_{self.sip_code}"
        result = dict(self.result)
        if reason is not None:
            result |= {"hangup_reason": reason, "hangup_provider_code": self.sip_code}
        return Ended(
            status=word,
            result=result,
            error_code=code,
            error_message=None if code is None else f"The call failed: {reason or 'no reason'}.",
            reference=self.sid,
        )


def read_fault(reply: Reply) -> Fault:
    """Read the code and the words of an answer that is no success."""
    try:
        body = results.read_json(reply.body)
    except InvalidRequest:
        body = None
    found = body.get("code") if isinstance(body, Mapping) else None
    return Fault(code=found if isinstance(found, int) else None, message=describe(reply))


def read_refusal(reply: Reply, *, now: datetime) -> Refused | Ended | Lost:
    """Say what an answer to a call that we asked for proves, when it is no success."""
    fault = read_fault(reply)
    if reply.status == 429:
        wait = retry_after(reply, now=now)
        return Refused(
            code=fault.name,
            message=fault.message,
            retry_after_seconds=BUSY_PAUSE_SECONDS if wait is None else wait,
        )
    if fault.code == CONCURRENCY_CODE and reply.status < 500:
        return Refused(
            code=fault.name,
            message=fault.message,
            retry_after_seconds=CONCURRENCY_PAUSE_SECONDS,
        )
    is_unheard = reply.status == 400 and fault.code in CALLBACK_CODES
    is_misplaced = _has_no_such_place(reply.status, fault.code)
    if are_credentials_refused(reply) or is_misplaced or is_unheard:
        return Refused(code=fault.name, message=fault.message, stops_provider=True)
    if reply.status == 400 and fault.code in NUMBER_CODES | {OPT_OUT_CODE}:
        return _end("failed", fault)
    if reply.status == 400 and fault.code in ACCOUNT_CODES:
        return _end(results.REJECTED_STATUS[Kind.CALL], fault)
    return Lost(code=fault.name, message=fault.message)


def is_too_late(reply: Reply) -> bool:
    """Tell whether a call cannot be changed as asked, in the state that it is in."""
    return reply.status == 400 and read_fault(reply).code == STATE_CODE


def are_credentials_refused(reply: Reply) -> bool:
    """Tell whether Twilio itself says that it does not take our credentials."""
    return reply.status in {401, 403} and read_fault(reply).code in CREDENTIAL_CODES


def read_call(body: bytes) -> Call:
    """Read a call resource; raise `InvalidRequest` for what is none."""
    return call_of(results.read_json(body))


def call_of(resource: object) -> Call:
    """Read a call resource that is JSON already; raise `InvalidRequest` for what is none."""
    if not isinstance(resource, Mapping):
        raise InvalidRequest("The call is no JSON object.")
    answered_by = _text(resource.get("answered_by"))
    return Call(
        sid=_sid(resource.get("sid")),
        status=_status(resource.get("status")),
        result={
            "duration_seconds": _whole(resource.get("duration")),
            **_price(resource.get("price"), resource.get("price_unit")),
            **_machine(answered_by),
            **_queued(resource.get("queue_time")),
        },
        created_at=_time(resource.get("date_created")),
        is_ours=resource.get("direction") == "outbound-api",
    )


def read_event(form: Mapping[str, str]) -> Call:
    """Read the form of a status callback; raise `InvalidRequest` for what is none."""
    return Call(
        sid=_sid(form.get("CallSid")),
        status=_status(form.get("CallStatus")),
        result={
            "duration_seconds": _whole(form.get("CallDuration")),
            "recording_url": read_address(form.get("RecordingUrl")),
            **_machine(form.get("AnsweredBy")),
        },
        sip_code=_whole(form.get("SipResponseCode")),
    )


def read_address(text: object) -> str | None:
    """Return the address of a recording; None when it is none."""
    return text if isinstance(text, str) and text.startswith(("https://", "http://")) else None


def read_sid(form: Mapping[str, str]) -> str:
    """Return the call that a form is about; raise `InvalidRequest` when it names none."""
    return _sid(form.get("CallSid"))


def _has_no_such_place(status: int, code: int | None) -> bool:
    """Tell whether calls are placed elsewhere: the account or the address is wrong."""
    return (status == 404 and code == NOT_FOUND_CODE) or status == 405


def _end(status: str, fault: Fault) -> Ended:
    return Ended(
        status=status,
        result={"hangup_reason": f"{fault.code}: {fault.message}"},
        error_code=fault.name,
        error_message=fault.message,
    )


def _sid(value: object) -> str:
    digits = value.removeprefix("CA") if isinstance(value, str) else ""
    if not isinstance(value, str) or len(digits) != 32 or len(value) != 34:
        raise InvalidRequest("It names no call: the sid is missing or wrong.")
    if not all(digit in "0123456789abcdefABCDEF" for digit in digits):
        raise InvalidRequest("It names no call: the sid is missing or wrong.")
    return value


def _status(value: object) -> str:
    if not isinstance(value, str) or value not in FINAL_WORDS | LIVE_WORDS.keys():
        raise InvalidRequest(f"{str(value)[:50]!r} is no status of a call.")
    return value


def _machine(answered_by: str | None) -> JsonObject:
    """Say who answered, and if that is a voicemail; a fax is none, `unknown` is not decided."""
    if not answered_by or answered_by == "unknown":
        return {}
    by_machine = answered_by.startswith("machine")
    return {"answered_by_voice_mail": by_machine, "answered_by": answered_by[:50]}


def _queued(milliseconds: object) -> JsonObject:
    """Say how long it waited at Twilio, if it did: calls came faster than the account allows."""
    waited = _whole(milliseconds) or 0
    return {"queue_seconds": waited / 1000} if waited else {}


def _price(price: object, unit: object) -> JsonObject:
    """Read a price in the currency's main unit, negative as it is charged."""
    if not isinstance(price, str | int | float) or not isinstance(unit, str):
        return {}
    currency = unit.upper()
    if len(currency) != 3 or not currency.isalpha():
        return {}
    try:
        amount = abs(Decimal(str(price))).scaleb(get_currency_precision(currency))
    except InvalidOperation:
        return {}
    return {"cost_minor": float(amount), "currency": currency} if amount.is_finite() else {}


def _whole(value: object) -> int | None:
    text = str(value) if isinstance(value, str | int) else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _time(value: object) -> datetime | None:
    """Read a time as Twilio writes it (RFC 2822, UTC); None when it is none."""
    try:
        at = parsedate_to_datetime(value) if isinstance(value, str) else None
    except (ValueError, OverflowError):  # the latter for a year of more digits than fit
        return None
    return at if at is None or at.tzinfo else at.replace(tzinfo=UTC)

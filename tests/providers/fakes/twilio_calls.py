"""A call of the fake account: its states, and how the vendor writes it down."""

import asyncio
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate

from tests.providers.fakes.ledger import Deed

ACCOUNT = "AC" + "a" * 32
TEST_ACCOUNT = "AC" + "b" * 32
TOKEN = "4d4c3b2a190817263544536271809fae"
TEST_TOKEN = "00112233445566778899aabbccddeeff"
KEY_SID, KEY_SECRET = "SK" + "c" * 32, "a secret of an API key"
OWNED = "+4570203040"
VERIFIED = "+4570203041"
"""Not the account's, but proven to be its owner's."""

E164 = re.compile(r"^\+[1-9]\d{6,14}$")

TO_FAULTS = {
    "+15005550001": (21211, "Invalid 'To' Phone Number: +1500555XXXX"),
    "+15005550002": (21214, "'To' phone number cannot be reached"),
    "+15005550003": (21215, "Account not authorized to call +1500555XXXX"),
    "+15005550004": (21216, "Account not allowed to call +1500555XXXX"),
    "+15005550010": (10004, "Call concurrency limit exceeded"),
    "+15005550099": (21999, "A code nobody has heard of"),
}
"""The vendor's magic numbers, and some of ours."""

SIP = {"completed": "200", "busy": "486", "no-answer": "487", "failed": "404", "canceled": "487"}


@dataclass(kw_only=True)
class Call:
    """A call of the account."""

    sid: str
    deed: Deed | None
    form: Mapping[str, list[str]]
    created_at: float
    outcome: str
    """How it ends, unless somebody breaks it off."""
    queue_seconds: float = 0
    status: str = "queued"
    started_at: float | None = None
    ended_at: float | None = None
    answered_at: float | None = None
    end_asked: str | None = None
    sequence: int = 0
    lists: int = 0
    """How many lists that ask for its numbers came."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def first(self, name: str, default: str = "") -> str:
        return self.form.get(name, [default])[0]

    @property
    def duration(self) -> str | None:
        if self.answered_at is None or self.ended_at is None:
            return None
        return str(max(1, round(self.ended_at - self.answered_at)))

    def tell(self, status: str, *, is_last: bool) -> dict[str, str]:
        """Return the form of a status callback."""
        pairs = {
            "CallSid": self.sid,
            "AccountSid": ACCOUNT,
            "From": self.first("From"),
            "To": self.first("To"),
            "CallStatus": status,
            "ApiVersion": "2010-04-01",
            "Direction": "outbound-api",
            "Timestamp": formatdate(),
            "CallbackSource": "call-progress-events",
            "SequenceNumber": str(self.sequence),
            "ToCity": "",
        }
        self.sequence += 1
        if is_last:
            pairs |= {"CallDuration": self.duration or "0", "SipResponseCode": SIP[self.status]}
            if self.first("MachineDetection") and self.answered_at:
                pairs["AnsweredBy"] = answerer(self)
        return pairs

    def tell_recording(self) -> dict[str, str]:
        """Return the form of a recording callback."""
        return {
            "CallSid": self.sid,
            "AccountSid": ACCOUNT,
            "RecordingSid": "RE" + self.sid[2:],
            "RecordingStatus": "completed",
            "RecordingUrl": f"https://api.twilio.com/Recordings/RE{self.sid[2:]}",
        }

    def show(self, *, price_after_seconds: float) -> Mapping[str, object]:
        """Return the resource."""
        has_price = (
            self.answered_at is not None
            and self.ended_at is not None
            and time.time() - self.ended_at >= price_after_seconds
        )
        is_detecting = bool(self.first("MachineDetection"))
        return {
            "sid": self.sid,
            "account_sid": ACCOUNT,
            "api_version": "2010-04-01",
            "annotation": None,
            "answered_by": answerer(self) if is_detecting and self.answered_at else None,
            "caller_name": None,
            "date_created": formatdate(self.created_at),
            "date_updated": formatdate(),
            "direction": "outbound-api",
            "duration": self.duration,
            "end_time": None if self.ended_at is None else formatdate(self.ended_at),
            "forwarded_from": None,
            "from": self.first("From"),
            "from_formatted": self.first("From"),
            "group_sid": None,
            "parent_call_sid": None,
            "phone_number_sid": None,
            "price": "-0.0130" if has_price else None,
            "price_unit": "USD",
            "queue_time": str(int(self.queue_seconds * 1000)),
            "start_time": None if self.started_at is None else formatdate(self.started_at),
            "status": "queued" if self.status == "initiated" else self.status,
            "subresource_uris": {},
            "to": self.first("To"),
            "to_formatted": self.first("To"),
            "trunk_sid": None,
            "uri": f"/2010-04-01/Accounts/{ACCOUNT}/Calls/{self.sid}.json",
        }


def answerer(call: Call) -> str:
    """Say who answers: a machine where the number ends in 03."""
    return "machine_start" if call.first("To").endswith("03") else "human"


def find_refusal(form: Mapping[str, list[str]]) -> tuple[int, str] | None:
    """Return the code and words with which a form is refused; None when it is not."""
    to, caller = form.get("To", [""])[0], form.get("From", [""])[0]
    if not to:
        return 21201, "No 'To' number is specified"
    if not caller:
        return 21213, "'From' phone number is required"
    if to in TO_FAULTS:
        return TO_FAULTS[to]
    if not E164.match(to):
        return 21211, f"Invalid 'To' Phone Number: {to}"
    if caller == "+15005550001" or not E164.match(caller):
        return 21212, f"Invalid 'From' Number: {caller}"
    if caller not in {OWNED, VERIFIED, "+15005550006"}:
        return 21210, f"Phone number {caller} is not verified for your account"
    if not form.get("Url") and not form.get("Twiml"):
        return 21205, "Url parameter is required"
    return None

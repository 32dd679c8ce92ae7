"""A call of the fake application: what is known of it, and how the vendor writes it down."""

import asyncio
import base64
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from nacl.signing import SigningKey

from tests.providers.fakes.ledger import Deed

API_KEY = "KEY0192f3a4b5c6d7e8"
CONNECTION = "1494404757140276705"
OWNED = "+4570203040"
SIGNING_KEY = SigningKey(bytes(range(32)))
PUBLIC_KEY = base64.b64encode(bytes(SIGNING_KEY.verify_key)).decode()
OTHER_KEY = SigningKey(bytes(range(1, 33)))

PAGE_SIZE = 20
E164 = re.compile(r"^\+[1-9]\d{6,14}$")

CAUSES = {
    "completed": ("normal_clearing", "200", "callee"),
    "busy": ("user_busy", "486", "callee"),
    "no-answer": ("no_answer", "480", "unknown"),
    "failed": ("not_found", "404", "unknown"),
}


@dataclass(kw_only=True)
class Leg:
    """A call of the application."""

    control_id: str
    deed: Deed
    body: Mapping[str, object]
    created_at: float
    answered_at: float | None = None
    ended_at: float | None = None
    commands: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    has_spoken: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the end of its text was told."""
    said: list[str] = field(default_factory=list)
    is_hung_up: bool = False

    @property
    def to(self) -> str:
        return str(self.body["to"])


def find_fault(body: Mapping[str, object]) -> tuple[str, str, str] | None:
    """Return code, title and pointer with which a dial is refused; None when it is not."""
    if not E164.match(str(body.get("to", ""))):
        return "10016", "Phone number must be in +E164 format", "/to"
    if body.get("from") != OWNED:
        return "10002", "Invalid phone number", "/from"
    if body.get("connection_id") != CONNECTION:
        return "10006", "Invalid ID", "/connection_id"
    return None


def ids(leg: Leg) -> dict[str, object]:
    """Return the ids that every event and answer about a call has."""
    return {
        "call_control_id": leg.control_id,
        "call_leg_id": leg.control_id.removeprefix("v3:"),
        "call_session_id": leg.control_id.removeprefix("v3:"),
    }


def show(leg: Leg) -> Mapping[str, object]:
    """Return a call as a look-up shows it."""
    shown = {**ids(leg), "is_alive": leg.ended_at is None, "record_type": "call"}
    if leg.answered_at is not None:
        shown["call_duration"] = int((leg.ended_at or time.time()) - leg.answered_at) + 1
    if leg.ended_at is not None:
        shown["end_time"] = datetime.fromtimestamp(leg.ended_at, tz=UTC).isoformat()
    return shown


def show_live(leg: Leg) -> Mapping[str, object]:
    """Return a call as the list of those that live shows it."""
    return {
        **ids(leg),
        "client_state": leg.body["client_state"],
        "call_duration": int(time.time() - leg.created_at),
        "record_type": "call",
    }


def word(cause: str) -> str:
    """Return our word for a call that nobody answered."""
    words = {"user_busy": "busy", "no_answer": "no-answer", "originator_cancel": "canceled"}
    return words.get(cause, "failed")

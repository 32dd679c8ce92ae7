"""Fakes of vendors in the place of the counting server: how each is set up, and what it says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson

from batchyard.engine.failpoints import Step
from batchyard.models import JsonObject, Kind, Policy
from tests.providers.fakes import karrio_spec, specification
from tests.providers.fakes.karrio_state import TEST_KEY
from tests.providers.fakes.telnyx_legs import API_KEY, CONNECTION, PUBLIC_KEY
from tests.providers.fakes.twilio_calls import ACCOUNT, OWNED, TOKEN
from tests.providers.karrio_requests import SENDER, changed

FIRST_NUMBER = 20_000_000
"""Numbers are Danish."""
OF_TEN, SHARING = 10, 3
"""Of ten calls so many go to one number."""
TWINS = "7"
"""Numbers that end so belong to one call only, and somebody else calls them too."""

CALL_FAULTS = {
    "busy_before": 0.02,
    "reset_before": 0.02,
    "unavailable_before": 0.02,
    "error_after": 0.03,
    "gateway_after": 0.02,
    "reset_after": 0.03,
    "hang_after": 0.02,
    "late": 0.02,
}
CALL_PLAN: JsonObject = {"faults": CALL_FAULTS, "undecided": 0.03, "step_seconds": 0.3}
TIMEOUTS = frozenset({"timeout_seconds", "draft_timeout_seconds", "read_timeout_seconds"})
TIMEOUT_SECONDS = 1.0
LOOKS, LOOK_SECONDS = "look_after_seconds", (4, 5, 7)
QUEUE_SECONDS = 6
"""Longer than the first looks, shorter than the last."""
LATE_SECONDS = 1.4
"""When a `late` request has its effect: its client has given up by then."""

KARRIO_FAULTS: Mapping[str, Mapping[str, float]] = {
    "draft": {"busy": 0.02, "reset_before": 0.02, "reset_after": 0.02, "broken_after": 0.02},
    "purchase": {
        "busy": 0.02,
        "reset_before": 0.01,
        "reset_after": 0.04,
        "bad_gateway_after": 0.03,
        "garbage_after": 0.02,
        "hang_after": 0.01,
        "half_broken": 0.01,
        "late": 0.01,
    },
    "read": {"broken": 0.03},
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Vendor:
    """One vendor in small, and the provider that speaks to it."""

    name: str
    kind: Kind
    policy: Policy
    secret: str
    settings: JsonObject
    base: str
    """The setting that says where it is."""
    path: str = ""
    plan: JsonObject | None = None
    """What becomes of its calls, beside `CALL_PLAN`."""
    calls_back: bool = True
    """Whether it brings news, so that the server has steps to be struck at."""
    steps: Sequence[Step] = ()
    """Further steps at which its provider may be struck."""
    faults: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """What it is told once it runs."""
    sender: JsonObject | None = None
    specification: str | None = None
    """The file that its exchanges are held against; None: what its own library has."""
    untold: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """The word for an end that was only looked up, and what that may have been."""

    def settings_at(self, url: str, *, concurrency: int, patience: float) -> JsonObject:
        """Return the provider's settings for a fake at this address."""
        slowed: dict[str, object] = dict.fromkeys(
            TIMEOUTS & self.settings.keys(), TIMEOUT_SECONDS * patience
        )
        if LOOKS in self.settings:
            slowed[LOOKS] = [seconds * patience for seconds in LOOK_SECONDS]
        place = {self.base: f"{url}{self.path}", "concurrency": concurrency}
        return {**self.settings, **slowed, **place}

    def options(self, *, patience: float) -> Sequence[str]:
        """Return how its process is started, beside its port."""
        late_seconds = LATE_SECONDS * patience
        if self.plan is None:
            return ("--slow", str(late_seconds))
        plan = {
            **CALL_PLAN,
            **self.plan,
            "late_seconds": late_seconds,
            "queue_seconds": QUEUE_SECONDS * patience,
        }
        return ("--plan", orjson.dumps(plan).decode())

    def payload(self, n: int) -> JsonObject:
        """Return what the n-th item of all is made of."""
        if self.kind is Kind.SHIPMENT:
            return changed(parties__sender=None, reference=f"WEB-{n}")
        return {"n": n}

    def number(self, n: int) -> str | None:
        """Return whom the n-th item of all calls."""
        if self.kind is not Kind.CALL:
            return None
        place = n % OF_TEN
        return f"+45{FIRST_NUMBER + n - (place if place < SHARING else 0)}"

    async def prepare(self, url: str) -> None:
        """Tell a fake that has just started what goes wrong."""
        if self.faults:
            async with httpx.AsyncClient(trust_env=False) as client:
                # Whoever waited until it answers asked for what no vendor has.
                await client.delete(f"{url}/control")
                rates = orjson.dumps({"rates": self.faults})
                (await client.put(f"{url}/control", content=rates)).raise_for_status()

    def read_books(self, told: Mapping[str, Any]) -> dict[str, object]:
        """Return what a fake says of itself as the counting server says it."""
        if self.name != "karrio":
            return dict(told)
        keys = {*told["drafts"], *told["purchases"]}
        deeds = {
            key: {
                "effects": told["purchases"].get(key, 0),
                "status": "booked" if key in told["purchases"] else None,
                "faults": told["spoiled"].get(key, []),
            }
            for key in keys
        }
        return {"deeds": deeds, "callbacks": {}, "violations": told["violations"]}

    @property
    def books_path(self) -> str:
        """Where a fake tells what it did."""
        return "/control" if self.name == "karrio" else "/ledger"


TWILIO = Vendor(
    name="twilio",
    kind=Kind.CALL,
    policy=Policy.ASKABLE,
    secret=orjson.dumps({"auth_token": TOKEN}).decode(),
    base="base_url",
    settings={
        "account_sid": ACCOUNT,
        "from_number": OWNED,
        "say": "Hello {n}.",
        "timeout_seconds": TIMEOUT_SECONDS,
        "look_up_after_seconds": 2,
        LOOKS: LOOK_SECONDS,
        "price_wait_seconds": 0,
        # One that cannot be told from somebody else's is left to a person within the run.
        "ask_patience_seconds": 20,
        "calls_per_second": 100,
    },
    plan={
        "callback_faults": {"lost": 0.06, "doubled": 0.1, "reordered": 0.05, "early": 0.1},
        "listed_after_seconds": 2,
        "queued": 0.1,
        "twins": TWINS,
    },
    specification=specification.TWILIO,
)
TELNYX = Vendor(
    name="telnyx",
    kind=Kind.CALL,
    policy=Policy.REPEATABLE,
    secret=orjson.dumps({"api_key": API_KEY}).decode(),
    base="base_url",
    path="/v2",
    settings={
        "connection_id": CONNECTION,
        "public_key": PUBLIC_KEY,
        "from_number": OWNED,
        "say": "Hello {n}.",
        "timeout_seconds": TIMEOUT_SECONDS,
        "look_up_after_seconds": 2,
        "ask_patience_seconds": 20,
        "calls_per_second": 100,
    },
    # Only its webhook has the cause of an end, so it is told until somebody takes it.
    untold={"no-answer": frozenset({"busy", "failed", "canceled"})},
    plan={
        "callback_faults": {"doubled": 0.1, "reordered": 0.05, "early": 0.1},
        "callback_retries": 60,
    },
)
KARRIO = Vendor(
    name="karrio",
    kind=Kind.SHIPMENT,
    policy=Policy.ASKABLE,
    secret=TEST_KEY,
    base="url",
    settings={
        "timeout_seconds": TIMEOUT_SECONDS,
        "draft_timeout_seconds": TIMEOUT_SECONDS,
        "read_timeout_seconds": TIMEOUT_SECONDS,
        "ask_patience_seconds": 20,
    },
    calls_back=False,
    steps=(Step.BEFORE_KEEP, Step.AFTER_KEEP),
    faults=KARRIO_FAULTS,
    sender=SENDER,
    specification=karrio_spec.FILE,
)

VENDORS: Mapping[str, Vendor] = {one.name: one for one in (TWILIO, TELNYX, KARRIO)}

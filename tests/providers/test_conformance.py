"""Every provider of ours keeps to the conformance kit."""

from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar
from urllib.parse import parse_qsl
from uuid import uuid4

import orjson
import pytest

from batchyard.models import JsonObject, Kind, Policy
from batchyard.providers.http import HttpProvider
from batchyard.providers.karrio import KarrioProvider
from batchyard.providers.sandbox import SandboxProvider
from batchyard.providers.telnyx import TelnyxProvider
from batchyard.providers.twilio import TwilioProvider
from batchyard.testing import (
    Arrived,
    Book,
    Fault,
    HttpProviderConformance,
    ProviderConformance,
    Served,
)
from tests.providers.fakes.karrio_state import TEST_KEY, KarrioState
from tests.providers.fakes.telnyx_legs import CONNECTION, PUBLIC_KEY
from tests.providers.fakes.twilio_calls import ACCOUNT, OWNED
from tests.providers.karrio_requests import SHIPMENT
from tests.providers.requests import make_shipment

PATIENT_SECONDS = 10.0
"""Timeout where every answer comes, however slow the machine."""
SILENT_SECONDS = 1.5
"""Timeout where an answer never comes: long enough to send a request."""

FINAL_WORDS = {Kind.CALL: "completed", Kind.SHIPMENT: "booked"}


class TestSandbox(ProviderConformance):
    provider_class = SandboxProvider

    def settings(self, url: str) -> Mapping[str, object]:
        del url
        return {"speed": 0, "seed": "conformance"}

    def payload(self, kind: Kind) -> JsonObject:
        return {} if kind is Kind.CALL else make_shipment().payload


class PatientConformance(HttpProviderConformance):
    """Only a fault that hangs is worth a short timeout."""

    patience_seconds = PATIENT_SECONDS

    @pytest.fixture(autouse=True)
    def _choose_patience(self, request: pytest.FixtureRequest) -> None:
        case = getattr(request.node, "callspec", None)
        if case is not None and Fault.HANG_AFTER in case.params.values():
            self.patience_seconds = SILENT_SECONDS


class HttpConformance(PatientConformance):
    """The other side honours keys and can be asked; the policies differ in what they rely on."""

    provider_class = HttpProvider
    secret = "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"
    policy = Policy.NEITHER

    def settings(self, url: str) -> Mapping[str, object]:
        looked_up = {"result_url": f"{url}/results"} if self.policy is Policy.ASKABLE else {}
        return {
            "url": f"{url}/do",
            "policy": self.policy,
            "timeout_seconds": self.patience_seconds,
            **looked_up,
        }

    def serve(self, arrived: Arrived, book: Book) -> Served:
        if arrived.method == "GET":
            return book.find(arrived.path.rsplit("/", 1)[-1]) or Served(status=404)
        key = arrived.headers["idempotency-key"]
        kind = Kind(orjson.loads(arrived.body)["kind"])
        answer = Served(body=orjson.dumps({"status": FINAL_WORDS[kind], "result": {}}))
        return book.find(key) or book.act(key, answer)


class TestTwilio(PatientConformance):
    """The other side knows no key: calls are found by their numbers."""

    provider_class = TwilioProvider
    secret = '{"auth_token": "token"}'
    callback_headers: ClassVar[Mapping[str, str]] = {
        "content-type": "application/x-www-form-urlencoded"
    }

    def settings(self, url: str) -> Mapping[str, object]:
        return {
            "account_sid": ACCOUNT,
            "base_url": url,
            "from_number": OWNED,
            "say": "Hello.",
            "timeout_seconds": self.patience_seconds,
        }

    def serve(self, arrived: Arrived, book: Book) -> Served:
        if arrived.method == "POST":
            form = dict(parse_qsl(arrived.body.decode()))
            call = {"sid": f"CA{uuid4().hex}", "status": "queued", "direction": "outbound-api"}
            key = form["StatusCallback"].rsplit("/", 1)[-1]
            return book.act(key, Served(status=201, body=orjson.dumps(call)))
        placed = [orjson.loads(answer.body) for answer in map(book.find, book.effects) if answer]
        calls = placed if "Status=queued" not in arrived.path else []
        return Served(body=orjson.dumps({"calls": calls, "next_page_uri": None}))


class TestTelnyx(PatientConformance):
    """The other side honours keys, and lists the calls that live."""

    provider_class = TelnyxProvider
    secret = '{"api_key": "KEY"}'

    def settings(self, url: str) -> Mapping[str, object]:
        return {
            "connection_id": CONNECTION,
            "public_key": PUBLIC_KEY,
            "base_url": url,
            "from_number": OWNED,
            "say": "Hello.",
            "timeout_seconds": self.patience_seconds,
        }

    def serve(self, arrived: Arrived, book: Book) -> Served:
        if arrived.method == "POST":
            body = orjson.loads(arrived.body)
            call = {"call_control_id": "v3:1", "client_state": body["client_state"]}
            answer = Served(body=orjson.dumps({"data": call}))
            return book.find(body["command_id"]) or book.act(body["command_id"], answer)
        placed = [orjson.loads(answer.body) for answer in map(book.find, book.effects) if answer]
        legs = [one["data"] for one in placed]
        return Served(body=orjson.dumps({"data": legs, "meta": {}}))


class TestHttpNeither(HttpConformance):
    policy = Policy.NEITHER


class TestHttpAskable(HttpConformance):
    policy = Policy.ASKABLE


class TestHttpRepeatable(HttpConformance):
    policy = Policy.REPEATABLE


class TestKarrio(PatientConformance):
    """Two steps; only the purchase has an effect."""

    provider_class = KarrioProvider
    secret = TEST_KEY

    def settings(self, url: str) -> Mapping[str, object]:
        return {
            "url": url,
            "timeout_seconds": self.patience_seconds,
            "draft_timeout_seconds": PATIENT_SECONDS,
            "read_timeout_seconds": self.patience_seconds,
        }

    def payload(self, kind: Kind) -> JsonObject:
        del kind
        return SHIPMENT

    def prepares(self, arrived: Arrived) -> bool:
        return (arrived.method, arrived.path) == ("POST", "/v1/shipments")

    def serve(self, arrived: Arrived, book: Book) -> Served:
        served = self.karrio.serve(arrived)
        if arrived.path.endswith("/purchase") and served.status == 200:
            shipment = orjson.loads(served.body)
            return book.act(shipment["metadata"]["batchyard_key"], served)
        return served

    @cached_property
    def karrio(self) -> KarrioState:
        return KarrioState()

"""Every provider of ours keeps to the conformance kit."""

from collections.abc import Mapping

import orjson

from batchyard.models import JsonObject, Kind, Policy
from batchyard.providers.http import HttpProvider
from batchyard.providers.sandbox import SandboxProvider
from batchyard.testing import (
    Arrived,
    Book,
    HttpProviderConformance,
    ProviderConformance,
    Served,
)
from tests.providers.requests import make_shipment

FINAL_WORDS = {Kind.CALL: "completed", Kind.SHIPMENT: "booked"}


class TestSandbox(ProviderConformance):
    provider_class = SandboxProvider

    def settings(self, url: str) -> Mapping[str, object]:
        del url
        return {"speed": 0, "seed": "conformance"}

    def payload(self, kind: Kind) -> JsonObject:
        return {} if kind is Kind.CALL else make_shipment().payload


class HttpConformance(HttpProviderConformance):
    """The other side honours keys and can be asked; the policies differ in what they rely on."""

    provider_class = HttpProvider
    secret = "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"
    policy = Policy.NEITHER

    def settings(self, url: str) -> Mapping[str, object]:
        looked_up = {"result_url": f"{url}/results"} if self.policy is Policy.ASKABLE else {}
        return {"url": f"{url}/do", "policy": self.policy, "timeout_seconds": 1.5, **looked_up}

    def serve(self, arrived: Arrived, book: Book) -> Served:
        if arrived.method == "GET":
            return book.find(arrived.path.rsplit("/", 1)[-1]) or Served(status=404)
        key = arrived.headers["idempotency-key"]
        kind = Kind(orjson.loads(arrived.body)["kind"])
        answer = Served(body=orjson.dumps({"status": FINAL_WORDS[kind], "result": {}}))
        return book.find(key) or book.act(key, answer)


class TestHttpNeither(HttpConformance):
    policy = Policy.NEITHER


class TestHttpAskable(HttpConformance):
    policy = Policy.ASKABLE


class TestHttpRepeatable(HttpConformance):
    policy = Policy.REPEATABLE

"""A Karrio server in small: what it stores, and what it answers when all is well.

Ours, written from observation of version 2026.1.32. It keeps its own count of purchases, which is
what tests are judged by.
"""

import base64
from collections import Counter
from collections.abc import Mapping
from copy import deepcopy
from typing import Any
from urllib.parse import parse_qs

import orjson

from batchyard.testing import Arrived, Served

VERSION = "2026.1.32"
TEST_KEY = "key_0123456789abcdef0123456789abcdef"
LIVE_KEY = "key_fedcba9876543210fedcba9876543210"

PDF = b"%PDF-1.4 a label"
ZPL = b"^XA^FO20,20^FDa label^FS^XZ"

NUMBERS = 10**9

CONNECTIONS: tuple[dict[str, Any], ...] = (
    {"id": "car_1", "carrier_name": "generic", "carrier_id": "post-nord", "display_name": "Post N"},
    {"id": "car_2", "carrier_name": "ups", "carrier_id": "ups-dk", "display_name": "UPS"},
    {"id": "car_3", "carrier_name": "ups", "carrier_id": "ups-dk", "display_name": "UPS, other"},
    {
        "id": "car_4",
        "carrier_name": "ups",
        "carrier_id": "ups-few",
        "display_name": "UPS, few",
        "config": {"shipping_services": ["ups_standard"]},
    },
    {
        "id": "car_5",
        "carrier_name": "canadapost",
        "carrier_id": "watcher",
        "display_name": "Tracks only",
        "capabilities": ["tracking"],
    },
)
SERVICES: Mapping[str, Mapping[str, str]] = {
    "generic": {"standard_service": "standard_service"},
    "ups": {"ups_standard": "11", "ups_express_saver": "65"},
}

FORBIDDEN = {"shipping_method", "apply_shipping_rules", "has_alternative_services"}


class KarrioState:
    """Everything one server knows."""

    def __init__(self) -> None:
        self.shipments: dict[str, dict[str, Any]] = {}
        self.purchases: Counter[str] = Counter()
        """By the key in the metadata: how often a carrier said yes."""
        self.drafts: Counter[str] = Counter()
        self.echoes = True
        """Whether the request id arrives as it was sent."""

    def serve(self, arrived: Arrived) -> Served:
        """Answer one request."""
        path, _, query = arrived.path.partition("?")
        token = arrived.headers.get("authorization", "")
        modes = {f"Token {TEST_KEY}": True, f"Token {LIVE_KEY}": False}
        if path == "/":
            return self._reply(arrived, 200, {"VERSION": VERSION, "APP_NAME": "Karrio"})
        if token not in modes:
            fault = _fault("invalid_token", "Given token not valid for any token type")
            return self._reply(arrived, 401, fault)
        status, body = self._answer(arrived, path, parse_qs(query), is_test=modes[token])
        return self._reply(arrived, status, body, is_test=modes[token])

    def request_id(self, arrived: Arrived) -> str:
        """Return the request id as the server sees it."""
        sent = arrived.headers.get("x-request-id", "")
        return sent if sent and self.echoes else f"req_{len(self.shipments)}"

    def buy(self, shipment_id: str, arrived: Arrived, *, is_recorded: bool = True) -> None:
        """Have the carrier say yes; unless recorded, Karrio fails right behind that."""
        shipment = self.shipments[shipment_id]
        order = orjson.loads(arrived.body or b"{}")
        rate = next(r for r in shipment["rates"] if r["id"] == order["selected_rate_id"])
        self.purchases[shipment["metadata"]["batchyard_key"]] += 1
        shipment |= {"selected_rate": rate, "carrier_name": rate["carrier_name"]}
        if not is_recorded:
            return
        number = f"T{self.purchases.total():09d}"
        numbers = [f"{number}-{index}" for index in range(len(shipment["parcels"]))]
        format_ = order.get("label_type", "PDF")
        shipment |= {
            "status": "created",
            "carrier_id": rate["carrier_id"],
            "service": rate["service"],
            "selected_rate_id": rate["id"],
            "tracking_number": number,
            "shipment_identifier": number,
            "tracking_url": f"/v1/trackers/generic/{number}",
            "label_type": format_,
            "label_url": f"/v1/shipments/{shipment_id}/label.{format_.lower()}",
            "meta": {
                **shipment["meta"],
                "request_id": self.request_id(arrived),
                **({"tracking_numbers": sorted(numbers, reverse=True)} if numbers[1:] else {}),
            },
        }

    def purchased(self, shipment_id: str, *, with_label: bool = True) -> dict[str, Any]:
        """Return what the answer to a purchase holds."""
        shipment = deepcopy(self.shipments[shipment_id])
        documents = [self.document(shipment_id, "label")] if with_label else []
        return {**shipment, "shipping_documents": documents}

    def with_papers(self, shipment_id: str) -> dict[str, Any]:
        """Return what the answer holds that has an extra document, and names an invoice."""
        self.shipments[shipment_id]["invoice_url"] = f"/v1/shipments/{shipment_id}/invoice.pdf"
        bought = self.purchased(shipment_id)
        bought["shipping_documents"].append(self.document(shipment_id, "other"))
        return bought

    def document(self, shipment_id: str, name: str) -> dict[str, Any]:
        """Return a document with its content."""
        format_ = self.shipments[shipment_id]["label_type"]
        content = base64.b64encode(ZPL if format_ == "ZPL" else PDF).decode()
        return {"category": name, "format": format_, "url": None, "base64": content}

    def _answer(
        self, arrived: Arrived, path: str, query: Mapping[str, list[str]], *, is_test: bool
    ) -> tuple[int, Any]:
        parts = path.strip("/").split("/")[1:]
        match arrived.method, parts:
            case "GET", ["connections"]:
                return 200, _page([_connection(one, is_test) for one in CONNECTIONS], query)
            case "GET", ["carriers", carrier, "services"]:
                return 200, SERVICES.get(carrier, {})
            case "GET", ["shipments"]:
                wanted = query.get("request_id", [""])[0]
                found = [s for s in self.shipments.values() if s["meta"]["request_id"] == wanted]
                return 200, _page([_listed(one) for one in reversed(found)], query)
            case "POST", ["shipments"]:
                return self._draft(arrived, is_test=is_test)
            case method, ["shipments", id_, *rest] if id_ in self.shipments:
                return self._act(arrived, id_, (method, *rest))
        return 404, _fault("not_found", "Shipment not found", level="warning")

    def _act(self, arrived: Arrived, shipment_id: str, asked: tuple[str, ...]) -> tuple[int, Any]:
        match asked:
            case ("GET",):
                return 200, _listed(self.shipments[shipment_id])
            case "POST", "documents", name:
                return 200, self.document(shipment_id, name)
            case "POST", "purchase":
                return self._purchase(arrived, shipment_id)
            case "POST", "cancel":
                return self._cancel(shipment_id)
        return 404, _fault("not_found", "Not Found")

    def _draft(self, arrived: Arrived, *, is_test: bool) -> tuple[int, Any]:
        order = orjson.loads(arrived.body)
        connections = [
            one for one in CONNECTIONS if {one["id"], one["carrier_id"]} & {*order["carrier_ids"]}
        ]
        if not connections:
            text = "No active connection found to process the request"
            return 404, _fault("not_found", text, level="warning")
        shipment_id = f"shp_{len(self.shipments):032x}"
        rates = [
            _rate(shipment_id, connection, service, is_test)
            for connection in connections
            for service in SERVICES[connection["carrier_name"]]
            if service in order["services"]
        ]
        shipment = {
            "id": shipment_id,
            "object_type": "shipment",
            "status": "draft",
            "created_at": "2026-11-29 06:20:18.111202+00:00",
            "test_mode": is_test,
            "shipper": order["shipper"],
            "recipient": order["recipient"],
            "parcels": order["parcels"],
            "services": order["services"],
            "options": order["options"],
            "rates": rates,
            "messages": [],
            "metadata": order["metadata"],
            "meta": {"request_id": self.request_id(arrived)},
            "label_type": order["label_type"],
            "selected_rate": None,
            "carrier_name": None,
            "carrier_id": None,
            "tracking_number": None,
            "tracking_url": None,
            "label_url": None,
            "invoice_url": None,
        }
        self.shipments[shipment_id] = shipment
        self.drafts[order["metadata"]["batchyard_key"]] += 1
        if order.get("service") or FORBIDDEN & {*order["options"]}:
            raise AssertionError("this order lets Karrio buy where a draft was wanted")
        return 201, {**shipment, "shipping_documents": []}

    def _purchase(self, arrived: Arrived, shipment_id: str) -> tuple[int, Any]:
        status = self.shipments[shipment_id]["status"]
        if status != "draft":
            text = f"The shipment is '{status}' and cannot be purchased again"
            return 409, _fault("state_error", text)
        known = {rate["id"] for rate in self.shipments[shipment_id]["rates"]}
        if orjson.loads(arrived.body).get("selected_rate_id") not in known:
            text = "The service you selected is not available for this shipment."
            return 400, _fault("service_unavailable", text)
        self.buy(shipment_id, arrived)
        return 200, self.purchased(shipment_id)

    def _cancel(self, shipment_id: str) -> tuple[int, Any]:
        shipment = self.shipments[shipment_id]
        is_again = shipment["status"] == "cancelled"
        shipment["status"] = "cancelled"
        return (202 if is_again else 200), _listed(shipment)

    def _reply(
        self, arrived: Arrived, status: int, body: object, *, is_test: bool = False
    ) -> Served:
        headers = {
            "Content-Type": "application/json",
            "X-Request-ID": self.request_id(arrived),
            "X-Test-Mode": str(is_test),
        }
        return Served(status=status, body=orjson.dumps(body), headers=headers)


def _rate(
    shipment_id: str, connection: Mapping[str, Any], service: str, is_test: bool
) -> dict[str, Any]:
    return {
        "id": f"rat_{connection['id']}_{service}_{shipment_id[-6:]}",
        "object_type": "rate",
        "carrier_name": connection["carrier_name"],
        "carrier_id": connection["carrier_id"],
        "service": service,
        "currency": "DKK",
        "total_charge": 45.5,
        "transit_days": 1,
        "test_mode": is_test,
        "meta": {"carrier_connection_id": connection["id"]},
    }


def _connection(one: Mapping[str, Any], is_test: bool) -> dict[str, Any]:
    usual = {"capabilities": ["rating", "shipping"], "config": {}, "metadata": {}}
    return {**usual, "is_system": False, "active": True, "test_mode": is_test, **one}


def _listed(shipment: Mapping[str, Any]) -> dict[str, Any]:
    """Return a shipment as it is read: with the addresses of its documents, not with them."""
    documents = [
        {"category": "label", "format": shipment["label_type"], "url": shipment["label_url"]}
    ]
    return {**shipment, "shipping_documents": documents if shipment["label_url"] else []}


def _page(found: list[Any], query: Mapping[str, list[str]]) -> dict[str, Any]:
    offset = int(query.get("offset", ["0"])[0])
    limit = int(query.get("limit", ["20"])[0])
    more = "http://karrio/next" if len(found) > offset + limit else None
    results = found[offset : offset + limit]
    return {"count": len(found), "next": more, "previous": None, "results": results}


def _fault(code: str, message: str, *, level: str = "error") -> dict[str, Any]:
    return {"errors": [{"code": code, "message": message, "level": level}]}

"""Golden exchanges: each call and each error, recorded request and exact answer.

`GOLDEN=record pytest tests/api/smartsend/test_golden.py` writes them anew; read the difference.
"""

import os
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from batchyard.api.smartsend import shipment_routes
from batchyard.errors import LimitReached
from batchyard.operations import batches
from batchyard.store.db import Database
from tests.api.smartsend.conftest import Client, make_shipment, until, working

GOLDEN = Path(__file__).with_name("golden")
IS_RECORDING = os.environ.get("GOLDEN") == "record"

UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
VOLATILE = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "<time>"),
    (re.compile(r"(?<=/documents/)[\w-]{40,}"), "<token>"),
    (re.compile(r"(?<=Bearer )by_[\w-]+"), "<bearer token>"),
    (re.compile(r"\b0037\d{15,}"), "<tracking code>"),
    (re.compile(r"(?<=\r\nContent-Length: )\d+"), "<length>"),
)
REQUEST_HEADERS = ("authorization", "content-type", "accept-language", "prefer", "accept")
KEPT_HEADERS = ("idempotency-key", "request-id")
MAX_TEXT = 5_000


@dataclass(kw_only=True)
class Recorder:
    """Sends requests and writes down what was said, without what differs each time."""

    client: Client
    exchanges: list[str] = field(default_factory=list)
    _names: dict[str, str] = field(default_factory=dict)

    async def send(self, method: str, path: str, **options: object) -> httpx.Response:
        headers = {"Request-ID": "golden", **options.pop("headers", {})}  # type: ignore[dict-item]
        request = self.client.http.build_request(
            method,
            path,
            headers=headers,
            **options,  # type: ignore[arg-type]
        )
        answer = await self.client.http.send(request)
        self.exchanges.append(self._told(request, answer))
        return answer

    async def call(self, method: str, path: str, **options: object) -> httpx.Response:
        return await self.send(method, self.client.path(path), **options)

    def _told(self, request: httpx.Request, answer: httpx.Response) -> str:
        asked = _lines(
            f"{request.method} {request.url.raw_path.decode()}",
            {k: v for k, v in request.headers.items() if k in REQUEST_HEADERS + KEPT_HEADERS},
            request.content,
        )
        answered = _lines(str(answer.status_code), dict(answer.headers), answer.content)
        return self._steady(f"{asked}\n\n{answered}\n")

    def _steady(self, text: str) -> str:
        for pattern, name in VOLATILE:
            text = pattern.sub(name, text)
        return UUID.sub(self._name, text)

    def _name(self, match: re.Match[str]) -> str:
        return self._names.setdefault(match[0], f"<uuid-{len(self._names) + 1}>")


def _lines(first: str, headers: dict[str, str], body: bytes) -> str:
    length = {"content-length"}
    told = [f"{name}: {value}" for name, value in sorted(headers.items()) if name not in length]
    if body.startswith(b"%PDF"):
        text = "<PDF>"
    else:
        text = body.decode()
        text = text if len(text) < MAX_TEXT else f"<{len(text)} characters>"
    return "\n".join([first, *told, "", text]).rstrip()


Story = Callable[[Recorder, Database, pytest.MonkeyPatch], Awaitable[None]]
KEY = {"Idempotency-Key": "golden-key-0000000"}


async def batch_story(told: Recorder, db: Database, _patch: pytest.MonkeyPatch) -> None:
    made = await told.call("POST", "/booking-batches", json={"reference": "Monday"}, headers=KEY)
    batch = made.json()["data"]["uuid"]
    await told.call("POST", "/booking-batches", json={"reference": "Monday"}, headers=KEY)
    await told.call("POST", f"/booking-batches/{batch}/dispatch")
    lenient = {"Prefer": "handling=lenient"}
    sent = {"data": [make_shipment(), make_shipment(currency="XXX")]}
    await told.call("POST", f"/booking-batches/{batch}/shipments", json=sent)
    await told.call("POST", f"/booking-batches/{batch}/shipments", json=sent, headers=lenient)
    await told.call("GET", f"/booking-batches/{batch}")
    await told.call("GET", f"/booking-batches/{batch}/documents")
    await told.call("POST", f"/booking-batches/{batch}/dispatch")
    await told.call("DELETE", f"/booking-batches/{batch}")

    async def has_ended() -> bool:
        read = await told.client.get(f"/booking-batches/{batch}")
        return bool(read.json()["data"]["finished_at"])

    async with working(db):
        await until(has_ended)
    await told.call("GET", "/booking-batches?state=completed&per_page=10")
    await told.call("GET", "/booking-batches?page=2&per_page=10")
    await told.call("GET", f"/booking-batches/{batch}/shipments")
    await told.call("GET", f"/booking-batches/{batch}/documents")


async def cancel_story(told: Recorder, _db: Database, _patch: pytest.MonkeyPatch) -> None:
    made = await told.call("POST", "/booking-batches")
    batch = made.json()["data"]["uuid"]
    await told.call("DELETE", f"/booking-batches/{batch}", headers={"Accept-Language": "da"})
    await told.call("GET", f"/booking-batches/{batch}")


async def shipment_story(told: Recorder, db: Database, patch: pytest.MonkeyPatch) -> None:
    made = await told.call("POST", "/shipments", json=make_shipment())
    shipment = made.json()["data"]["uuid"]
    await told.call("GET", f"/shipments/{shipment}")
    async with working(db):
        await told.call("POST", f"/shipments/{shipment}/booking")
    await told.call("POST", f"/shipments/{shipment}/booking")
    await told.call("DELETE", f"/shipments/{shipment}")
    listed = await told.call("GET", f"/shipments/{shipment}/documents")
    link = listed.json()["data"][0]["url"]
    await told.send("GET", link)
    later = db.clock() + timedelta(hours=2)
    patch.setattr(db, "clock", lambda: later)
    await told.send("GET", link)
    await told.call("GET", "/shipments?state=booked")


async def operation_story(told: Recorder, db: Database, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(shipment_routes, "PATIENCE_SECONDS", 0.05)
    one, other = [
        (await told.client.post("/shipments", json=make_shipment(**place))).json()["data"]["uuid"]
        for place in ({}, {"parties__receiver__address__postal_code": "9901"})
    ]
    await told.call("POST", f"/shipments/{one}/booking")
    begun = await told.call(
        "POST", f"/shipments/{other}/booking", headers={"Prefer": "respond-async"}
    )
    operation = f"/operations/{begun.json()['data']['uuid']}"

    async def has_ended() -> bool:
        read = await told.client.get(operation)
        return bool(read.json()["data"]["finished_at"])

    async with working(db):
        await until(has_ended)
    await told.call("GET", operation)
    await told.call("GET", f"/shipments/{other}")


async def single_cancel_story(told: Recorder, _db: Database, _patch: pytest.MonkeyPatch) -> None:
    made = await told.client.post("/shipments", json=make_shipment())
    shipment = made.json()["data"]["uuid"]
    await told.call("DELETE", f"/shipments/{shipment}")
    await told.call("GET", f"/shipments/{shipment}")


async def services_story(told: Recorder, _db: Database, _patch: pytest.MonkeyPatch) -> None:
    await told.call("GET", "/routing/services", headers={"Accept-Language": "da-DK, en;q=0.5"})


async def error_story(told: Recorder, db: Database, patch: pytest.MonkeyPatch) -> None:
    path = "/booking-batches"
    await told.call("GET", path, headers={"Authorization": ""})
    await told.send("GET", "/api/v2/team/nobody/booking-batches")
    await told.call("GET", f"{path}/none")
    await told.call("PATCH", path)
    await told.call("GET", f"{path}?state=lost&page=0&per_page=1001")
    await told.call("GET", path, headers={"Request-ID": "x" * 129})
    await told.call("POST", path, headers={"Idempotency-Key": "short"})
    await told.call("POST", path, json={"reference": 1, "identifier": "x" * 256})
    await told.call("POST", path, content=b"{", headers={"Content-Type": "application/json"})
    await told.call("POST", path, content=b"<a/>", headers={"Content-Type": "text/xml"})
    await told.call("POST", path, json={"reference": "x" * 1024 * 1024})
    await told.call("POST", "/shipments", json={}, headers={"Accept-Language": "da"})
    await told.client.post(path, json={"reference": "first"}, headers=KEY)
    await told.call("POST", path, json={"reference": "second"}, headers=KEY)
    batch = await told.client.make_batch()
    await told.call("GET", f"{path}/{batch}/documents", headers={"Accept": "application/json"})
    patch.setattr(batches, "create_batch", _limited)
    await told.call("POST", path)
    patch.setattr(batches, "create_batch", _broken)
    await told.call("POST", path)
    async with db.transaction() as connection:
        await connection.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, %s))",
            ("golden-key-1111111", told.client.team.id),
        )
        await told.call("POST", path, headers={"Idempotency-Key": "golden-key-1111111"})


async def _limited(*_args: object, **_options: object) -> None:
    raise LimitReached(retry_after_seconds=2.5)


async def _broken(*_args: object, **_options: object) -> None:
    raise RuntimeError("secret")


STORIES: dict[str, Story] = {
    "batch": batch_story,
    "cancelled-batch": cancel_story,
    "shipment": shipment_story,
    "operation": operation_story,
    "cancelled-shipment": single_cancel_story,
    "services": services_story,
    "errors": error_story,
}


@pytest.mark.parametrize("name", STORIES)
async def test_exchanges_are_as_recorded(
    client: Client, db: Database, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    told = Recorder(client=client)

    await STORIES[name](told, db, monkeypatch)

    file = GOLDEN / f"{name}.txt"
    text = "\n----\n\n".join(told.exchanges)
    if IS_RECORDING:
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


def test_every_call_and_every_status_is_recorded(door: FastAPI) -> None:
    recorded = "".join(path.read_text(encoding="utf-8") for path in GOLDEN.glob("*.txt"))
    statuses = {int(status) for status in re.findall(r"^(\d{3})$", recorded, re.MULTILINE)}
    paths = set(re.findall(r"^([A-Z]+) ([^?\s]+)", recorded, re.MULTILINE))
    spoken = {(method, _pattern(path)) for method, path in paths}

    for path, calls in door.openapi()["paths"].items():
        for method, call in calls.items():
            assert (method.upper(), _pattern(path)) in spoken, f"{method} {path}"
            assert {int(status) for status in call["responses"]} <= statuses


def _pattern(path: str) -> str:
    """Return a path with a star for each id."""
    return re.sub(r"(?<=/team/)[^/]+|\{\w+\}|<[^>]+>", "*", path)

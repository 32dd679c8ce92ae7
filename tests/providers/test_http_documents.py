"""Documents are stored before an item counts as booked; a failed fetch never books again."""

import base64
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta

import orjson
import pytest

from batchyard.models import Accepted, Document, Ended, Lost, Request
from batchyard.providers.http import HttpProvider
from batchyard.testing import Arrived, Line
from tests.providers.http_surroundings import NOW, callback, provider_over
from tests.providers.requests import make_shipment

PDF = b"%PDF-1.7 a label"
PARCELS = [{"tracking_code": "T1", "tracking_url": "https://track.example/T1"}]


class Carrier:
    """Books once, and serves labels when it is in the mood."""

    def __init__(self) -> None:
        self.bookings = 0
        self.fetches: Counter[str] = Counter()
        self.label_status = 200
        self.label = PDF
        self.look_up: object = None
        self.now = NOW
        self.host = ""

    def clock(self) -> datetime:
        return self.now

    async def handle(self, arrived: Arrived, line: Line) -> None:
        self.host = arrived.headers["host"]
        if arrived.method == "POST":
            self.bookings += 1
            await line.reply(200, orjson.dumps(self.answer()))
        elif arrived.path.startswith("/results/"):
            status = 404 if self.look_up is None else 200
            await line.reply(status, orjson.dumps(self.look_up))
        else:
            self.fetches[arrived.path] += 1
            await line.reply(self.label_status, self.label)

    def answer(self, path: str = "/label.pdf") -> dict[str, object]:
        url = f"http://{self.host}{path}"
        inline = base64.encodebytes(b"^XA^XZ").decode()
        documents = [
            {"kind": "label", "format": "pdf", "url": url, "parcel": 1},
            {"kind": "customs", "format": "zpl", "base64": inline},
        ]
        result = {"parcels": PARCELS, "documents": documents, "colour": "red"}
        return {"status": "booked", "result": result, "reference": "B-1"}


DOCUMENTS = [
    Document(kind="label", format="pdf", content=PDF, parcel=1),
    Document(kind="customs", format="zpl", content=b"^XA^XZ"),
]
BOOKED = Ended(
    status="booked",
    result={"parcels": PARCELS, "colour": "red"},
    documents=DOCUMENTS,
    reference="B-1",
)


def looked_up(request: Request, kept: Accepted) -> Request:
    """Return the request as the engine asks with it."""
    return replace(request, known_result=kept.result, reference=kept.reference)


async def wait_for_label(provider: HttpProvider, carrier: Carrier) -> tuple[Request, Accepted]:
    """Book while labels cannot be had."""
    carrier.label_status = 503
    request = make_shipment()
    answer = await provider.send(request)
    assert isinstance(answer, Accepted)
    carrier.label_status = 200
    return request, answer


async def test_booking_brings_its_documents() -> None:
    carrier = Carrier()
    async with provider_over(carrier.handle) as provider:
        assert await provider.send(make_shipment()) == BOOKED


async def test_booking_waits_for_its_documents_and_is_not_made_again() -> None:
    carrier = Carrier()
    async with provider_over(carrier.handle, clock=carrier.clock) as provider:
        request, kept = await wait_for_label(provider, carrier)
        assert kept.status == "processing"
        assert kept.check_at == NOW + timedelta(seconds=2)
        assert kept.result is not None
        assert kept.result["parcels"] == PARCELS

        assert await provider.ask(looked_up(request, kept)) == BOOKED
    assert carrier.bookings == 1


async def test_documents_are_fetched_more_and_more_rarely_then_a_person_decides() -> None:
    carrier = Carrier()
    async with provider_over(carrier.handle, clock=carrier.clock) as provider:
        request, kept = await wait_for_label(provider, carrier)
        carrier.label_status = 404
        pauses = []
        while True:
            finding = await provider.ask(looked_up(request, kept))
            if isinstance(finding, Lost):
                break
            assert isinstance(finding, Accepted)
            assert finding.check_at is not None
            pauses.append((finding.check_at - carrier.now).total_seconds())
            kept, carrier.now = finding, finding.check_at

    assert finding.code == "document_unavailable"
    assert pauses == sorted(pauses)
    assert pauses[-1] == 300
    assert 3600 - 300 <= (carrier.now - NOW).total_seconds() - 300 <= 3600
    assert carrier.bookings == 1


async def test_look_up_brings_fresh_addresses_of_documents() -> None:
    carrier = Carrier()
    async with provider_over(carrier.handle, is_askable=True) as provider:
        request, kept = await wait_for_label(provider, carrier)
        carrier.look_up = carrier.answer("/fresh.pdf")
        assert await provider.ask(looked_up(request, kept)) == BOOKED
    assert carrier.fetches["/fresh.pdf"] == 1


@pytest.mark.parametrize("look_up", [None, {"status": "booked"}, {"status": "?"}, []])
async def test_look_up_that_says_less_than_is_known_changes_nothing(look_up: object) -> None:
    carrier = Carrier()
    async with provider_over(carrier.handle, is_askable=True) as provider:
        request, kept = await wait_for_label(provider, carrier)
        carrier.look_up = look_up
        assert await provider.ask(looked_up(request, kept)) == BOOKED


async def test_documents_of_an_earlier_attempt_end_no_later_one() -> None:
    carrier = Carrier()
    async with provider_over(carrier.handle) as provider:
        request, kept = await wait_for_label(provider, carrier)
        later = replace(looked_up(request, kept), key=f"{request.item_id}.2", attempt=2)
        finding = await provider.ask(later)
    assert isinstance(finding, Lost)


async def test_found_booking_brings_its_documents() -> None:
    carrier = Carrier()
    async with provider_over(carrier.handle, is_askable=True) as provider:
        await provider.ask(make_shipment())
        carrier.look_up = carrier.answer()
        assert await provider.ask(make_shipment()) == BOOKED


async def test_document_is_not_fetched_from_where_it_must_not_be() -> None:
    carrier = Carrier()
    async with provider_over(carrier.handle) as provider:
        carrier.host = "127.0.0.1"
        carrier.look_up = None
        for url in ("http://169.254.169.254/latest/meta-data", "file:///etc/passwd"):
            answer = carrier.answer()
            answer["result"]["documents"][0]["url"] = url  # type: ignore[index]
            arrived = callback(answer)
            if url.startswith("file"):
                with pytest.raises(Exception, match="documents"):
                    await provider.read_callback(make_shipment(), arrived)
                continue
            kept = await provider.read_callback(make_shipment(), arrived)
            assert isinstance(kept, Accepted)
            finding = await provider.ask(looked_up(make_shipment(), kept))
            assert isinstance(finding, Accepted)
    assert not carrier.fetches


@pytest.mark.parametrize("label", [b"", b"x" * (5 * 1024**2 + 1)])
async def test_empty_or_huge_document_is_none(label: bytes) -> None:
    carrier = Carrier()
    carrier.label = label
    async with provider_over(carrier.handle) as provider:
        assert isinstance(await provider.send(make_shipment()), Accepted)


@pytest.mark.parametrize(
    "document",
    [
        {"kind": "label", "format": "pdf"},
        {"kind": "label", "format": "pdf", "base64": "%%%"},
        {"kind": "label", "format": "pdf", "base64": "YQ==", "url": "https://x.example/"},
        {"kind": "label", "format": "pdf", "url": "https://user:word@x.example/"},
        {"kind": "label", "format": "exe", "base64": "YQ=="},
        {"kind": "poster", "format": "pdf", "base64": "YQ=="},
        {"kind": "label", "format": "pdf", "base64": "YQ==", "parcel": 0},
        "label",
    ],
)
async def test_malformed_document_is_no_booking(document: object) -> None:
    async def handle(_: Arrived, line: Line) -> None:
        body = {"status": "booked", "result": {"documents": [document]}}
        await line.reply(200, orjson.dumps(body))

    async with provider_over(handle) as provider:
        assert isinstance(await provider.send(make_shipment()), Lost)

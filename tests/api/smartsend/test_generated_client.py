"""A client that openapi-python-client makes of the document books shipments by the whole flow."""

import asyncio
import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from tests.api.serving import AT_ONCE, TOKEN, serving
from tests.api.smartsend.conftest import make_shipment, until
from tests.api.smartsend.labels import page_count, read_barcodes

PACKAGE = "generated_smartsend"
CONFIGURATION = """
content_type_overrides:
  application/pdf: application/octet-stream
  application/zpl: application/octet-stream
literal_enums: true
post_hooks: []
"""
KEY = "the-same-key-each-time"


def generate(document: bytes, folder: Path) -> None:
    (folder / "openapi.json").write_bytes(document)
    (folder / "configuration.yaml").write_text(CONFIGURATION)
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("openapi-python-client")),
            "generate",
            "--path=openapi.json",
            f"--output-path={PACKAGE}",
            "--meta=none",
            "--config=configuration.yaml",
            "--fail-on-warning",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


class Generated:
    """The generated package, and its client for one team."""

    def __init__(self, address: str) -> None:
        package = importlib.import_module(PACKAGE)
        self.models: Any = importlib.import_module(f"{PACKAGE}.models")
        self.client = package.AuthenticatedClient(base_url=address, token=TOKEN)

    async def call(self, name: str, *path: object, **options: object) -> Any:  # noqa: ANN401  # its own types
        """Do a call of the team `default`; the answer is one of the generated models."""
        tag, _, call = name.partition(".")
        module: ModuleType = importlib.import_module(f"{PACKAGE}.api.{tag}.{call}")
        answer = await module.asyncio_detailed("default", *path, client=self.client, **options)
        assert answer.parsed is not None, answer
        return answer.parsed


@pytest.mark.acceptance
async def test_a_generated_client_does_the_whole_flow(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving("up", database_url=database_url, log=tmp_path / "log", **AT_ONCE) as address:
        async with httpx.AsyncClient(base_url=address, timeout=30) as http:
            document = await http.get("/api/v2/openapi.json")
        await asyncio.to_thread(generate, document.content, tmp_path)
        monkeypatch.syspath_prepend(tmp_path)
        here = Generated(address)
        async with here.client:
            await book_a_batch(here)
            await book_one(here)
            await be_refused(here)


async def book_a_batch(here: Generated) -> None:
    new = here.models.NewBatch(reference="Monday")
    made = await here.call("batches.create_batch", body=new, idempotency_key=KEY)
    again = await here.call("batches.create_batch", body=new, idempotency_key=KEY)
    assert made.data.uuid == again.data.uuid
    assert made.data.state == "open"

    sent = here.models.NewShipments.from_dict({"data": [make_shipment() for _ in range(3)]})
    added = await here.call("batches.add_shipments", made.data.uuid, body=sent)
    assert [one.delivery.carrier_name for one in added.data] == ["PostNord"] * 3

    dispatched = await here.call("batches.dispatch_batch", made.data.uuid)
    assert dispatched.data.state == "queued"

    async def has_ended() -> bool:
        read = await here.call("batches.read_batch", made.data.uuid)
        return read.data.finished_at is not None

    await until(has_ended)
    listed = await here.call("batches.list_batches", state="completed")
    assert [batch.progress for batch in listed.data] == [100]
    shipments = await here.call("batches.list_shipments_of_batch", made.data.uuid, state="booked")
    codes = [parcel.tracking_code for one in shipments.data for parcel in one.parcels]
    merged = await here.call("documents.merge_labels", made.data.uuid, format_="pdf")
    assert read_barcodes(merged.payload.read()) == codes


async def book_one(here: Generated) -> None:
    services = await here.call("shipments.list_services", accept_language="da")
    assert "Hjemmelevering" in {service.service_name for service in services.data}

    new = plain(here)
    made = await here.call("shipments.create_shipment", body=new)
    booked = await here.call("shipments.book_shipment", made.data.uuid)
    assert booked.data.state == "booked"
    papers = await here.call("documents.list_documents", made.data.uuid)
    async with httpx.AsyncClient(timeout=30) as http:
        label = await http.get(papers.data[0].url)
    assert page_count(label.content) == 1

    made = await here.call("shipments.create_shipment", body=new)
    begun = await here.call("shipments.book_shipment", made.data.uuid, prefer="respond-async")

    async def has_succeeded() -> bool:
        operation = await here.call("shipments.read_operation", begun.data.uuid)
        return bool(operation.data.state == "succeeded")

    await until(has_succeeded)


async def be_refused(here: Generated) -> None:
    new = here.models.Shipment.from_dict(make_shipment(delivery__service="drone"))
    refused = await here.call("shipments.create_shipment", body=new)
    assert refused.errors.additional_properties == {
        "delivery.service": ["The carrier has no such service."]
    }
    made = await here.call("shipments.create_shipment", body=plain(here))
    cancelled = await here.call("shipments.cancel_shipment", made.data.uuid)
    assert cancelled.message == "The shipment was cancelled."


def plain(here: Generated) -> object:
    shipment: object = here.models.Shipment.from_dict(make_shipment())
    return shipment

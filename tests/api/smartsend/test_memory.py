"""Memory does not grow with what is asked or sent: the short form of a slow proof."""

import json
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from io import BytesIO

from fastapi import FastAPI
from pypdf import PdfWriter
from starlette.types import Message

from batchyard.models import BatchState, Phase
from batchyard.providers.labels import Label, render_label
from batchyard.store.db import Database
from tests.api.smartsend.conftest import Client, make_shipment
from tests.factories import make_batch, make_items

LABELS = 120
MEGABYTE = 1024 * 1024
COPY_LABEL = """
INSERT INTO documents (id, item_id, kind, format, parcel, content, created_at)
SELECT gen_random_uuid(), id, 'label', 'pdf', 1, %s, %s FROM items
"""


@contextmanager
def peak_below(megabytes: float) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < megabytes * MEGABYTE, f"{peak / MEGABYTE:.1f} MB"


def big_label() -> bytes:
    """A label with 160 kB that nobody sees."""
    label = Label(
        carrier="Carrier",
        service="Home",
        receiver=("Somebody",),
        country="Denmark",
        country_code="DK",
        tracking_code="T-1",
    )
    weighted, content = PdfWriter(clone_from=BytesIO(render_label(label))), BytesIO()
    weighted.add_attachment("weight", bytes(160_000))
    weighted.write(content)
    return content.getvalue()


async def test_many_labels_pass_through_little_memory(
    client: Client, door: FastAPI, db: Database
) -> None:
    batch = await make_batch(db, team=client.team, state=BatchState.COMPLETED)
    await make_items(
        db,
        team=client.team,
        batch_id=batch,
        n=LABELS,
        phase=Phase.DONE,
        status="booked",
        payload=make_shipment(),
    )
    async with db.transaction() as connection:
        await connection.execute(COPY_LABEL, (big_label(), db.clock()))
    received = 0

    # The client of the other tests collects the body, so this one speaks to the door itself.
    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        nonlocal received
        received += len(message.get("body", b""))

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "scheme": "http",
        "server": ("door", 80),
        "method": "GET",
        "path": f"/api/v2/team/{client.team.slug}/booking-batches/{batch}/documents",
        "query_string": b"",
        "headers": [(b"authorization", f"Bearer {client.token}".encode())],
    }
    with peak_below(12):
        await door(scope, receive, send)
    assert received > LABELS * 1_000


async def test_an_endless_body_is_refused_in_little_memory(client: Client) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 65_536
            yield b" " * 65_536

    with peak_below(8):
        answer = await client.post(
            "/shipments", content=endless(), headers={"Content-Type": "application/json"}
        )

    assert answer.status_code == 413
    assert sent < 2 * MEGABYTE


async def test_a_long_text_is_refused_in_little_memory(client: Client) -> None:
    body = json.dumps(make_shipment(reference="x" * (MEGABYTE - 2_000))).encode()

    with peak_below(8):
        answer = await client.post(
            "/shipments", content=body, headers={"Content-Type": "application/json"}
        )

    assert answer.json()["errors"] == {"reference": ["This must have at most 255 characters."]}
    assert len(answer.content) < 1_000

"""Labels and other papers: listed with signed links, fetched, and merged per batch."""

import asyncio
import base64
import shutil
from datetime import timedelta
from pathlib import Path
from string import ascii_letters, digits
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI

from batchyard.api.smartsend.routes import build_door
from batchyard.config import Config
from batchyard.intake.shipment_shape import Sender
from batchyard.models import BatchState, Document, Phase
from batchyard.operations import documents as document_operations
from batchyard.operations import senders
from batchyard.operations.audit import Actor
from batchyard.providers.labels import Label, render_label
from batchyard.store import documents
from batchyard.store.db import Database
from tests.api.smartsend.conftest import Client, make_shipment, open_client, until, working
from tests.api.smartsend.labels import page_count, page_sizes, page_texts, read_barcodes
from tests.factories import make_batch, make_items
from tests.providers.karrio_requests import SENDER

BASE64 = f"{ascii_letters}{digits}-_"
PARCEL = {"gross_weight": 500}
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def carriers_label(code: str) -> bytes:
    return render_label(
        Label(
            carrier="Carrier",
            service="Own",
            receiver=("Somebody",),
            country="Denmark",
            country_code="DK",
            tracking_code=code,
        )
    )


async def make_booked(
    client: Client, db: Database, batch: UUID, *papers: Document, codes: tuple[str, ...] = ("T-1",)
) -> UUID:
    """Write a booked shipment with the documents its carrier gave."""
    payload = make_shipment(parcels=[PARCEL] * len(codes))
    [shipment] = await make_items(
        db, team=client.team, batch_id=batch, phase=Phase.LIVE, status="processing", payload=payload
    )
    async with db.transaction() as connection:
        await documents.add_to_open_attempts(
            connection, [(shipment, 1, paper) for paper in papers], now=db.clock()
        )
        await connection.execute(
            "UPDATE items SET phase = 'done', status = 'booked' WHERE id = %s", (shipment,)
        )
        await connection.execute(
            "UPDATE item_data SET result = jsonb_build_object('parcels', %s::jsonb)"
            " WHERE item_id = %s",
            (
                "[" + ",".join(f'{{"tracking_code": "{code}"}}' for code in codes) + "]",
                shipment,
            ),
        )
    return shipment


async def book(client: Client, db: Database, *shipments: dict[str, Any]) -> str:
    """Have a batch booked by the sandbox."""
    batch = await client.make_batch()
    await client.add(batch, *shipments)
    await client.post(f"/booking-batches/{batch}/dispatch")

    async def has_ended() -> bool:
        read = await client.get(f"/booking-batches/{batch}")
        return bool(read.json()["data"]["finished_at"])

    async with working(db):
        await until(has_ended)
    return batch


def kept_sizes(folder: Path) -> list[bool]:
    """Tell of each PDF in a folder whether it holds anything."""
    return [path.stat().st_size > 0 for path in folder.glob("*/*.pdf")]


async def list_papers(client: Client, shipment: object) -> list[dict[str, str]]:
    answer = await client.get(f"/shipments/{shipment}/documents")
    assert answer.status_code == 200, answer.text
    listed: list[dict[str, str]] = answer.json()["data"]
    return listed


async def test_each_parcel_has_a_label_whose_barcode_a_scanner_reads(
    client: Client, db: Database
) -> None:
    batch = await book(client, db, make_shipment(parcels=[PARCEL, PARCEL]))
    [shipment] = (await client.get(f"/booking-batches/{batch}/shipments")).json()["data"]

    papers = await list_papers(client, shipment["uuid"])

    assert [(one["kind"], one["format"]) for one in papers] == [
        ("label", "pdf"),
        ("label", "zpl"),
    ] * 2
    codes = [parcel["tracking_code"] for parcel in shipment["parcels"]]
    for code, paper in zip(codes, papers[::2], strict=True):
        file = await client.http.get(paper["url"], headers={"Authorization": ""})
        assert file.headers["Content-Type"] == "application/pdf"
        assert page_sizes(file.content) == {(10.0, 15.0)}
        assert read_barcodes(file.content) == [code]
    for code, paper in zip(codes, papers[1::2], strict=True):
        file = await client.http.get(paper["url"], headers={"Authorization": ""})
        assert file.headers["Content-Type"] == "application/zpl"
        assert file.content.startswith(b"^XA")
        assert f"^FD{code}^FS".encode() in file.content


async def test_a_link_expires(
    client: Client, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = await make_batch(db, team=client.team, state=BatchState.COMPLETED)
    shipment = await make_booked(client, db, batch)
    [paper, *_] = await list_papers(client, shipment)
    assert (await client.http.get(paper["url"])).status_code == 200

    later = db.clock() + timedelta(seconds=3601)
    monkeypatch.setattr(db, "clock", lambda: later)

    expired = await client.http.get(paper["url"], headers={"Accept-Language": "da"})
    assert expired.status_code == 403
    assert expired.json() == {"message": "Linket er udløbet; hent listen over dokumenter igen."}


async def test_a_changed_link_leads_nowhere(client: Client, db: Database) -> None:
    batch = await make_batch(db, team=client.team, state=BatchState.COMPLETED)
    shipment = await make_booked(client, db, batch)
    [paper, *_] = await list_papers(client, shipment)
    address, _, token = paper["url"].rpartition("/")

    for index in range(len(token)):
        other = "A" if token[index] != "A" else "B"
        forged = f"{address}/{token[:index]}{other}{token[index + 1 :]}"
        answer = await client.http.get(forged)
        assert answer.status_code == 404, index
    for last in {*BASE64} - {token[-1]}:
        assert (await client.http.get(f"{address}/{token[:-1]}{last}")).status_code == 404, last
    for nonsense in ("x", "%00", "ø" * 40, "A" * 10_000, f"{token}=", f"{token}.", f"!{token}"):
        assert (await client.http.get(f"{address}/{nonsense}")).status_code == 404


async def test_a_link_takes_a_request_id_as_every_call(client: Client, db: Database) -> None:
    batch = await make_batch(db, team=client.team, state=BatchState.COMPLETED)
    shipment = await make_booked(client, db, batch)
    [paper, *_] = await list_papers(client, shipment)

    right = await client.http.get(paper["url"], headers={"Request-ID": "mine"})
    wrong = await client.http.get(paper["url"], headers={"Request-ID": "x" * 129})

    assert (right.status_code, right.headers["Request-ID"]) == (200, "mine")
    assert wrong.status_code == 422
    assert set(wrong.json()["errors"]) == {"Request-ID"}
    assert UUID(wrong.headers["Request-ID"]).version


async def test_a_shipment_that_is_not_booked_has_no_documents(client: Client) -> None:
    added = await client.add(await client.make_batch(), make_shipment())

    assert await list_papers(client, added.json()["data"][0]["uuid"]) == []


async def test_labels_the_carrier_did_not_give_are_printed(client: Client, db: Database) -> None:
    batch = await make_batch(db, team=client.team, state=BatchState.COMPLETED)
    given = Document(kind="label", format="pdf", content=carriers_label("C-1"), parcel=1)
    shipment = await make_booked(client, db, batch, given, codes=("C-1", "OURS-2"))

    papers = await list_papers(client, shipment)

    files = [(await client.http.get(paper["url"])).content for paper in papers]
    pdfs = [file for file, paper in zip(files, papers, strict=True) if paper["format"] == "pdf"]
    assert [read_barcodes(pdf) for pdf in pdfs] == [["C-1"], ["OURS-2"]]
    assert "Printed by Batchyard" in page_texts(pdfs[1])[0]
    assert [one["format"] for one in papers] == ["pdf", "pdf", "zpl", "zpl"]
    assert len({one["uuid"] for one in papers}) == 4
    assert [one["uuid"] for one in await list_papers(client, shipment)] == [
        one["uuid"] for one in papers
    ]


async def test_labels_we_print_name_the_sender_of_the_team(client: Client, db: Database) -> None:
    sender = Sender.model_validate(SENDER)
    await senders.set_sender(db, team=client.team, sender=sender, actor=Actor(name="test"))
    batch = await make_batch(db, team=client.team, state=BatchState.COMPLETED)
    shipment = await make_booked(client, db, batch)

    merged = await client.get(f"/booking-batches/{batch}/documents")
    pdf, zpl = [
        (await client.http.get(paper["url"])).content
        for paper in await list_papers(client, shipment)
    ]

    for text in (page_texts(merged.content)[0], page_texts(pdf)[0], zpl.decode()):
        for line in ("FROM", "Kop ApS", "Havnegade 1", "8000 Aarhus"):
            assert line in text


async def test_a_file_of_all_parcels_needs_no_label_of_ours(client: Client, db: Database) -> None:
    batch = await make_batch(db, team=client.team, state=BatchState.COMPLETED)
    whole = Document(kind="label", format="pdf", content=carriers_label("C-1"))
    customs = Document(kind="customs", format="pdf", content=carriers_label("CN22"))
    shipment = await make_booked(client, db, batch, whole, customs, codes=("C-1", "C-2"))

    papers = await list_papers(client, shipment)

    assert [(one["kind"], one["format"]) for one in papers] == [
        ("label", "pdf"),
        ("customs", "pdf"),
        ("label", "zpl"),
        ("label", "zpl"),
    ]


async def test_a_label_that_is_a_picture_is_given_as_a_page(client: Client, db: Database) -> None:
    batch = await make_batch(db, team=client.team, state=BatchState.COMPLETED)
    picture = Document(kind="label", format="png", content=PNG, parcel=1)
    shipment = await make_booked(client, db, batch, picture)

    papers = await list_papers(client, shipment)

    assert [one["format"] for one in papers] == ["pdf", "zpl"]
    assert page_sizes((await client.http.get(papers[0]["url"])).content) == {(10.0, 15.0)}


async def test_labels_of_a_batch_are_one_file_in_its_order(client: Client, db: Database) -> None:
    shipments = [make_shipment(reference=f"r{n}", parcels=[PARCEL] * n) for n in (1, 3, 2)]
    batch = await book(client, db, *shipments)
    listed = (await client.get(f"/booking-batches/{batch}/shipments")).json()["data"]
    codes = [
        parcel["tracking_code"]
        for one in listed
        if one["state"] == "booked"
        for parcel in one["parcels"]
    ]

    merged = await client.get(f"/booking-batches/{batch}/documents")
    zpl = await client.get(f"/booking-batches/{batch}/documents?format=zpl")

    assert merged.headers["Content-Type"] == "application/pdf"
    assert f'filename="labels-{batch}.pdf"' in merged.headers["Content-Disposition"]
    assert read_barcodes(merged.content) == codes
    assert zpl.headers["Content-Type"] == "application/zpl"
    assert zpl.content.count(b"^XA") == len(codes)
    places = [zpl.content.index(code.encode()) for code in codes]
    assert places == sorted(places)


async def test_of_a_line_that_two_shipments_have_no_label_is_left_out(
    client: Client, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(document_operations, "BLOCK", 2)
    batch = await make_batch(db, team=client.team, state=BatchState.COMPLETED)
    codes = [f"T-{n}" for n in range(1, 5)]
    made = [await make_booked(client, db, batch, codes=(code,)) for code in codes]
    async with db.transaction() as connection:
        # As a file and a shipment added to it once could share one.
        await connection.execute(
            "UPDATE item_data SET position = 2 WHERE item_id = ANY (%s)", (made[1:3],)
        )

    merged = await client.get(f"/booking-batches/{batch}/documents")

    assert sorted(read_barcodes(merged.content)) == codes


async def test_chosen_shipments_alone_are_merged(client: Client, db: Database) -> None:
    batch = await make_batch(db, team=client.team, state=BatchState.COMPLETED)
    made = [await make_booked(client, db, batch, codes=(f"T-{n}",)) for n in range(4)]

    merged = await client.get(
        f"/booking-batches/{batch}/documents",
        params={"shipment": [str(made[3]), str(made[1])]},
    )

    assert read_barcodes(merged.content) == ["T-1", "T-3"]


async def test_chosen_shipments_without_a_label_are_named(client: Client, db: Database) -> None:
    batch = await make_batch(db, team=client.team, state=BatchState.RUNNING)
    booked = await make_booked(client, db, batch)
    [open_one] = await make_items(db, team=client.team, batch_id=batch, payload=make_shipment())
    [other] = await make_items(
        db, team=client.team, batch_id=await make_batch(db, team=client.team)
    )

    answer = await client.get(
        f"/booking-batches/{batch}/documents",
        params={"shipment": [str(booked), str(open_one), str(other)]},
    )

    assert answer.status_code == 422
    assert answer.json()["errors"] == {
        "shipment.1": ["There is no label for this shipment yet."],
        "shipment.2": ["The batch has no such shipment."],
    }


async def test_a_shipment_without_a_label_is_not_left_out_in_silence(
    client: Client, db: Database
) -> None:
    batch = await make_batch(db, team=client.team, state=BatchState.COMPLETED)
    bare = await make_booked(client, db, batch, codes=("x" * 61,))
    pdf = Document(kind="label", format="pdf", content=carriers_label("C-2"))
    only_pdf = await make_booked(client, db, batch, pdf, codes=("",))
    path = f"/booking-batches/{batch}/documents"

    merged = await client.get(path)
    zpl = await client.get(path, params={"format": "zpl"})
    chosen = await client.get(path, params={"shipment": [str(only_pdf), str(bare)]})
    chosen_zpl = await client.get(path, params={"format": "zpl", "shipment": str(only_pdf)})

    first, second = page_texts(merged.content)
    assert "There is no label" in first
    assert "(order-1001)" in first
    assert "There is no label" not in second
    assert read_barcodes(merged.content) == ["C-2"]
    assert zpl.content.count(b"^XA") == zpl.content.count(b"There is no label") == 2
    for answer, place in ((chosen, "shipment.1"), (chosen_zpl, "shipment.0")):
        assert answer.status_code == 422
        assert answer.json()["errors"] == {place: ["There is no label for this shipment yet."]}


async def test_a_batch_without_labels_says_so(client: Client) -> None:
    batch = await client.make_batch()

    answer = await client.get(f"/booking-batches/{batch}/documents")

    assert answer.status_code == 422
    assert answer.json()["errors"] == {"shipments": ["There are no labels yet."]}


@pytest.mark.parametrize(
    "accept, status, media_type",
    [
        ("*/*", 200, "application/pdf"),
        ("application/pdf", 200, "application/pdf"),
        ("application/zpl", 200, "application/zpl"),
        ("application/pdf;q=0, application/zpl", 200, "application/zpl"),
        ("text/html, application/*;q=0.1", 200, "application/pdf"),
        ("application/zpl, */*;q=0.1", 200, "application/zpl"),
        ("application/zpl;q=0.8, application/pdf;q=0.9", 200, "application/pdf"),
        ("application/zpl;q=0.5, application/pdf ; Q=0.500", 200, "application/pdf"),
        ("application/pdf;q=0.0, */*", 200, "application/zpl"),
        ("application/pdf;q=x, application/zpl;q=0.1", 200, "application/zpl"),
        ("application/pdf;q=0.000", 406, "application/json"),
        ("application/json", 406, "application/json"),
        ("*/*;q=0", 406, "application/json"),
    ],
)
async def test_the_accepted_format_is_sent(
    client: Client, db: Database, accept: str, status: int, media_type: str
) -> None:
    batch = await make_batch(db, team=client.team, state=BatchState.COMPLETED)
    await make_booked(client, db, batch)

    answer = await client.get(f"/booking-batches/{batch}/documents", headers={"Accept": accept})

    assert (answer.status_code, answer.headers["Content-Type"]) == (status, media_type)


async def test_a_broken_label_does_not_spoil_the_others(client: Client, db: Database) -> None:
    batch = await make_batch(db, team=client.team, state=BatchState.COMPLETED)
    for content in (b"%PDF-1.4 broken", carriers_label("GOOD"), b"", PNG):
        broken = Document(kind="label", format="pdf", content=content, parcel=1)
        await make_booked(client, db, batch, broken)

    merged = await client.get(f"/booking-batches/{batch}/documents")

    assert page_count(merged.content) == 4
    assert read_barcodes(merged.content) == ["GOOD"]
    assert ["cannot be read" in text for text in page_texts(merged.content)] == [
        True,
        False,
        True,
        True,
    ]


async def test_a_label_whose_file_is_gone_does_not_spoil_the_others(
    client: Client, db: Database, tmp_path: Path
) -> None:
    batch = await make_batch(db, team=client.team, state=BatchState.COMPLETED)
    for name in ("gone", "kept"):
        (tmp_path / name).write_bytes(carriers_label(name.upper()))
        place = f"file://{tmp_path}/{name}"
        for label in (
            Document(kind="label", format="pdf", content=b"", location=place),
            Document(kind="label", format="zpl", content=b"", location=place),
        ):
            await make_booked(client, db, batch, label)
    (tmp_path / "gone").unlink()
    path = f"/booking-batches/{batch}/documents"

    merged = await client.get(path)
    zpl = await client.get(path, params={"format": "zpl"})
    shutil.rmtree(tmp_path)
    unreachable = await client.get(path)

    assert ["is gone" in text for text in page_texts(merged.content)].count(True) == 1
    assert "KEPT" in read_barcodes(merged.content)
    assert zpl.content.count(b"from where it was kept") == 1
    assert unreachable.status_code == 500


async def test_labels_are_kept_in_a_directory_by_setting(
    db: Database, client: Client, tmp_path: Path
) -> None:
    store = f"file://{tmp_path}/labels"
    batch = await client.make_batch()
    await client.add(batch, make_shipment(), make_shipment())
    await client.post(f"/booking-batches/{batch}/dispatch")
    door: FastAPI = build_door(Config(document_store=store), db)

    async def has_ended() -> bool:
        read = await client.get(f"/booking-batches/{batch}")
        return bool(read.json()["data"]["finished_at"])

    async with working(db, document_store=store):
        await until(has_ended)
    async with open_client(door, db, team=client.team) as other:
        merged = await other.get(f"/booking-batches/{batch}/documents")

    assert page_count(merged.content) == 2
    assert kept_sizes(tmp_path / "labels") == [True, True]
    # Whoever opens the door with another setting still finds what was kept.
    assert (await client.get(f"/booking-batches/{batch}/documents")).content == merged.content
    async with db.pool.connection() as connection:
        row = await (
            await connection.execute("SELECT count(*) FROM documents WHERE content IS NOT NULL")
        ).fetchone()
    assert row == (0,)


async def test_a_shipment_waits_for_its_label_to_be_kept(
    db: Database, client: Client, tmp_path: Path
) -> None:
    folder = tmp_path / "labels"
    folder.write_text("in the way")
    batch = await client.make_batch()
    await client.add(batch, make_shipment())
    await client.post(f"/booking-batches/{batch}/dispatch")

    async def count(state: str) -> int:
        listed = await client.get(f"/booking-batches/{batch}/shipments?state={state}")
        return int(listed.json()["meta"]["total"])

    async def is_processing() -> bool:
        return await count("processing") == 1

    async def is_booked() -> bool:
        return await count("booked") == 1

    async with working(db, document_store=f"file://{folder}"):
        await until(is_processing)
        await asyncio.sleep(0.3)
        assert await count("booked") == 0
        folder.unlink()
        await until(is_booked)
    assert kept_sizes(folder) == [True]

"""Results as files: what is in them, that spreadsheets show them whole, that they can be proven."""

import csv
import hashlib
import io
import json
import zipfile
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from psycopg.types.json import Jsonb

from batchyard.config import Config
from batchyard.errors import StoreError
from batchyard.models import BatchState, Kind, Phase
from batchyard.operations import evidence, results
from batchyard.store import events
from batchyard.store.files import FileStore
from batchyard.store.ids import new_id
from tests import factories
from tests.api.operator.conftest import Client, Clients


async def ended_batch(client: Client, *, state: BatchState = BatchState.COMPLETED) -> UUID:
    """Make an ended batch of three calls: one answered, one failed, one never made."""
    batch_id = await factories.make_batch(client.db, team=client.team, kind=Kind.CALL, state=state)
    for status, number, result in (
        ("completed", "+4520000001", {"duration": 12, "extracted": {"mood": "good, mostly"}}),
        ("failed", "+4520000002", {"note": "=1+1"}),
        ("stopped", None, None),
    ):
        [item_id] = await factories.make_items(
            client.db,
            team=client.team,
            batch_id=batch_id,
            phase=Phase.DONE,
            status=status,
            number=number,
        )
        async with client.db.transaction() as conn:
            await conn.execute(
                "UPDATE item_data SET result = %s WHERE item_id = %s",
                (None if result is None else Jsonb(result), item_id),
            )
    return batch_id


async def refuse(client: Client, batch_id: UUID, *rows: list[str]) -> None:
    """Write refused rows of a file with three columns."""
    async with client.db.transaction() as conn:
        await conn.execute(
            "UPDATE batches SET columns = %s WHERE id = %s", (["name", "name", "phone"], batch_id)
        )
        for line, cells in enumerate(rows, 2):
            await conn.execute(
                "INSERT INTO rejected_rows (batch_id, line, code, reason, cells)"
                " VALUES (%s, %s, 'number_invalid', 'No number.', %s)",
                (batch_id, line, Jsonb(cells)),
            )


def read_csv(answer: httpx.Response) -> list[dict[str, str]]:
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))


async def test_results_are_a_csv_with_a_column_for_each_result(client: Client) -> None:
    batch_id = await ended_batch(client)
    answer = await client.get(f"/batches/{batch_id}/results.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = read_csv(answer)
    assert [row["status"] for row in rows] == ["completed", "failed", "stopped"]
    assert [row["number"] for row in rows] == ["+4520000001", "+4520000002", ""]
    assert rows[0]["result.extracted.mood"] == "good, mostly"
    assert rows[0]["result.duration"] == "12"
    assert rows[1]["result.note"] == "'=1+1", "no spreadsheet may take it for a formula"


async def test_exact_results_are_for_programs(client: Client) -> None:
    batch_id = await ended_batch(client)
    rows = read_csv(await client.get(f"/batches/{batch_id}/results.csv", exact=True))
    assert rows[1]["result.note"] == "=1+1"


async def test_results_are_lines_of_json(client: Client) -> None:
    batch_id = await ended_batch(client)
    answer = await client.get(f"/batches/{batch_id}/results.ndjson")
    items = [json.loads(line) for line in answer.text.splitlines()]
    assert [item["line"] for item in items] == [1, 2, 3]
    assert items[0]["result"]["extracted"] == {"mood": "good, mostly"}
    assert items[2]["attempts"] == []


async def test_results_are_whole_over_many_blocks(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "BLOCK", 2)
    monkeypatch.setattr(results, "KEYS_BLOCK", 2)
    batch_id = await factories.make_batch(client.db, team=client.team)
    await factories.make_items(client.db, team=client.team, batch_id=batch_id, n=5)
    rows = read_csv(await client.get(f"/batches/{batch_id}/results.csv"))
    assert [row["line"] for row in rows] == ["1", "2", "3", "4", "5"]


async def test_refused_rows_come_in_their_own_columns(client: Client) -> None:
    batch_id = await ended_batch(client)
    await refuse(client, batch_id, ["Ann", "Berg", "+45"], ["Bo", "Dahl", "12", "beyond"])
    answer = await client.get(f"/batches/{batch_id}/rejected.csv")
    header, *rows = csv.reader(io.StringIO(answer.content.decode("utf-8-sig")))
    assert header == [
        "name",
        "name",
        "phone",
        "error_code",
        "error",
        "error_line",
        "item_id",
    ]
    fault = ["number_invalid", "No number."]
    assert rows == [
        ["Ann", "Berg", "+45", *fault, "2", ""],
        ["Bo", "Dahl", "12", *fault, "3", "", "beyond"],
    ]


async def test_evidence_proves_each_of_its_files(client: Client) -> None:
    batch_id = await ended_batch(client)
    await refuse(client, batch_id, ["Ann", "Berg", "+45"])
    label = b"%PDF-1.4 a label"
    async with client.db.transaction() as conn:
        await events.write(
            conn,
            team_id=client.team.id,
            type_="batch.completed",
            batch_id=batch_id,
            now=client.db.clock(),
        )
        await conn.execute(
            "INSERT INTO documents (id, item_id, kind, format, parcel, content, created_at)"
            " SELECT %s, item_id, 'label', 'pdf', 1, %s, created_at FROM item_data"
            " WHERE batch_id = %s AND position = 1",
            (new_id(), label, batch_id),
        )
    answer = await client.get(f"/batches/{batch_id}/evidence.zip")
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        manifest = json.loads(archive.read("manifest.json"))
        named = {file["name"]: file["sha256"] for file in manifest["files"]}
        assert set(named) == set(archive.namelist()) - {"manifest.json"}
        for name, digest in named.items():
            assert hashlib.sha256(archive.read(name)).hexdigest() == digest
        [document] = [name for name in named if name.startswith("documents/1-label-1-")]
        assert archive.read(document) == label
        told = [json.loads(line) for line in archive.read("events.ndjson").splitlines()]
        assert "batch.completed" in {event["type"] for event in told}
        assert len(archive.read("results.ndjson").splitlines()) == 3
        assert b"Ann,Berg" in archive.read("rejected.csv")
    assert (manifest["batch"]["id"], manifest["missing"]) == (str(batch_id), [])


async def keep_outside(client: Client, batch_id: UUID, *locations: str) -> None:
    """Let the first item of a batch have documents that are kept there."""
    async with client.db.transaction() as conn:
        for parcel, location in enumerate(locations, 1):
            await conn.execute(
                "INSERT INTO documents (id, item_id, kind, format, parcel, location, created_at)"
                " SELECT %s, item_id, 'label', 'pdf', %s, %s, created_at FROM item_data"
                " WHERE batch_id = %s AND position = 1",
                (new_id(), parcel, location, batch_id),
            )


async def test_evidence_says_which_documents_are_missing_and_why(
    client: Client, tmp_path: Path
) -> None:
    batch_id = await ended_batch(client)
    (tmp_path / "kept.pdf").write_bytes(b"%PDF-1.4 a label")
    (tmp_path / "broken.pdf").mkdir()
    names = ("gone.pdf", "broken.pdf", "kept.pdf")
    await keep_outside(client, batch_id, *(f"file://{tmp_path}/{name}" for name in names))

    answer = await client.get(f"/batches/{batch_id}/evidence.zip")

    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        named = {file["name"]: file["sha256"] for file in manifest["files"]}
        assert set(named) == set(archive.namelist()) - {"manifest.json"}
        for name, digest in named.items():
            assert hashlib.sha256(archive.read(name)).hexdigest() == digest
        gone, broken = manifest["missing"]
        assert (gone["reason"], broken["reason"]) == (evidence.GONE, evidence.UNREAD)
        assert gone["name"].startswith("documents/1-label-1-")
        assert broken["name"].startswith("documents/1-label-2-")
        for one in (gone, broken):
            assert one["name"] not in named
            assert archive.read(f"{one['name']}.missing.txt").decode().strip() == one["reason"]
        [kept] = [name for name in named if name.startswith("documents/1-label-3-")]
        assert archive.read(kept) == b"%PDF-1.4 a label"
    assert str(tmp_path) not in json.dumps(manifest), "where files are kept is nobody's business"


@pytest.mark.parametrize("n", [1, 2, evidence.AWAY_AFTER])
async def test_evidence_lacks_nothing_because_a_place_is_away(
    client: Client, tmp_path: Path, n: int
) -> None:
    batch_id = await ended_batch(client)
    await keep_outside(
        client, batch_id, *(f"file://{tmp_path}/not mounted/{one}.pdf" for one in range(n))
    )
    with pytest.raises(StoreError, match="cannot be read"):
        await render_evidence(client, batch_id)


async def render_evidence(client: Client, batch_id: UUID) -> bytes:
    batch = await results.find_batch(client.db, team=client.team, batch_id=batch_id)
    parts = evidence.render_evidence(client.db, FileStore(Config()), batch, team=client.team)
    return b"".join([part async for part in parts])


async def test_evidence_is_made_where_the_last_file_alone_cannot_be_read(
    client: Client, tmp_path: Path
) -> None:
    batch_id = await ended_batch(client)
    (tmp_path / "kept.pdf").write_bytes(b"%PDF-1.4 a label")
    (tmp_path / "broken.pdf").mkdir()
    await keep_outside(
        client, batch_id, *(f"file://{tmp_path}/{name}.pdf" for name in ("kept", "broken"))
    )
    with zipfile.ZipFile(io.BytesIO(await render_evidence(client, batch_id))) as archive:
        [broken] = json.loads(archive.read("manifest.json"))["missing"]
    assert broken["reason"] == evidence.UNREAD


async def test_evidence_lacks_nothing_because_a_place_went_away_before_the_last_file(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = await ended_batch(client)
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    for name in ("first", "last"):
        (mounted / f"{name}.pdf").write_bytes(b"%PDF-1.4 a label")
    await keep_outside(
        client, batch_id, *(f"file://{mounted}/{name}.pdf" for name in ("first", "last"))
    )
    fetch = FileStore.fetch

    async def unmount_after(files: FileStore, location: str) -> bytes:
        content = await fetch(files, location)
        mounted.rename(tmp_path / "elsewhere")
        return content

    monkeypatch.setattr(FileStore, "fetch", unmount_after)
    with pytest.raises(StoreError, match="cannot be read"):
        await render_evidence(client, batch_id)


async def test_evidence_lacks_nothing_because_an_earlier_place_is_away(
    client: Client, tmp_path: Path
) -> None:
    """The files were kept elsewhere before; the last of all is where they are kept now."""
    batch_id = await ended_batch(client)
    (tmp_path / "new" / "aa").mkdir(parents=True)
    (tmp_path / "new" / "aa" / "kept.pdf").write_bytes(b"%PDF-1.4 a label")
    await keep_outside(
        client,
        batch_id,
        f"file://{tmp_path}/not mounted/aa/old.pdf",
        f"file://{tmp_path}/new/aa/kept.pdf",
    )
    with pytest.raises(StoreError, match="cannot be read"):
        await render_evidence(client, batch_id)


async def test_evidence_waits_for_the_end(client: Client) -> None:
    batch_id = await ended_batch(client, state=BatchState.RUNNING)
    answer = await client.get(f"/batches/{batch_id}/evidence.zip")
    assert answer.status_code == 409
    assert answer.json()["detail"] == "The batch has not ended; it is running."


@pytest.mark.parametrize(
    "state,phase,status,told",
    [
        (BatchState.STOPPED, Phase.LIVE, "ringing", 409),
        (BatchState.STOPPED, Phase.READY, "waiting", 409),
        (BatchState.STOPPED, Phase.UNKNOWN, "unknown", 200),
        (BatchState.CANCELLED, Phase.READY, "waiting", 409),
        (BatchState.CANCELLED, Phase.UNKNOWN, "unknown", 200),
    ],
)
async def test_evidence_of_a_batch_that_was_ended_waits_for_what_has_not(
    client: Client, state: BatchState, phase: Phase, status: str, told: int
) -> None:
    batch_id = await ended_batch(client, state=state)
    await factories.make_items(
        client.db, team=client.team, batch_id=batch_id, phase=phase, status=status
    )
    answer = await client.get(f"/batches/{batch_id}/evidence.zip")
    assert answer.status_code == told, answer.text


async def test_evidence_of_a_cancelled_batch_has_what_was_never_sent(client: Client) -> None:
    batch_id = await factories.make_batch(client.db, team=client.team, kind=Kind.CALL)
    [item_id] = await factories.make_items(client.db, team=client.team, batch_id=batch_id)
    assert (await client.post(f"/batches/{batch_id}/cancel")).status_code == 204
    answer = await client.get(f"/batches/{batch_id}/evidence.zip")
    assert answer.status_code == 200
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        [line] = archive.read("results.ndjson").splitlines()
    result = json.loads(line)
    assert (result["id"], result["status"]) == (str(item_id), "canceled")


async def test_labels_of_a_batch_come_as_one_file(client: Client) -> None:
    batch_id = await factories.make_batch(client.db, team=client.team, state=BatchState.COMPLETED)
    assert (await client.get(f"/batches/{batch_id}/labels.pdf")).status_code == 404
    [item_id] = await factories.make_items(
        client.db, team=client.team, batch_id=batch_id, phase=Phase.DONE, status="booked"
    )
    async with client.db.transaction() as conn:
        await conn.execute(
            "INSERT INTO documents (id, item_id, kind, format, content, created_at)"
            " VALUES (%s, %s, 'label', 'pdf', '%%PDF-', %s)",
            (new_id(), item_id, client.db.clock()),
        )
    answer = await client.get(f"/batches/{batch_id}/labels.pdf")
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.content.startswith(b"%PDF-")


@pytest.mark.parametrize(
    "name", ["results.csv", "results.ndjson", "rejected.csv", "labels.pdf", "evidence.zip"]
)
async def test_results_of_another_team_are_not_found(clients: Clients, name: str) -> None:
    owner = await clients.of(await factories.make_team(clients.db))
    batch_id = await ended_batch(owner)
    other = await clients.of(await factories.make_team(clients.db))
    assert (await other.get(f"/batches/{batch_id}/{name}")).status_code == 404


async def test_a_keyed_post_is_done_once(client: Client) -> None:
    batch_id = await factories.make_batch(client.db, team=client.team)
    await factories.make_items(client.db, team=client.team, batch_id=batch_id)
    path, headers = f"/api/v1/batches/{batch_id}", {"Idempotency-Key": "dispatch-of-today"}
    first = await client.http.post(f"{path}/dispatch", headers=headers)
    again = await client.http.post(f"{path}/dispatch", headers=headers)
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    other = await client.http.post(f"{path}/pause", headers=headers)
    assert other.status_code == 422
    assert (await client.post(f"/batches/{batch_id}/dispatch")).status_code == 409

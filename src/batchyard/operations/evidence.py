"""The evidence of an ended batch: one zip of all there is, with the digest of each file."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from io import RawIOBase
from typing import IO
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import orjson

from batchyard.errors import Conflict
from batchyard.intake.files import Format
from batchyard.models import BatchState, Team
from batchyard.operations.mends import open_mend_file
from batchyard.operations.results import render_events, render_ndjson
from batchyard.store import documents, results
from batchyard.store.db import Database
from batchyard.store.files import FileStore
from batchyard.store.results import FIRST, ListedDocument, ResultBatch

ENDED = (BatchState.COMPLETED, BatchState.FAILED, BatchState.STOPPED, BatchState.CANCELLED)
BLOCK = 500
"""Items whose documents are looked up together."""
AT_ONCE = 16
"""Documents in memory together."""


def check_ended(batch: ResultBatch) -> None:
    """Raise `Conflict` for a batch of which more may still become true."""
    if batch.state not in ENDED:
        raise Conflict(f"The batch has not ended; it is {batch.state}.", state=batch.state)
    # What a cancelled batch has was never to be sent, and stays as it is.
    if batch.open_items and batch.state != BatchState.CANCELLED:
        raise Conflict(
            f"The batch is {batch.state}, but {batch.open_items} of its items have not ended.",
            state=batch.state,
        )


async def render_evidence(
    db: Database, files: FileStore, batch: ResultBatch, *, team: Team
) -> AsyncIterator[bytes]:
    """Write the zip as it is read: results, refused rows, events, documents, the manifest last."""
    archive = Archive(at=db.clock())
    rejected = await open_mend_file(
        db, team=team, batch_id=batch.id, format_=Format.CSV, with_failed=False
    )
    for name, parts in (
        ("results.ndjson", render_ndjson(db, batch)),
        ("rejected.csv", rejected.content),
        ("events.ndjson", render_events(db, batch)),
    ):
        async for written in archive.add(name, parts):
            yield written
    async for block in _documents(db, batch):
        for some in _slices(block):
            async for written in _add_documents(db, files, archive, some):
                yield written
    manifest = {
        "batch": {
            "id": batch.id,
            "kind": batch.kind,
            "state": batch.state,
            "file_name": batch.file_name,
            "reference": batch.reference,
            "created_at": batch.created_at,
            "finished_at": batch.finished_at,
        },
        "made_at": db.clock(),
        "files": archive.manifest,
    }
    async for written in archive.add(
        "manifest.json", _once(orjson.dumps(manifest, option=orjson.OPT_INDENT_2))
    ):
        yield written
    yield archive.finish()


class Archive:
    """A zip that is written to the end of a stream, never back; compressed beside the loop."""

    def __init__(self, *, at: datetime) -> None:
        self.manifest: list[dict[str, object]] = []
        self._sink = _Sink()
        self._zip = ZipFile(self._sink, "w", ZIP_DEFLATED)
        self._at = at

    async def add(self, name: str, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield what a file adds to the zip, while its parts come."""
        info = ZipInfo(name, date_time=self._at.timetuple()[:6])
        info.compress_type = ZIP_DEFLATED
        digest, size = hashlib.sha256(), 0
        with self._zip.open(info, "w", force_zip64=True) as entry:
            async for part in parts:
                size += len(part)
                await asyncio.to_thread(_write, entry, digest, part)
                yield self._sink.take()
        yield self._sink.take()
        self.manifest.append({"name": name, "bytes": size, "sha256": digest.hexdigest()})

    def finish(self) -> bytes:
        """Return the end of the zip."""
        self._zip.close()
        return self._sink.take()


class _Sink(RawIOBase):
    """Takes what the zip writes, until it is sent."""

    def __init__(self) -> None:
        self._written = bytearray()

    def writable(self) -> bool:
        """Say yes; it cannot be searched, so the zip never goes back."""
        return True

    def write(self, data: object) -> int:
        """Take bytes."""
        part = bytes(memoryview(data))  # type: ignore[arg-type]  # whatever is like bytes
        self._written += part
        return len(part)

    def take(self) -> bytes:
        """Return what was written since."""
        written = bytes(self._written)
        self._written.clear()
        return written


def _write(entry: IO[bytes], digest: "hashlib._Hash", part: bytes) -> None:
    digest.update(part)
    entry.write(part)


async def _documents(db: Database, batch: ResultBatch) -> AsyncIterator[list[ListedDocument]]:
    after = FIRST
    while True:
        async with db.pool.connection() as conn:
            items = await results.list_items(conn, batch_id=batch.id, after=after, limit=BLOCK)
            found = await results.list_documents(conn, batch_id=batch.id, after=after, limit=BLOCK)
        if not items:
            return
        yield found
        after = (items[-1].position, items[-1].item_id)


def _slices(block: list[ListedDocument]) -> Iterator[list[ListedDocument]]:
    return (block[start : start + AT_ONCE] for start in range(0, len(block), AT_ONCE))


async def _add_documents(
    db: Database, files: FileStore, archive: Archive, some: list[ListedDocument]
) -> AsyncIterator[bytes]:
    async with db.pool.connection() as conn:
        stored = await documents.read_many(conn, document_ids=[one.id for one in some])
    by_id = {one.id: one for one in stored}
    for one in some:
        found = by_id.get(one.id)
        if found is None:
            continue
        content = found.content
        if content is None:
            content = await files.fetch(found.location or "")
        parcel = "" if one.parcel is None else f"-{one.parcel}"
        name = f"documents/{one.position}-{one.kind}{parcel}-{one.id}.{one.format}"
        async for written in archive.add(name, _once(content)):
            yield written


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content

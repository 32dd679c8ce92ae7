"""The evidence of an ended batch: one zip of all there is, with the digest of each file."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from datetime import datetime
from io import RawIOBase
from typing import IO
from urllib.parse import urlsplit
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import orjson
import structlog

from batchyard.errors import Conflict, ContentMissing, StoreError
from batchyard.intake.files import Format
from batchyard.models import BatchState, Team
from batchyard.operations.mends import open_mend_file
from batchyard.operations.results import render_events, render_ndjson
from batchyard.store import documents, results
from batchyard.store.db import Database
from batchyard.store.documents import StoredDocument
from batchyard.store.files import FileStore
from batchyard.store.results import FIRST, ListedDocument, ResultBatch

ENDED = (BatchState.COMPLETED, BatchState.FAILED, BatchState.STOPPED, BatchState.CANCELLED)
BLOCK = 500
"""Items whose documents are looked up together."""
AT_ONCE = 16
"""Documents in memory together."""
AWAY_AFTER = 3
"""So many that cannot be read, one after the other, mean that their place is away; fewer do where
nothing of it could be read since. Then there is no evidence: later it may have them all."""

GONE = "Its file is gone from where it was kept."
UNREAD = "Its file could not be read when this was made."

log = structlog.get_logger("batchyard.evidence")


def is_final(state: BatchState, *, open_items: int) -> bool:
    """Tell whether nothing more becomes true of a batch, so that there is evidence of it."""
    return state in ENDED and not open_items


def check_ended(batch: ResultBatch) -> None:
    """Raise `Conflict` for a batch of which more may still become true."""
    if is_final(batch.state, open_items=batch.open_items):
        return
    if batch.state not in ENDED:
        raise Conflict(f"The batch has not ended; it is {batch.state}.", state=batch.state)
    raise Conflict(
        f"The batch is {batch.state}, but {batch.open_items} of its items have not ended.",
        state=batch.state,
    )


async def render_evidence(
    db: Database, files: FileStore, batch: ResultBatch, *, team: Team
) -> AsyncIterator[bytes]:
    """Write the zip as it is read: results, refused rows, events, documents, the manifest last.

    In place of a document whose file is not there stands why; the manifest names it as missing.
    Raises `StoreError` where the place of such files is away.
    """
    archive, shelf = Archive(at=db.clock()), _Shelf(files)
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
            async for written in _add_documents(db, shelf, archive, some):
                yield written
    await shelf.close()
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
        "missing": archive.missing,
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
        self.missing: list[dict[str, object]] = []
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

    async def add_missing(self, name: str, *, reason: str) -> AsyncIterator[bytes]:
        """Say in the place of a file why it is not there."""
        self.missing.append({"name": name, "reason": reason})
        async for written in self.add(f"{name}.missing.txt", _once(f"{reason}\n".encode())):
            yield written

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

    def flush(self) -> None:
        """Hold nothing back; a zip that was broken off says so when this is closed already."""

    def take(self) -> bytes:
        """Return what was written since."""
        written = bytes(self._written)
        self._written.clear()
        return written


def _write(entry: IO[bytes], digest: "hashlib._Hash", part: bytes) -> None:
    digest.update(part)
    entry.write(part)


class _Shelf:
    """Fetches what documents hold; knows a file that is not there from a place that is away."""

    def __init__(self, files: FileStore) -> None:
        self._files = files
        self._unread: dict[str, list[StoreError]] = {}
        """By place, what was heard of it since it answered last."""
        self._known: dict[str, str] = {}
        """By place, what it answered about last."""

    async def fetch(self, document: StoredDocument) -> bytes | str:
        """Return a content, or why it is missing; raise `StoreError` where its place is away."""
        if document.content is not None:
            return document.content
        location = document.location or ""
        place = _place_of(location)
        found: bytes | str
        try:
            found = await self._files.fetch(location)
        except ContentMissing as error:
            log.warning("document.missing", item=str(document.item_id), error=error.message)
            found = GONE
        except StoreError as error:
            unread = self._unread.setdefault(place, [])
            unread.append(error)
            if len(unread) == AWAY_AFTER:
                raise
            log.warning("document.unread", item=str(document.item_id), error=error.message)
            return UNREAD
        self._unread.pop(place, None)
        self._known[place] = location
        return found

    async def close(self) -> None:
        """Raise `StoreError` where what could not be read last was so because its place is away.

        A place that answered before is asked for the same once more; one that never did is away.
        """
        for place, errors in self._unread.items():
            known = self._known.get(place)
            if known is None:
                raise errors[-1]
            with suppress(ContentMissing):
                await self._files.fetch(known)


def _place_of(location: str) -> str:
    """Name the directory tree or the bucket that a content is kept in."""
    parts = urlsplit(location)
    if parts.scheme == "file":
        # Its tree has a folder for each beginning of a name.
        return location.rsplit("/", 2)[0]
    return f"{parts.scheme}://{parts.netloc}"


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
    db: Database, shelf: _Shelf, archive: Archive, some: list[ListedDocument]
) -> AsyncIterator[bytes]:
    async with db.pool.connection() as conn:
        stored = await documents.read_many(conn, document_ids=[one.id for one in some])
    by_id = {one.id: one for one in stored}
    for one in some:
        found = by_id.get(one.id)
        if found is None:
            continue
        parcel = "" if one.parcel is None else f"-{one.parcel}"
        name = f"documents/{one.position}-{one.kind}{parcel}-{one.id}.{one.format}"
        content = await shelf.fetch(found)
        adding = (
            archive.add_missing(name, reason=content)
            if isinstance(content, str)
            else archive.add(name, _once(content))
        )
        async for written in adding:
            yield written


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content

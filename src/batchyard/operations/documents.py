"""Documents of shipments: what there is, by signed addresses, and all labels of a batch in one."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog

from batchyard.errors import ContentMissing, Forbidden, NotFound
from batchyard.models import Team
from batchyard.operations.labels import (
    SHOWN_AS,
    Joiner,
    NoLabel,
    OwnLabel,
    missing_labels,
    print_label,
    print_sentence,
    show_picture,
)
from batchyard.operations.links import Link, read_link
from batchyard.store import documents, installation
from batchyard.store.db import Database
from batchyard.store.documents import BookedItem, StoredDocument
from batchyard.store.files import FileStore
from batchyard.store.results import FIRST

log = structlog.get_logger("batchyard.documents")

KINDS = ("label", "customs")
FORMATS = ("pdf", "zpl")

BLOCK = 100
"""Shipments that are looked at together."""
PART_BYTES = 2 * 1024 * 1024
"""About so much of stored labels is in memory together."""
OWN_LABEL_BYTES = 20_000
"""About what a label of ours, or one kept outside the database, takes."""

GONE = "The label of this parcel is gone from where it was kept."

Labels = Sequence[StoredDocument | OwnLabel]
Page = StoredDocument | OwnLabel | NoLabel


@dataclass(frozen=True, kw_only=True, slots=True)
class Paper:
    """A document that a client can fetch."""

    id: UUID
    kind: str
    format: str
    link: Link


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """A document as it is sent."""

    name: str
    format: str
    content: bytes


async def document_key(db: Database) -> bytes:
    """Return the key by which links to documents are signed."""
    async with db.transaction() as conn:
        return await installation.ensure_document_key(conn)


async def list_papers(db: Database, *, team: Team, shipment_id: UUID) -> list[Paper]:
    """List the documents of a shipment; labels that its carrier did not give are printed by us.

    Raises `NotFound`.
    """
    async with db.pool.connection() as conn:
        item = await documents.read_item(conn, item_id=shipment_id, team_id=team.id)
        if item is None:
            raise NotFound("There is no such shipment.")
        stored = await documents.list_of_items(
            conn, item_ids=[shipment_id], kinds=KINDS, formats=tuple(SHOWN_AS)
        )
    papers = [
        Paper(id=one.id, kind=one.kind, format=SHOWN_AS[one.format], link=Link.to_stored(one.id))
        for one in stored
    ]
    return papers + [
        Paper(id=own.id, kind="label", format=own.format, link=Link.to_own(own))
        for format_ in FORMATS
        for own in missing_labels(item, stored, format_=format_)
    ]


async def open_link(db: Database, files: FileStore, *, key: bytes, token: str) -> Content:
    """Return what a signed link leads to; raise `NotFound`, and `Forbidden` once it has expired."""
    signed = read_link(key, token)
    if signed is None:
        raise NotFound("There is no such document.")
    if signed.expires_at <= db.clock():
        raise Forbidden("The link has expired.")
    link = signed.link
    if link.own_format is not None:
        return await _open_own(db, link)
    async with db.pool.connection() as conn:
        stored = await documents.read(conn, document_id=link.id)
    if stored is None:
        raise NotFound("There is no such document.")
    return Content(
        name=f"{stored.kind}-{stored.parcel or 1}",
        format=SHOWN_AS[stored.format],
        content=await _fetch(files, stored),
    )


async def _open_own(db: Database, link: Link) -> Content:
    async with db.pool.connection() as conn:
        item = await documents.read_item(conn, item_id=link.id, team_id=None)
    own_labels = missing_labels(item, (), format_=str(link.own_format)) if item else ()
    for own in own_labels:
        if own.parcel == link.parcel:
            printed = await asyncio.to_thread(print_label, own)
            return Content(name=f"label-{own.parcel}", format=own.format, content=printed)
    raise NotFound("There is no such document.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Misfits:
    """Chosen shipments that have no place in a merged file, by their place in the choice."""

    unknown: Sequence[int]
    unlabelled: Sequence[int]


async def find_misfits(
    db: Database, *, team: Team, batch_id: UUID, format_: str, chosen: Sequence[UUID]
) -> Misfits:
    """Tell which of these shipments are not in the batch, and which have no label."""
    async with db.pool.connection() as conn:
        members = await documents.list_members(conn, team_id=team.id, batch_id=batch_id, ids=chosen)
    blocks = _list_labels(db, team=team, batch_id=batch_id, format_=format_, chosen=chosen)
    labelled = {item.id async for block in blocks for item, labels in block if labels}
    bare = members - labelled
    return Misfits(
        unknown=[index for index, one in enumerate(chosen) if one not in members],
        unlabelled=[index for index, one in enumerate(chosen) if one in bare],
    )


async def join_labels(
    db: Database,
    files: FileStore,
    *,
    team: Team,
    batch_id: UUID,
    format_: str,
    chosen: Sequence[UUID] | None,
) -> AsyncIterator[bytes]:
    """Yield one file of all labels of a batch, in its order; nothing where nothing is booked.

    A booked shipment without a label has a page that says so. No connection is held while a part
    is printed or sent.
    """
    joiner = Joiner(format_)
    blocks = _list_labels(db, team=team, batch_id=batch_id, format_=format_, chosen=chosen)
    async for block in blocks:
        for part in _parts(block):
            contents = await _fetch_all(db, files, part)
            if joined := await asyncio.to_thread(_join, joiner, part, contents):
                yield joined
    if end := joiner.finish():
        yield end


async def _list_labels(
    db: Database, *, team: Team, batch_id: UUID, format_: str, chosen: Sequence[UUID] | None
) -> AsyncIterator[list[tuple[BookedItem, Labels]]]:
    """Yield booked shipments of a batch with their labels, some at a time, in its order."""
    stored_formats = [stored for stored, shown in SHOWN_AS.items() if shown == format_]
    after = FIRST
    while True:
        async with db.pool.connection() as conn:
            items = await documents.list_booked(
                conn, team_id=team.id, batch_id=batch_id, ids=chosen, after=after, limit=BLOCK
            )
            stored = await documents.list_of_items(
                conn,
                item_ids=[item.id for item in items],
                kinds=("label",),
                formats=stored_formats,
            )
        if not items:
            return
        after = (items[-1].position, items[-1].id)
        by_item: dict[UUID, list[StoredDocument]] = {}
        for one in stored:
            by_item.setdefault(one.item_id, []).append(one)
        yield [(item, _labels(item, by_item.get(item.id, []), format_=format_)) for item in items]


def _labels(item: BookedItem, stored: Sequence[StoredDocument], *, format_: str) -> Labels:
    """Return the labels of a shipment, parcel by parcel."""
    labels: list[StoredDocument | OwnLabel] = [
        *stored,
        *missing_labels(item, stored, format_=format_),
    ]
    return sorted(labels, key=lambda label: label.parcel or 0)


def _parts(block: Sequence[tuple[BookedItem, Labels]]) -> Iterator[list[Page]]:
    """Yield the pages of some shipments in their order, about so many as memory may hold."""
    part: list[Page] = []
    size = 0
    for item, labels in block:
        pages: Sequence[Page] = labels or [NoLabel(item=item)]
        for page in pages:
            part.append(page)
            size += (isinstance(page, StoredDocument) and page.size) or OWN_LABEL_BYTES
            if size >= PART_BYTES:
                yield part
                part, size = [], 0
    if part:
        yield part


def _join(joiner: Joiner, part: Sequence[Page], contents: Mapping[UUID, bytes]) -> bytes:
    return joiner.add([_draw(page, contents, format_=joiner.format) for page in part])


def _draw(page: Page, contents: Mapping[UUID, bytes], *, format_: str) -> bytes:
    match page:
        case OwnLabel():
            return print_label(page)
        case NoLabel():
            return print_sentence(page.sentence, format_=format_)
        case _ if page.id in contents:
            return contents[page.id]
        case _:
            return print_sentence(GONE, format_=format_)


async def _fetch_all(db: Database, files: FileStore, part: Sequence[Page]) -> dict[UUID, bytes]:
    wanted = [one.id for one in part if isinstance(one, StoredDocument)]
    async with db.pool.connection() as conn:
        found = await documents.read_many(conn, document_ids=wanted)
    contents = await asyncio.gather(*(_fetch_known(files, one) for one in found))
    return {
        one.id: content for one, content in zip(found, contents, strict=True) if content is not None
    }


async def _fetch_known(files: FileStore, stored: StoredDocument) -> bytes | None:
    """Return a document; None where its content is gone for good, so that the others still come."""
    try:
        return await _fetch(files, stored)
    except ContentMissing as error:
        log.warning("document.missing", item=str(stored.item_id), error=error.message)
        return None


async def _fetch(files: FileStore, stored: StoredDocument) -> bytes:
    content = stored.content
    if content is None:
        content = await files.fetch(stored.location or "")
    if stored.format == "png":
        return await asyncio.to_thread(show_picture, content)
    return content

"""Documents of shipments: what there is, by signed addresses, and all labels of a batch in one."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from batchyard.errors import Forbidden, NotFound
from batchyard.models import Team
from batchyard.operations.labels import (
    SHOWN_AS,
    Joiner,
    OwnLabel,
    missing_labels,
    print_label,
    show_picture,
)
from batchyard.operations.links import Link, read_link
from batchyard.store import documents, installation
from batchyard.store.db import Database
from batchyard.store.documents import BookedItem, StoredDocument
from batchyard.store.files import FileStore

KINDS = ("label", "customs")
FORMATS = ("pdf", "zpl")

BLOCK = 100
"""Shipments that are looked at together."""
PART_BYTES = 2 * 1024 * 1024
"""About so much of stored labels is in memory together."""
OWN_LABEL_BYTES = 20_000
"""About what a label of ours, or one kept outside the database, takes."""


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
    unbooked: Sequence[int]


async def find_misfits(
    db: Database, *, team: Team, batch_id: UUID, chosen: Sequence[UUID]
) -> Misfits:
    """Tell which of these shipments are not in the batch, and which are not booked."""
    async with db.pool.connection() as conn:
        known = await documents.list_members(conn, team_id=team.id, batch_id=batch_id, ids=chosen)
    return Misfits(
        unknown=[index for index, one in enumerate(chosen) if one not in known],
        unbooked=[index for index, one in enumerate(chosen) if known.get(one) is False],
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
    """Yield one file of all labels of a batch, in its order; nothing where there are none.

    No connection is held while a part is printed or sent.
    """
    joiner = Joiner(format_)
    stored_formats = [stored for stored, shown in SHOWN_AS.items() if shown == format_]
    after = 0
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
            break
        after = items[-1].position
        for part in _parts(items, stored, format_=format_):
            contents = await _fetch_all(db, files, part)
            if joined := await asyncio.to_thread(_join, joiner, part, contents):
                yield joined
    if end := joiner.finish():
        yield end


def _parts(
    items: Sequence[BookedItem], stored: Sequence[StoredDocument], *, format_: str
) -> Iterator[list[StoredDocument | OwnLabel]]:
    """Yield the labels of some shipments in their order, about so many as memory may hold."""
    by_item: dict[UUID, list[StoredDocument]] = {}
    for one in stored:
        by_item.setdefault(one.item_id, []).append(one)
    part: list[StoredDocument | OwnLabel] = []
    size = 0
    for item in items:
        mine = by_item.get(item.id, [])
        labels: list[StoredDocument | OwnLabel] = [
            *mine,
            *missing_labels(item, mine, format_=format_),
        ]
        for label in sorted(labels, key=lambda label: label.parcel or 0):
            part.append(label)
            size += (isinstance(label, StoredDocument) and label.size) or OWN_LABEL_BYTES
            if size >= PART_BYTES:
                yield part
                part, size = [], 0
    if part:
        yield part


def _join(
    joiner: Joiner, part: Sequence[StoredDocument | OwnLabel], contents: dict[UUID, bytes]
) -> bytes:
    return joiner.add(
        [print_label(one) if isinstance(one, OwnLabel) else contents[one.id] for one in part]
    )


async def _fetch_all(
    db: Database, files: FileStore, part: Sequence[StoredDocument | OwnLabel]
) -> dict[UUID, bytes]:
    wanted = [one.id for one in part if isinstance(one, StoredDocument)]
    async with db.pool.connection() as conn:
        found = await documents.read_many(conn, document_ids=wanted)
    contents = await asyncio.gather(*(_fetch(files, one) for one in found))
    return {one.id: content for one, content in zip(found, contents, strict=True)}


async def _fetch(files: FileStore, stored: StoredDocument) -> bytes:
    content = stored.content
    if content is None:
        content = await files.fetch(stored.location or "")
    if stored.format == "png":
        return await asyncio.to_thread(show_picture, content)
    return content

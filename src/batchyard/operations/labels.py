"""Labels: which we print ourselves, and many of them in one file; pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID, uuid5

from batchyard.models import JsonObject
from batchyard.operations.senders import with_sender
from batchyard.pdf import PdfJoiner, PdfUnreadable
from batchyard.providers.labels import Label, render_label, render_picture, render_sentence
from batchyard.providers.shipment_labels import parcels_of, shipment_labels, text_at
from batchyard.providers.zpl_labels import render_zpl, render_zpl_sentence
from batchyard.store.documents import BookedItem, StoredDocument

NOTICE = "Printed by Batchyard from the booking"
MAX_CODE_LENGTH = 60
"""Longer codes fit no label."""

SHOWN_AS = {"pdf": "pdf", "png": "pdf", "zpl": "zpl"}
"""As what a stored format is handed out: a picture becomes a page."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnLabel:
    """A label that the carrier did not give and that we print from what is known."""

    item_id: UUID
    parcel: int
    format: str
    label: Label

    @property
    def id(self) -> UUID:
        """The same each time: nothing of it is stored."""
        return uuid5(self.item_id, f"label.{self.format}.{self.parcel}")


@dataclass(frozen=True, kw_only=True, slots=True)
class NoLabel:
    """A booked shipment that the carrier gave no label of this format, and we cannot print one."""

    item: BookedItem

    @property
    def sentence(self) -> str:
        """What a page says in its place."""
        reference = text_at(self.item.payload, "reference")
        named = f" ({reference})" if reference else ""
        return f"There is no label for the shipment {self.item.id}{named}."


def missing_labels(
    item: BookedItem, stored: Sequence[StoredDocument], *, format_: str
) -> Iterator[OwnLabel]:
    """Yield a label for each booked parcel that has none of this format and can have one."""
    labels = [one for one in stored if one.kind == "label" and SHOWN_AS[one.format] == format_]
    labelled = {one.parcel for one in labels}
    codes = _tracking_codes(item)
    # A label without a parcel is the carrier's file for all of them.
    if None in labelled or not any(codes):
        return
    payload = with_sender(item.payload, item.sender)
    for label in shipment_labels(payload, codes, booking=item.provider_reference, notice=NOTICE):
        if label.tracking_code and label.parcel not in labelled:
            yield OwnLabel(item_id=item.id, parcel=label.parcel, format=format_, label=label)


def print_label(own: OwnLabel) -> bytes:
    """Draw a label of ours; costs about a millisecond."""
    return render_zpl(own.label) if own.format == "zpl" else render_label(own.label)


def print_sentence(sentence: str, *, format_: str) -> bytes:
    """Draw what stands in the place of a label that is not there."""
    return render_zpl_sentence(sentence) if format_ == "zpl" else render_sentence(sentence)


def show_picture(png: bytes) -> bytes:
    """Put a label that came as a picture on a page."""
    try:
        return render_picture(png)
    except (OSError, ValueError) as error:
        return render_sentence(f"This label is no picture that can be shown: {error}")


class Joiner:
    """One file of many labels: of PDF its pages, of ZPL its formats, in the order they come."""

    def __init__(self, format_: str) -> None:
        self.format = format_
        self._pdf = PdfJoiner() if format_ == "pdf" else None
        self._has_begun = False

    def add(self, contents: Sequence[bytes]) -> bytes:
        """Return the next part of the file."""
        if not contents:
            return b""
        if self._pdf is None:
            return b"".join(content.rstrip() + b"\n" for content in contents)
        start = b"" if self._has_begun else self._pdf.start()
        self._has_begun = True
        return start + b"".join(_add_page(self._pdf, content) for content in contents)

    def finish(self) -> bytes:
        """Return the end of the file; nothing where nothing was added."""
        return self._pdf.finish() if self._pdf is not None and self._has_begun else b""


def _add_page(joiner: PdfJoiner, content: bytes) -> bytes:
    try:
        return joiner.add(content)
    except PdfUnreadable:
        # The others are of use all the same, and nobody takes this page for a label.
        sentence = "The carrier's label of this parcel cannot be read. Fetch it singly."
        return joiner.add(render_sentence(sentence))


def _tracking_codes(item: BookedItem) -> list[str]:
    """Return a code for each parcel, empty where there is none that a barcode can carry."""
    booked = (item.result or {}).get("parcels")
    found = [_code(one) for one in booked] if isinstance(booked, list) else []
    parcels = len(parcels_of(item.payload))
    return (found + [""] * parcels)[:parcels]


def _code(parcel: object) -> str:
    known: JsonObject = parcel if isinstance(parcel, Mapping) else {}
    code = known.get("tracking_code")
    if not isinstance(code, str) or len(code) > MAX_CODE_LENGTH:
        return ""
    return code if code.isascii() and code.isprintable() else ""

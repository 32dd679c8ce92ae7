"""Links to documents that prove themselves and expire; whoever has one needs no token."""

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from batchyard.operations.labels import OwnLabel
from batchyard.signing import read, sign

STORED = 0
OWN_FORMATS = {1: "pdf", 2: "zpl"}
"""By the first byte of a token: a stored document, or a label of ours."""

LENGTH = 1 + 16 + 2 + 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """What a link leads to: a stored document, or a parcel's label that we print."""

    id: UUID
    """Of the document, or of the shipment whose label is ours."""
    own_format: str | None = None
    """Set: the label is ours."""
    parcel: int = 0

    @classmethod
    def to_stored(cls, document_id: UUID) -> "Link":
        """Return the link to a stored document."""
        return cls(id=document_id)

    @classmethod
    def to_own(cls, own: OwnLabel) -> "Link":
        """Return the link to a label of ours."""
        return cls(id=own.item_id, own_format=own.format, parcel=own.parcel)

    def token(self, key: bytes, *, expires_at: datetime) -> str:
        """Return the link as part of an address."""
        kinds = {format_: kind for kind, format_ in OWN_FORMATS.items()}
        kind = STORED if self.own_format is None else kinds[self.own_format]
        return sign(
            key,
            kind.to_bytes(1, "big")
            + self.id.bytes
            + self.parcel.to_bytes(2, "big")
            + int(expires_at.timestamp()).to_bytes(6, "big"),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class SignedLink:
    """A link as it came back, and when it ends."""

    link: Link
    expires_at: datetime


def read_link(key: bytes, token: str) -> SignedLink | None:
    """Return what a token leads to, or None when it was not made here."""
    body = read(key, token, length=LENGTH)
    if body is None:
        return None
    return SignedLink(
        link=Link(
            id=UUID(bytes=body[1:17]),
            own_format=OWN_FORMATS.get(body[0]),
            parcel=int.from_bytes(body[17:19], "big"),
        ),
        expires_at=datetime.fromtimestamp(int.from_bytes(body[19:], "big"), tz=UTC),
    )

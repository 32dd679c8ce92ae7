"""What became of items, on its way to the books."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from batchyard.models import Document, JsonObject
from batchyard.store.items import Settlement


@dataclass(frozen=True, kw_only=True, slots=True)
class Stop:
    """A provider is to be left alone, by everyone."""

    provider_id: int
    provider: str
    reason: str
    sent_at: datetime
    """When it was sent what it refused; a person may have resumed it since."""


# Not frozen, because one is made for each item and freezing costs four times as much.
@dataclass(kw_only=True, slots=True)
class News:
    """What became of one item, on its way to the books."""

    settlement: Settlement
    documents: Sequence[Document] = ()
    known: JsonObject | None = None
    """The stored result that its own was made from: what changed since stays. None: it is new."""
    is_failure: bool | None = None
    """Whether an attempt went wrong, for the brake; None when this was no end of an attempt."""
    is_opt_out: bool = False
    """Whether the recipient asked not to be contacted again."""
    slow: tuple[int, datetime] | None = None
    """A provider that asked everyone to wait, and until when."""
    stop: Stop | None = None
    """A provider that does nothing more until a person has mended something."""
    written: "asyncio.Future[bool] | None" = None
    """Told, once committed, whether the news fitted the item; `LimitReached` if that never came."""

    @property
    def item_id(self) -> UUID:
        """The item it is about."""
        return self.settlement["id"]

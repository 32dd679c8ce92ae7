"""Calls about single items."""

from collections.abc import AsyncIterator, Sequence
from typing import Literal
from uuid import UUID

from batchyard.client.shapes import Item, Unknowns, Values, Voided
from batchyard.client.transport import Transport

Verdict = Literal["done", "failed", "retry"]
VOID_SECONDS = 900.0
"""How long a provider may take to take a shipment back: longer than any is given."""


class ItemCalls(Transport):
    """Everything under `/items`."""

    async def items(self, **filters: object) -> AsyncIterator[Item]:
        """Yield items, page by page; the filters are those of `GET /items`."""
        async for row in self.pages("/items", filters):
            yield Item.model_validate(row)

    async def item(self, item_id: UUID) -> Item:
        """Return an item with its whole history."""
        return Item.model_validate(await self.request("GET", f"/items/{item_id}"))

    async def correct_item(
        self, item_id: UUID, payload: Values, *, number: str | None = None
    ) -> Item:
        """Correct an item before it is sent, or when it failed: then it is tried again."""
        body = {"payload": payload} if number is None else {"payload": payload, "number": number}
        return Item.model_validate(await self.request("PATCH", f"/items/{item_id}", body=body))

    async def stop_item(self, item_id: UUID) -> None:
        """Stop an item that waits."""
        await self.request("POST", f"/items/{item_id}/stop")

    async def retry_item(self, item_id: UUID) -> Item:
        """Try an item that failed again, under a new key."""
        return Item.model_validate(await self.request("POST", f"/items/{item_id}/retry"))

    async def end_item(self, item_id: UUID) -> None:
        """Break off a live item: a call is hung up."""
        await self.request("POST", f"/items/{item_id}/end")

    async def void_item(self, item_id: UUID) -> Voided:
        """Take a booked shipment back, where its provider does that; may be repeated.

        Raises `httpx.ReadTimeout` where that takes very long; the server goes on with it.
        """
        path = f"/items/{item_id}/void"
        return Voided.model_validate(await self.request("POST", path, work_seconds=VOID_SECONDS))

    async def unknown_items(
        self, *, batch_id: UUID | None = None, limit: int = 100, **filters: object
    ) -> Unknowns:
        """Return the oldest outcomes that nobody could find out; `limit` is at most 10,000.

        The filters are those of `GET /items`.
        """
        params = {"batch_id": batch_id, "limit": limit, **filters}
        return Unknowns.model_validate(await self.request("GET", "/items/unknown", params=params))

    async def resolve(
        self,
        verdict: Verdict,
        *,
        batch_id: UUID | None = None,
        item_ids: Sequence[UUID] | None = None,
        everything: bool = False,
        **filters: object,
    ) -> int:
        """Decide what became of items with an unknown outcome; return how many.

        The filters are those of `GET /items`; what is given together narrows together.
        """
        body: dict[str, object] = {"as": verdict, "all": everything}
        body |= {name: value for name, value in filters.items() if value is not None}
        if batch_id is not None:
            body["batch_id"] = str(batch_id)
        if item_ids is not None:
            body["item_ids"] = [str(item_id) for item_id in item_ids]
        return int(str((await self.request("POST", "/items/resolve", body=body))["items"]))

"""Calls about webhooks: who listens, what was told, telling it again."""

from collections.abc import AsyncIterator, Sequence
from uuid import UUID

from batchyard.client.shapes import Delivery, Endpoint, Try
from batchyard.client.transport import Transport, rows_of


class WebhookCalls(Transport):
    """Everything under `/webhooks`."""

    async def endpoints(self) -> list[Endpoint]:
        """Return the addresses that listen to the team."""
        page = await self.request("GET", "/webhooks/endpoints")
        return [Endpoint.model_validate(row) for row in rows_of(page)]

    async def add_endpoint(
        self, url: str, *, description: str | None = None, events: Sequence[str] | None = None
    ) -> Endpoint:
        """Let an address listen to the team, to all events or to these."""
        body = {
            "url": url,
            "description": description,
            "events": None if events is None else list(events),
        }
        return Endpoint.model_validate(await self.request("POST", "/webhooks/endpoints", body=body))

    async def change_endpoint(self, endpoint_id: UUID, **changes: object) -> Endpoint:
        """Change an endpoint, by the fields of `PATCH /webhooks/endpoints/{id}`."""
        path = f"/webhooks/endpoints/{endpoint_id}"
        return Endpoint.model_validate(await self.request("PATCH", path, body=changes))

    async def remove_endpoint(self, endpoint_id: UUID) -> None:
        """Let an address listen no more."""
        await self.request("DELETE", f"/webhooks/endpoints/{endpoint_id}")

    async def send_test(self, endpoint_id: UUID) -> UUID:
        """Send an event `webhook.test`; return its delivery."""
        told = await self.request("POST", f"/webhooks/endpoints/{endpoint_id}/test")
        return UUID(str(told["delivery_id"]))

    async def signing_secrets(self) -> list[str]:
        """Return what signs the team's webhooks, the newest first."""
        told = await self.request("GET", "/webhooks/secret")
        return [str(secret) for secret in rows_of({"data": told["secrets"]})]

    async def rotate_secret(self) -> list[str]:
        """Sign with a new secret too; the old one retires after a day."""
        told = await self.request("POST", "/webhooks/secret/rotate")
        return [str(secret) for secret in rows_of({"data": told["secrets"]})]

    async def deliveries(self, **filters: object) -> AsyncIterator[Delivery]:
        """Yield deliveries, the newest first; the filters are those of `GET .../deliveries`."""
        async for row in self.pages("/webhooks/deliveries", filters):
            yield Delivery.model_validate(row)

    async def tries(self, delivery_id: UUID) -> list[Try]:
        """Return every try of a delivery."""
        page = await self.request("GET", f"/webhooks/deliveries/{delivery_id}/attempts")
        return [Try.model_validate(row) for row in rows_of(page)]

    async def redeliver(self, delivery_id: UUID | None = None) -> int:
        """Send a delivery once more, or everything that was given up; return how many."""
        which = "" if delivery_id is None else f"/{delivery_id}"
        told = await self.request("POST", f"/webhooks/deliveries{which}/redeliver")
        return int(str(told["deliveries"]))

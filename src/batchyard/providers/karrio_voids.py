"""Cancels shipments at Karrio, which does not always tell the carrier."""

from batchyard.errors import ProviderError
from batchyard.providers.base import Voided
from batchyard.providers.http_answers import describe
from batchyard.providers.karrio_answers import SHIPMENT_ID, read_faults
from batchyard.providers.karrio_server import KarrioServer, read_success
from batchyard.providers.shipment_labels import text_at

VOIDS_NOTHING = frozenset({"dhl_express", "dpd", "dpd_meta", "generic", "hermes", "mydhl"})
"""Carriers that Karrio cannot tell of a cancellation: it only marks the shipment."""


async def void(server: KarrioServer, shipment_id: str, *, deadline: float) -> Voided:
    """Cancel a shipment; raise `ProviderError` when Karrio or the carrier refuses, or is silent."""
    if SHIPMENT_ID.fullmatch(shipment_id) is None:
        raise ProviderError(f"{shipment_id} is no shipment of Karrio.", permanent=True)
    reply = await server.post(f"/v1/shipments/{shipment_id}/cancel", None, deadline=deadline)
    if not reply.is_success:
        told = read_faults(reply.body)
        words = "; ".join(one.sentence for one in told) or describe(reply)
        raise ProviderError(f"It was not taken back: {words}")
    shipment = read_success(reply)
    carrier = text_at(shipment, "carrier_name")
    if text_at(shipment, "status") != "cancelled":
        raise ProviderError(f"Karrio did not cancel it: look at shipment {shipment_id} there.")
    if carrier in VOIDS_NOTHING:
        return Voided(
            sentence=f"Karrio marked it as cancelled, but does not tell {carrier}: cancel it with "
            "the carrier too.",
            is_carrier_told=False,
        )
    return Voided(sentence=f"Karrio cancelled it with {carrier}.", is_carrier_told=True)

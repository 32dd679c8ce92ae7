"""What reaches the outside world at once: live items broken off, booked shipments taken back.

No key is remembered here: no transaction undoes what a provider did, and it does it once anyway.
What was taken back is told again from its note.
"""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel, Field

from batchyard.api.operator.access import WRITE, Caller, KnownRoute
from batchyard.api.operator.problems import UPSTREAM
from batchyard.encryption import Vault
from batchyard.operations import items
from batchyard.operations.voids import void_shipment

router = APIRouter(tags=["Items"], route_class=KnownRoute)


class VoidedShown(BaseModel):
    """What is true of a shipment after it was taken back."""

    sentence: str
    is_carrier_told: bool = Field(
        description="false: it is marked as cancelled there; cancel it with the carrier too"
    )


@router.post("/items/{item_id}/end", status_code=204, responses=UPSTREAM)
async def end_item(caller: Annotated[Caller, WRITE], item_id: UUID) -> Response:
    """Break off a live item: a call that rings or speaks is hung up, one that waits cancelled."""
    status = await items.check_live(caller.db, team=caller.team, item_id=item_id)
    # What becomes of it is told by its provider, and is in its history.
    async with caller.changing(
        "item.end",
        subject=str(item_id),
        before={"status": status, "is_end_asked": False},
        after={"status": status, "is_end_asked": True},
    ):
        pass
    await caller.inbox().end(item_id, team=caller.team)
    return Response(status_code=204)


@router.post("/items/{item_id}/void", responses=UPSTREAM)
async def void_item(caller: Annotated[Caller, WRITE], item_id: UUID) -> VoidedShown:
    """Take a booked shipment back, where its provider does that; here it stays booked.

    Of one that was taken back already it is told again what was true then.
    """
    key = caller.config.secret_key
    voided = await void_shipment(
        caller.db,
        Vault(None if key is None else key.get_secret_value()),
        team=caller.team,
        item_id=item_id,
        actor=caller.actor,
    )
    return VoidedShown(sentence=voided.sentence, is_carrier_told=voided.is_carrier_told)

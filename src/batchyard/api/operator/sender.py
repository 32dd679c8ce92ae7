"""Where the team sends its shipments from."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel

from batchyard.api.operator.access import ADMIN, READ, Caller, KnownRoute
from batchyard.errors import NotFound
from batchyard.intake.shipment_shape import Sender
from batchyard.operations import senders

router = APIRouter(tags=["Team"], route_class=KnownRoute)


class SenderShown(BaseModel):
    """The team's sender, as it goes to providers."""

    sender: Sender


@router.get("/sender")
async def read_sender(caller: Annotated[Caller, READ]) -> SenderShown:
    """Return the team's sender; 404 until one is set."""
    stored = await senders.read_sender(caller.db, team=caller.team)
    if stored is None:
        raise NotFound("The team has no sender yet.")
    return SenderShown(sender=senders.check_sender(stored))


@router.put("/sender")
async def set_sender(caller: Annotated[Caller, ADMIN], sender: Sender) -> SenderShown:
    """Set the team's sender; it replaces the one before, for everything not sent yet."""
    stored = await senders.set_sender(
        caller.db,
        team=caller.team,
        sender=sender,
        actor=caller.actor,
    )
    return SenderShown(sender=senders.check_sender(stored))

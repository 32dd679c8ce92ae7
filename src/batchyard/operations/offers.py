"""What a team's shipments can be sent by, as files are checked against it."""

import json
from functools import cache
from importlib import resources

from batchyard.intake.shipment_shape import Offer
from batchyard.models import Team
from batchyard.operations.services import list_declared
from batchyard.store.db import Database


async def find_offer(db: Database, *, team: Team) -> Offer:
    """Return the services of each carrier that the team's provider books."""
    declared = await list_declared(db, team=team)
    if declared is None:
        return _catalogue()
    offer: dict[str, set[str]] = {}
    for one in declared:
        offer.setdefault(one.carrier, set()).add(one.service)
    return offer


@cache
def _catalogue() -> Offer:
    text = resources.files("batchyard.intake").joinpath("catalogue.json").read_bytes()
    return {
        carrier["code"]: {service["code"] for service in carrier["services"]}
        for carrier in json.loads(text)["carriers"]
    }

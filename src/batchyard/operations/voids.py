"""Take back a shipment that was booked."""

from dataclasses import asdict
from uuid import UUID

from batchyard.encryption import Vault
from batchyard.errors import Conflict, NotFound
from batchyard.lifecycle import SUCCESS_STATUS
from batchyard.models import JsonObject, Kind, Team
from batchyard.operations.audit import Actor, audited
from batchyard.operations.opening import open_row
from batchyard.providers.base import Voided
from batchyard.providers.registry import close_provider
from batchyard.store import providers, voids
from batchyard.store.db import Database


async def void_shipment(
    db: Database, vault: Vault, *, team: Team, item_id: UUID, actor: Actor
) -> Voided:
    """Have a booked shipment cancelled by who booked it; return what is true of it then.

    It stays `booked` here, with a note in its result; of one that was taken back already that note
    is told again. Raises `NotFound`, `Conflict` where there is nothing to take back, and
    `ProviderError` when its provider does not do that.
    """
    async with db.pool.connection() as conn:
        found = await voids.read(conn, team_id=team.id, item_id=item_id)
        rows = {row.id: row for row in await providers.list_all(conn)}
    if found is None:
        raise NotFound("There is no such shipment.")
    if found.status != SUCCESS_STATUS[Kind.SHIPMENT]:
        raise Conflict(f"Only a booked shipment can be taken back; this one is {found.status}.")
    if found.voided is not None:
        return _noted(found.voided)
    if found.provider_id is None or found.reference is None:
        raise Conflict("Its provider gave no reference by which it could be taken back.")
    provider = open_row(db, vault, rows[found.provider_id])
    try:
        voided = await provider.void(found.reference)
    finally:
        await close_provider(provider)
    async with audited(
        db,
        team=team,
        actor=actor,
        action="shipment.void",
        subject=str(item_id),
        after={"is_carrier_told": voided.is_carrier_told},
    ) as work:
        await voids.note(
            work.connection,
            item_id=item_id,
            actor=actor.name,
            told=asdict(voided),
            now=db.clock(),
        )
    return voided


def _noted(note: JsonObject) -> Voided:
    """Return what was true when a shipment was taken back: its answer may have been lost."""
    is_carrier_told = note.get("is_carrier_told") is True
    # Notes once were without it.
    told = "" if is_carrier_told else ", but its carrier was not told: cancel it there too"
    sentence = note.get("sentence", f"It was taken back already, at {note.get('at')}{told}.")
    return Voided(sentence=str(sentence), is_carrier_told=is_carrier_told)

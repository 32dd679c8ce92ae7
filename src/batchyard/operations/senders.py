"""Where a team sends its shipments from, and how providers are told."""

from collections.abc import Mapping

from pydantic import ValidationError

from batchyard.errors import InvalidRequest
from batchyard.intake.shipment_shape import Sender
from batchyard.models import JsonObject, Team
from batchyard.operations.audit import Actor, note
from batchyard.operations.transactions import one_transaction
from batchyard.store import senders
from batchyard.store.db import Database


async def read_sender(db: Database, *, team: Team) -> JsonObject | None:
    """Return where a team sends from; None until that is set."""
    async with db.pool.connection() as conn:
        return await senders.read(conn, team_id=team.id)


async def set_sender(db: Database, *, team: Team, sender: Sender, actor: Actor) -> JsonObject:
    """Set where a team sends from; holds for everything not sent yet. Returns what is stored.

    The audit log gets the place alone: it forgets nothing, so it holds no names.
    """
    stored = sender.model_dump(mode="json", exclude_none=True)
    async with one_transaction(db) as work:
        conn, now = work.connection, db.clock()
        before = await senders.read(conn, team_id=team.id)
        await senders.write(conn, team_id=team.id, sender=stored, now=now)
        await note(
            conn,
            team=team,
            actor=actor,
            action="sender.set",
            before=before and _place(before),
            after=_place(stored),
            now=now,
        )
    return stored


def check_sender(given: object) -> Sender:
    """Return a sender as it is kept; raise `InvalidRequest` naming each fault."""
    try:
        return Sender.model_validate(given)
    except ValidationError as error:
        faults: dict[str, list[str]] = {}
        for fault in error.errors(include_url=False, include_input=False):
            place = ".".join(str(part) for part in fault["loc"]) or "sender"
            faults.setdefault(place, []).append(fault["msg"])
        told = "; ".join(f"{place}: {said[0]}" for place, said in faults.items())
        raise InvalidRequest(f"This is no sender. {told}", faults=faults) from error


def with_sender(shipment: JsonObject, sender: JsonObject | None) -> JsonObject:
    """Return a shipment as its provider is given it: with the team's address as its sender."""
    if sender is None:
        return shipment
    parties = shipment.get("parties")
    known = parties if isinstance(parties, Mapping) else {}
    return {**shipment, "parties": {**known, "sender": sender}}


def _place(sender: JsonObject) -> JsonObject:
    address = sender.get("address")
    known = address if isinstance(address, Mapping) else {}
    return {"city": known.get("city"), "country": known.get("country")}

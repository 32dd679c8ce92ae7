"""The correction of a single item, before it is sent or after it failed."""

import hashlib
import json
from datetime import datetime
from uuid import UUID

from batchyard.errors import Conflict, InvalidRequest, NotFound
from batchyard.intake.blocks import Bad, FileCheck, Good, reject
from batchyard.intake.calls import judge_object as judge_call
from batchyard.intake.columns import Columns, Header, find_marks
from batchyard.intake.json_rows import object_fault
from batchyard.intake.shipments import judge_object as judge_shipment
from batchyard.intake.synonyms import NUMBER_COLUMN
from batchyard.lifecycle import BatchEvent, next_batch_state
from batchyard.models import BatchState, JsonObject, Kind, Phase, Team
from batchyard.operations.changes import FAILED_STATUSES
from batchyard.operations.contact_checks import find_blocked, open_check
from batchyard.operations.control import clear_stopped
from batchyard.operations.offers import find_offer
from batchyard.operations.transactions import Transactions
from batchyard.store import control, corrections, queue
from batchyard.store.corrections import Correction
from batchyard.store.db import Connection, Database

MEANWHILE = "Somebody corrected it meanwhile. Open it again and correct what it has now."


def fingerprint(payload: JsonObject, *, number: str | None) -> str:
    """Return what tells whether an item still has what it had."""
    held = json.dumps([number, payload], sort_keys=True)
    return hashlib.sha256(held.encode()).hexdigest()


async def check_correction(
    db: Database,
    *,
    team: Team,
    item_id: UUID,
    payload: JsonObject,
    number: str | None = None,
    refuses_unassigned: bool = False,
) -> Correction:
    """Judge what shall take the place of an item's payload, as intake judges a row.

    `number` is for calls; None leaves it. Raises `InvalidRequest` with the code of the verdict,
    and `NotFound`.
    """
    async with db.pool.connection() as conn:
        found = await corrections.read(conn, team_id=team.id, item_id=item_id)
    if found is None:
        raise NotFound("There is no such item.")
    if fault := object_fault(payload):
        raise _refusal(fault)
    good = await _checked(
        db,
        team=team,
        kind=Kind(found.kind),
        payload=payload,
        number=number or found.number,
        refuses_unassigned=refuses_unassigned,
    )
    check = await open_check(db, team=team)
    if good.number is not None:
        blocked = await find_blocked(db, check, {good.number: good.zones})
        if code := blocked.get(good.number):
            raise _refusal(Bad(code=code))
    return Correction(
        item_id=item_id,
        payload=good.payload,
        number=good.number,
        reference=good.reference,
        zone_set=check.zone_sets.get(good.zones),
    )


async def correct_item(
    db: Transactions, correction: Correction, *, team: Team, seen: str | None = None
) -> None:
    """Put what was checked in the place of an item's, before it is sent or after it failed.

    An item that failed is tried again, as a new attempt; what was replaced is kept. `seen` is the
    fingerprint of what was corrected; None corrects whatever there is. Raises `NotFound`, and
    `Conflict` for an item that is out or did not fail, whose person is being erased, whose content
    was taken out, that has something else by now, or whose batch was stopped just now.
    """
    async with db.transaction() as conn:
        await _correct(conn, correction, team=team, seen=seen, now=db.clock())


async def _correct(
    conn: Connection, correction: Correction, *, team: Team, seen: str | None, now: datetime
) -> None:
    locked = await corrections.lock(conn, team_id=team.id, item_id=correction.item_id)
    if locked is None:
        raise NotFound("There is no such item.")
    kind, state = Kind(locked.kind), BatchState(locked.batch_state)
    has_failed = locked.phase == Phase.DONE and locked.status in FAILED_STATUSES[kind]
    if not has_failed and locked.phase != Phase.READY:
        raise Conflict("The item is out, or did not fail.", state=locked.status)
    if locked.is_noted:
        raise Conflict("The person it is about is being erased.", state=locked.status)
    if locked.is_taken_out:
        raise Conflict("What it held was taken out and is not sent again.", state=locked.status)
    if seen is not None and seen != fingerprint(locked.payload, number=locked.number):
        raise Conflict(MEANWHILE, state=locked.status)
    if has_failed and state is BatchState.STOPPED:
        await clear_stopped(conn, batch_ids=[locked.batch_id], now=now)
    await corrections.write(conn, correction, tries_again=has_failed, now=now)
    if not has_failed:
        return
    if state in (BatchState.COMPLETED, BatchState.FAILED, BatchState.STOPPED):
        state = next_batch_state(state, BatchEvent.REOPENED)
        await control.reopen(conn, batch_id=locked.batch_id, state=state, now=now)
    await queue.wake(conn, team_id=team.id, now=now)


async def _checked(
    db: Database,
    *,
    team: Team,
    kind: Kind,
    payload: JsonObject,
    number: str | None,
    refuses_unassigned: bool,
) -> Good:
    check = await open_check(db, team=team)
    file = FileCheck(
        batch_id=UUID(int=0),
        team_id=team.id,
        header=None,
        columns=Columns(kind=kind),
        refuses_unassigned=refuses_unassigned,
        rules=check.rules,
        offer=await find_offer(db, team=team) if kind is Kind.SHIPMENT else None,
    )
    if kind is Kind.SHIPMENT:
        verdict = judge_shipment(file, payload)
    else:
        whole = {NUMBER_COLUMN: number or "", **payload}
        names = tuple(whole)
        verdict = judge_call(file, whole, Header(cells=names, names=names, marks=find_marks(names)))
    if isinstance(verdict, Bad):
        raise _refusal(verdict)
    return verdict


def _refusal(bad: Bad) -> InvalidRequest:
    return InvalidRequest(reject(0, (), bad).reason, code=bad.code)

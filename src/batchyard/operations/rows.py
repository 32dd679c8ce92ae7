"""The row report of a batch, and the correction of a single item."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from batchyard.errors import Conflict, InvalidRequest, NotFound
from batchyard.intake.blocks import Bad, FileCheck, Good, reject
from batchyard.intake.calls import judge_object as judge_call
from batchyard.intake.columns import Columns, Header
from batchyard.intake.shipments import judge_object as judge_shipment
from batchyard.intake.synonyms import NUMBER_COLUMN
from batchyard.lifecycle import BatchEvent, next_batch_state
from batchyard.models import BatchState, JsonObject, Kind, Phase, Team
from batchyard.operations.changes import FAILED_STATUSES
from batchyard.operations.contact_checks import find_blocked, open_check
from batchyard.operations.offers import find_offer
from batchyard.store import control, corrections, queue, row_reports, uploads
from batchyard.store.corrections import Correction
from batchyard.store.db import Connection, Database
from batchyard.store.row_reports import RefusedRow, ReportedBatch, ReportedWarning
from batchyard.store.uploads import Upload

PAGE = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class RowReport:
    """What became of the rows of a batch."""

    rows: int
    accepted: int
    refused: int
    refused_by_code: Mapping[str, int]
    warned_by_code: Mapping[str, int]
    uploads: Sequence[Upload]


async def read_row_report(db: Database, *, team: Team, batch_id: UUID) -> RowReport:
    """Count what became of the rows of a batch. Raises `NotFound`."""
    async with db.pool.connection() as conn:
        batch = await _read(conn, team, batch_id)
        refused, warned = await row_reports.count_codes(conn, batch_id=batch_id)
        files = await uploads.list_of_batch(conn, team_id=team.id, batch_id=batch_id)
    return RowReport(
        rows=batch.total_rows,
        accepted=batch.total_rows - batch.refused_rows,
        refused=batch.refused_rows,
        refused_by_code=refused,
        warned_by_code=warned,
        uploads=files,
    )


async def list_refused_rows(
    db: Database,
    *,
    team: Team,
    batch_id: UUID,
    after: int = 0,
    limit: int = PAGE,
    code: str | None = None,
) -> list[RefusedRow]:
    """List refused rows behind a line. Raises `NotFound`."""
    async with db.pool.connection() as conn:
        await _read(conn, team, batch_id)
        return await row_reports.list_refused(
            conn, batch_id=batch_id, after=after, limit=limit, code=code
        )


async def list_row_warnings(
    db: Database,
    *,
    team: Team,
    batch_id: UUID,
    after: tuple[int, str] = (-1, ""),
    limit: int = PAGE,
    code: str | None = None,
) -> list[ReportedWarning]:
    """List remarks behind a line and code; those on a whole upload have line 0. `NotFound`."""
    async with db.pool.connection() as conn:
        await _read(conn, team, batch_id)
        return await row_reports.list_warnings(
            conn, batch_id=batch_id, after=after, limit=limit, code=code
        )


async def correct_item(
    db: Database,
    *,
    team: Team,
    item_id: UUID,
    payload: JsonObject,
    number: str | None = None,
    refuses_unassigned: bool = False,
) -> None:
    """Put a checked payload in the place of an item's, before it is sent or after it failed.

    `number` is for calls; None leaves it. An item that failed is tried again, as a new attempt;
    what was replaced is kept. Raises `InvalidRequest` with the code of the verdict, `NotFound`,
    and `Conflict` for an item that is out or did not fail.
    """
    async with db.pool.connection() as conn:
        found = await corrections.read(conn, team_id=team.id, item_id=item_id)
    if found is None:
        raise NotFound("There is no such item.")
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
    correction = Correction(
        item_id=item_id,
        payload=good.payload,
        number=good.number,
        reference=good.reference,
        zone_set=check.zone_sets.get(good.zones),
    )
    async with db.transaction() as conn:
        await _correct(conn, correction, team=team, db=db)


async def _correct(conn: Connection, correction: Correction, *, team: Team, db: Database) -> None:
    """Write a correction under the locks of its batch and item."""
    locked = await corrections.lock(conn, team_id=team.id, item_id=correction.item_id)
    if locked is None:
        raise NotFound("There is no such item.")
    now, kind, state = db.clock(), Kind(locked.kind), BatchState(locked.batch_state)
    has_failed = locked.phase == Phase.DONE and locked.status in FAILED_STATUSES[kind]
    if not has_failed and locked.phase != Phase.READY:
        raise Conflict("The item is out, or did not fail.", state=locked.status)
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
        verdict = judge_call(file, whole, Header(cells=tuple(whole), names=tuple(whole)))
    if isinstance(verdict, Bad):
        raise _refusal(verdict)
    return verdict


def _refusal(bad: Bad) -> InvalidRequest:
    return InvalidRequest(reject(0, (), bad).reason, code=bad.code)


async def _read(conn: Connection, team: Team, batch_id: UUID) -> ReportedBatch:
    batch = await row_reports.read_batch(conn, team_id=team.id, batch_id=batch_id)
    if batch is None:
        raise NotFound("There is no such batch.")
    return batch

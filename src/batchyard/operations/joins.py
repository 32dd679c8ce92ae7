"""Add rows of a file to a batch that is there already: new ones, mended ones, corrections."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from batchyard.errors import Conflict
from batchyard.intake.choices import RowPolicy
from batchyard.intake.columns import first_meanings
from batchyard.intake.options import IntakeOptions, UploadReport
from batchyard.intake.verdicts import ITEM_NOT_FAILED, ITEM_TAKEN_OUT, REFUSALS, ROW_NOT_REFUSED
from batchyard.lifecycle import ADMITTING_STATES, BatchEvent, next_batch_state
from batchyard.models import BatchState, Kind, Team
from batchyard.operations.batches import lock_list
from batchyard.operations.changes import FAILED_STATUSES
from batchyard.operations.control import clear_stopped
from batchyard.operations.reading import FileReading, RowsRefused
from batchyard.operations.staging import remove_import, removed
from batchyard.store import control, imports, joins, late_mends, queue, uploads
from batchyard.store.db import Connection, Database
from batchyard.store.joins import Joining
from batchyard.store.late_mends import Late

BLOCK = 5000
"""Rows that join in one transaction; a smaller file joins at once or not at all."""

INTERRUPTED_AFTER = timedelta(seconds=30)

ENDED = (BatchState.COMPLETED, BatchState.FAILED, BatchState.STOPPED)
RAN_OUT = (BatchState.COMPLETED, BatchState.FAILED)
"""The states in which a batch runs again for rows that follow: a stop since the first is kept."""

LEFT_OUT = (ROW_NOT_REFUSED, ITEM_TAKEN_OUT)
"""Codes of rows that nobody can mend: they are told of and not kept."""

Seal = Callable[[Connection], Awaitable[None]]


class RowsImport(FileReading):
    """One upload that joins a batch; got from `add_rows`."""

    def __init__(self, db: Database, *, team: Team, target: UUID, options: IntakeOptions) -> None:
        super().__init__(db, team=team, options=options, target=target)
        self._batch_id = target
        self.state_before: BatchState | None = None
        """Of the batch, when the rows began to join it."""

    async def join(self, *, file_name: str | None, seal: Seal | None = None) -> UploadReport:
        """Put the complete upload into its batch, and return what became of the rows.

        An ended batch runs again with what is new. `seal` does more in the transaction that
        decides: from it on every row joins, also after a crash. Raises `Conflict`, `NotFound`,
        `RowsRefused`, and `InvalidRequest` for the very same file where that is refused.
        """
        async with self._db.transaction() as conn:
            now = self._db.clock()
            await self.claim_file(conn)
            await joins.lock_both(conn, upload_id=self.batch_id, batch_id=self._batch_id)
            self.state_before = await _lock(
                conn, team=self._team, kind=self._options.kind, batch_id=self._batch_id, now=now
            )
            if not await imports.record_block(
                conn, batch_id=self.batch_id, rows=0, refused=0, now=now
            ):
                raise removed()
            await self.staging.warn(conn, self.remarks())
            facts = self.facts(file_name)
            await uploads.describe(
                conn, upload_id=self.batch_id, facts=facts, state="joining", now=now
            )
            first_line = await joins.begin(
                conn,
                upload_id=self.batch_id,
                batch_id=self._batch_id,
                lines=self.staging.last_line,
                columns=facts.columns,
                file_name=file_name,
                now=now,
            )
            joining = Joining(
                upload_id=self.batch_id,
                batch_id=self._batch_id,
                team_id=self._team.id,
                kind=self._options.kind,
                first_line=first_line,
            )
            late = await late_mends.mark(
                conn,
                joining,
                statuses=FAILED_STATUSES[self._options.kind],
                missed=_told(ITEM_NOT_FAILED),
            )
            joined = await _join_some(conn, joining, reopened=ENDED, now=now)
            await self._tell_late(conn, late + joined.late)
            if seal is not None:
                await seal(conn)
        if not joined.is_complete:
            await _join_rest(self._db, joining)
        return self.report()

    async def _tell_late(self, conn: Connection, late: Late) -> None:
        """Report rows that were checked in time and came too late as what they are: refused."""
        if late == Late():
            return
        await self.staging.take_back(conn, accepted=late.mends, corrected=late.corrections)
        if self._options.policy is RowPolicy.ALL_OR_NOTHING:
            raise RowsRefused(self.report())

    async def give_up(self) -> None:
        """Remove everything that was staged."""
        await self.stop()
        if self.staging.alive_at is not None:
            await remove_import(self._db, batch_id=self.batch_id)


@asynccontextmanager
async def add_rows(
    db: Database, *, team: Team, batch_id: UUID, options: IntakeOptions
) -> AsyncIterator[RowsImport]:
    """Begin an upload into a batch; when the block that reads it fails, nothing of it stays.

    Rows that come from a mend file mend what they say: a refused row, or a failed item. Raises
    `NotFound`, and `Conflict` for a cancelled batch and for one that was stopped just now.
    """
    async with db.transaction() as conn:
        await _lock(conn, team=team, kind=options.kind, batch_id=batch_id, now=db.clock())
        earlier = await uploads.list_of_batch(conn, team_id=team.id, batch_id=batch_id)
    remembered = first_meanings(pair for one in earlier for pair in one.mapping.items())
    columns = replace(options.columns, remembered=remembered)
    options = replace(options, columns=columns)
    upload = RowsImport(db, team=team, target=batch_id, options=options)
    try:
        yield upload
    except BaseException:
        await upload.give_up()
        raise
    await upload.stop()


async def resume_joins(db: Database) -> None:
    """Go on with uploads whose server ended while their rows joined a batch."""
    async with db.pool.connection() as conn:
        interrupted = await joins.list_interrupted(conn, before=db.clock() - INTERRUPTED_AFTER)
    for joining in interrupted:
        await _join_rest(db, joining)


async def _join_rest(db: Database, joining: Joining) -> None:
    while True:
        async with db.transaction() as conn:
            await joins.lock_both(conn, upload_id=joining.upload_id, batch_id=joining.batch_id)
            if await joins.lock(conn, batch_id=joining.batch_id) is None:
                break
            joined = await _join_some(conn, joining, reopened=RAN_OUT, now=db.clock())
            if joined.late != Late():
                # Whoever mended it did so between two blocks, after the upload was answered.
                await late_mends.take_back(
                    conn, joining, joined.late, codes=(ROW_NOT_REFUSED, ITEM_NOT_FAILED)
                )
        if joined.is_complete:
            return
    # The batch was deleted meanwhile.
    await remove_import(db, batch_id=joining.upload_id)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Joined:
    """What one block of each kind has come to."""

    is_complete: bool
    """Whether nothing is left."""
    late: Late
    """What came too late and was not marked so."""


async def _join_some(
    conn: Connection, joining: Joining, *, reopened: Collection[BatchState], now: datetime
) -> _Joined:
    """Move one block of each kind. Both batches are locked."""
    corrected = await joins.correct_items(
        conn,
        joining,
        statuses=FAILED_STATUSES[Kind(joining.kind)],
        missed=_told(ITEM_NOT_FAILED),
        limit=BLOCK,
        now=now,
    )
    moved = await joins.move_items(
        conn, joining, missed=_told(ROW_NOT_REFUSED), limit=BLOCK, now=now
    )
    rejected = await joins.move_rejected(conn, joining, left_out=LEFT_OUT, limit=BLOCK)
    steps = [corrected, moved, rejected]
    if not any(step.taken == BLOCK for step in steps):
        # Where an item comes to stand, the remarks on it have to know.
        steps.append(await joins.move_warnings(conn, joining, limit=BLOCK))
    await joins.count(
        conn,
        joining,
        rows=sum(step.rows for step in steps),
        refused=sum(step.refused for step in steps),
        now=now,
    )
    if any(step.ready for step in steps):
        await _let_run(conn, joining, reopened=reopened, now=now)
    is_complete = not any(step.taken == BLOCK for step in steps)
    if is_complete:
        await joins.end(conn, joining, now=now)
        await imports.give_up(conn, batch_id=joining.upload_id)
        await imports.delete_batch(conn, batch_id=joining.upload_id)
    return _Joined(
        is_complete=is_complete,
        late=Late(mends=moved.missed, corrections=corrected.missed),
    )


def _told(code: str) -> tuple[str, str]:
    return code, REFUSALS[code].text


async def _let_run(
    conn: Connection, joining: Joining, *, reopened: Collection[BatchState], now: datetime
) -> None:
    state = await joins.lock(conn, batch_id=joining.batch_id)
    if state is not None and state in reopened:
        state = next_batch_state(state, BatchEvent.REOPENED)
        await control.reopen(conn, batch_id=joining.batch_id, state=state, now=now)
    if state in ADMITTING_STATES:
        await queue.wake(conn, team_id=joining.team_id, now=now)


async def _lock(
    conn: Connection, *, team: Team, kind: Kind, batch_id: UUID, now: datetime
) -> BatchState:
    batch = await lock_list(conn, team=team, kind=kind, batch_id=batch_id)
    if batch.state is BatchState.CANCELLED:
        raise Conflict("The batch is cancelled.", state=batch.state)
    if batch.state is BatchState.STOPPED:
        await clear_stopped(conn, batch_ids=[batch_id], now=now)
    return batch.state

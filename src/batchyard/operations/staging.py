"""Rows of an upload on their way into the database: staged in a batch that nobody sees."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from batchyard.errors import Conflict
from batchyard.intake.blocks import CheckedBlock
from batchyard.intake.options import SHOWN_REFUSALS, IntakeOptions, UploadReport
from batchyard.intake.records import Record
from batchyard.intake.verdicts import ITEM_NOT_FAILED, ROW_NOT_REFUSED, WARNINGS
from batchyard.models import Team
from batchyard.store import imports, uploads
from batchyard.store.db import Connection, Database
from batchyard.store.imports import RejectedRow, RowWarning
from batchyard.store.item_intake import copy_block
from batchyard.store.uploads import Progress

DELETE_ROWS = 5000
DUPLICATE_ROWS = 250_000
"""Rows among which duplicates are looked for in one transaction."""


class Staging:
    """The rows of one upload, and how far it has come."""

    wants_keys = False
    """Whether the numbers or references of blocks are needed here."""

    def __init__(
        self,
        db: Database,
        *,
        team: Team,
        batch_id: UUID,
        target: UUID | None,
        options: IntakeOptions,
    ) -> None:
        """`target` is the batch that the rows will join; None where they become one."""
        self.batch_id = batch_id
        self.bytes = 0
        self.last_line = 0
        self.alive_at: datetime | None = None
        """When life was shown last; None until there is anything in the database."""
        self._db = db
        self._team = team
        self._target = target
        self._options = options
        self._rows = self._accepted = self._corrected = self._refused = self._skipped = 0
        self._codes: Counter[str] = Counter()
        self._first_refusals: list[RejectedRow] = []

    @property
    def rows(self) -> int:
        """Rows that were read."""
        return self._rows

    def report(self) -> UploadReport:
        """Return what became of the rows so far."""
        return UploadReport(
            rows=self._rows,
            accepted=self._accepted,
            corrected=self._corrected,
            refused=self._refused,
            skipped=self._skipped,
            codes=dict(self._codes),
            first_refusals=tuple(self._first_refusals),
        )

    async def screen(self, block: CheckedBlock, records: Sequence[Record]) -> CheckedBlock:
        """Return a block of these records without what is known here to be repeated."""
        del records
        return block

    def count(self, block: CheckedBlock) -> None:
        """Count a block whose verdicts are complete."""
        self._rows += block.rows
        self._accepted += block.items.count
        self._corrected += sum(
            one.item_id is not None and not one.is_refused for one in block.mends
        )
        self._refused += len(block.rejected)
        self._skipped += block.skipped
        self._codes.update(row.code for row in block.rejected)
        self._codes.update(row.code for row in block.warnings)
        room = SHOWN_REFUSALS - len(self._first_refusals)
        self._first_refusals += block.rejected[:room]

    async def store(self, block: CheckedBlock, progress: Progress) -> None:
        """Write a block; raise `Conflict` when the upload was given up meanwhile."""
        async with self._db.transaction() as conn:
            now = self._db.clock()
            await self._begin(conn, now=now)
            is_alive = await imports.record_block(
                conn,
                batch_id=self.batch_id,
                rows=block.rows - block.skipped,
                refused=len(block.rejected),
                now=now,
            )
            if not is_alive:
                raise removed()
            await copy_block(conn, block.items)
            await imports.copy_rejected(conn, batch_id=self.batch_id, rows=block.rejected)
            await imports.copy_warnings(conn, batch_id=self.batch_id, rows=block.warnings)
            await imports.copy_mends(conn, upload_id=self.batch_id, mends=block.mends)
            await uploads.record(conn, upload_id=self.batch_id, progress=progress, now=now)

    async def show_life(self) -> None:
        """Write how far the upload has come, so that nobody takes it for dead."""
        now = self._db.clock()
        async with self._db.transaction() as conn:
            await self._begin(conn, now=now)
            if not await imports.record_block(
                conn, batch_id=self.batch_id, rows=0, refused=0, now=now
            ):
                raise removed()
            await uploads.record(conn, upload_id=self.batch_id, progress=self.progress(), now=now)

    def progress(self) -> Progress:
        """Return the counts as they are kept."""
        return Progress(
            bytes=self.bytes,
            rows=self._rows,
            accepted=self._accepted,
            corrected=self._corrected,
            refused=self._refused,
            skipped=self._skipped,
            codes=dict(self._codes),
        )

    async def warn_duplicates(self) -> None:
        """Remark on each row whose number or reference an earlier one has."""
        code = "duplicate_in_file"
        parts = 1 + self._rows // DUPLICATE_ROWS
        for part in range(parts):
            async with self._db.transaction() as conn:
                warned = await imports.warn_duplicates(
                    conn,
                    batch_id=self.batch_id,
                    code=code,
                    reason=WARNINGS[code].text,
                    part=part,
                    parts=parts,
                )
            if warned:
                self._codes[code] += warned
            await self.show_life()

    async def warn(self, conn: Connection, warnings: Sequence[RowWarning]) -> None:
        """Remark on the upload as a whole, in its last transaction."""
        self._codes.update(one.code for one in warnings)
        await imports.copy_warnings(conn, batch_id=self.batch_id, rows=warnings)
        await uploads.record(
            conn, upload_id=self.batch_id, progress=self.progress(), now=self._db.clock()
        )

    async def take_back(self, conn: Connection, *, accepted: int, corrected: int) -> None:
        """Count rows as refused that were taken, but came too late to mend what they name."""
        self._accepted -= accepted
        self._corrected -= corrected
        self._refused += accepted + corrected
        self._codes[ROW_NOT_REFUSED] += accepted
        self._codes[ITEM_NOT_FAILED] += corrected
        self._codes += Counter()
        await uploads.record(
            conn, upload_id=self.batch_id, progress=self.progress(), now=self._db.clock()
        )

    def is_silent_for(self, time: timedelta) -> bool:
        """Tell whether the database heard nothing for so long."""
        return self.alive_at is not None and self._db.clock() - self.alive_at > time

    async def _begin(self, conn: Connection, *, now: datetime) -> None:
        if self.alive_at is None:
            if not await imports.insert(
                conn,
                batch_id=self.batch_id,
                team_id=self._team.id,
                kind=self._options.kind,
                now=now,
            ):
                raise Conflict("The upload_id is taken; choose another one.")
            await uploads.insert(
                conn,
                upload_id=self.batch_id,
                team_id=self._team.id,
                batch_id=self._target or self.batch_id,
                total_bytes=self._options.total_bytes,
                now=now,
            )
        self.alive_at = now


async def remove_import(db: Database, *, batch_id: UUID) -> None:
    """Remove an import in short transactions; whoever still adds to it is told."""
    async with db.transaction() as conn:
        await imports.give_up(conn, batch_id=batch_id)
    while True:
        async with db.transaction() as conn:
            deleted = await imports.delete_some_rows(conn, batch_id=batch_id, limit=DELETE_ROWS)
            if not deleted:
                await imports.delete_batch(conn, batch_id=batch_id)
                return


async def remove_idle(db: Database, *, now: datetime, idle_seconds: float) -> int:
    """Remove every import that showed no life for so long; return how many."""
    async with db.pool.connection() as conn:
        idle = await imports.list_idle(conn, before=now - timedelta(seconds=idle_seconds))
    for batch_id in idle:
        await remove_import(db, batch_id=batch_id)
    return len(idle)


def removed() -> Conflict:
    """Return what is told to an upload that was given up meanwhile."""
    return Conflict("The upload was silent for too long and was removed; send it again.")

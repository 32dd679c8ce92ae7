"""Rehearse a file, or a batch that was not started: what would become of its rows, and when."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import UUID

from batchyard import retry
from batchyard.config import Config
from batchyard.errors import Conflict, NotFound
from batchyard.intake.choices import RowPolicy
from batchyard.intake.options import IntakeOptions, UploadReport
from batchyard.intake.pool import run_aside
from batchyard.models import BatchState, Kind, Team
from batchyard.operations.outlooks import SampledItem
from batchyard.operations.plays import Rehearsal, play_scene
from batchyard.operations.reading import FileReading
from batchyard.operations.sampling import SAMPLE_BYTES, SAMPLE_ROWS, Sample
from batchyard.operations.scenes import RehearsalSettings, set_scene
from batchyard.store import rehearsals, row_reports
from batchyard.store.db import Database

READ_AT_ONCE = 1000
UNSTARTED = (BatchState.OPEN, BatchState.SCHEDULED)


class FileRehearsal(FileReading):
    """One file under rehearsal; got from `rehearse_file`."""

    def __init__(
        self,
        db: Database,
        *,
        team: Team,
        options: IntakeOptions,
        settings: RehearsalSettings,
        config: Config,
    ) -> None:
        self.sample = Sample(db, team=team, options=options)
        # Whatever would be refused as a whole: the rows that are good are played, and what is told
        # says what it means.
        taken = replace(options, policy=RowPolicy.GOOD_ROWS, refuses_same_file=False)
        super().__init__(db, team=team, options=taken, staging=self.sample)
        self._policy = options.policy
        self._settings = settings
        self._config = config

    async def play(self) -> Rehearsal:
        """Play the batch through once the file is complete. Raises `NotFound`."""
        report = await self._reported()
        played = await _play(
            self._db,
            team=self._team,
            kind=self._options.kind,
            items=self.sample.items(),
            report=report,
            settings=self._settings,
            config=self._config,
        )
        if self._policy is RowPolicy.ALL_OR_NOTHING and report.refused:
            remark = f"Of all or nothing nothing would be taken: {report.refused} rows are refused."
            return replace(played, remarks=[*played.remarks, remark])
        return played

    async def _reported(self) -> UploadReport:
        async with self._db.pool.connection() as conn:
            await self.find_same(conn)
        return self.report()


@asynccontextmanager
async def rehearse_file(
    db: Database,
    *,
    team: Team,
    options: IntakeOptions,
    settings: RehearsalSettings,
    config: Config,
) -> AsyncIterator[FileRehearsal]:
    """Begin the rehearsal of a file: fed and finished like an import, it leaves nothing behind."""
    reading = FileRehearsal(db, team=team, options=options, settings=settings, config=config)
    try:
        yield reading
    finally:
        await reading.stop()


async def rehearse_batch(
    db: Database, *, team: Team, batch_id: UUID, settings: RehearsalSettings, config: Config
) -> Rehearsal:
    """Rehearse a batch that is there: its items, with its own retries, windows and limits.

    Of `settings` only the start and the assumptions count; a scheduled batch starts at its time
    unless another one is given. Raises `NotFound`, and `Conflict` for a batch that was started.
    """
    async with db.pool.connection() as conn:
        batch = await rehearsals.read_batch(conn, team_id=team.id, batch_id=batch_id)
        if batch is None:
            raise NotFound("There is no such batch.")
        if batch.state not in UNSTARTED:
            raise Conflict(f"A batch that is {batch.state} was started already.", state=batch.state)
        refused, warned = await row_reports.count_codes(conn, batch_id=batch_id)
        chosen = await rehearsals.choose_items(conn, batch_id=batch_id, limit=SAMPLE_ROWS)
    own = replace(
        settings,
        agent_id=batch.agent_id,
        batch_id=batch_id,
        retry_policy=retry.from_json(batch.retry_policy),
        start_at=settings.start_at or batch.scheduled_at,
        bypass_windows=batch.bypass_windows,
        has_brake=batch.has_brake,
    )
    report = UploadReport(
        rows=batch.total_rows,
        accepted=batch.items,
        refused=batch.refused_rows,
        codes={**warned, **refused},
    )
    return await _play(
        db,
        team=team,
        kind=Kind(batch.kind),
        items=await _read_items(db, chosen),
        report=report,
        settings=own,
        config=config,
    )


async def _read_items(db: Database, chosen: Sequence[UUID]) -> list[SampledItem]:
    items: list[SampledItem] = []
    size = 0
    for start in range(0, len(chosen), READ_AT_ONCE):
        async with db.pool.connection() as conn:
            rows = await rehearsals.read_items(conn, item_ids=chosen[start : start + READ_AT_ONCE])
        size += sum(len(row.payload) for row in rows)
        items += [
            SampledItem(number=row.number, payload=row.payload, zones=row.zones) for row in rows
        ]
        if size > SAMPLE_BYTES:
            break
    return items


async def _play(
    db: Database,
    *,
    team: Team,
    kind: Kind,
    items: Sequence[SampledItem],
    report: UploadReport,
    settings: RehearsalSettings,
    config: Config,
) -> Rehearsal:
    total = report.accepted
    found = await set_scene(
        db, team=team, kind=kind, items=items, total=total, settings=settings, config=config
    )
    played = await run_aside(play_scene, found.scene)
    return replace(
        played,
        upload=report,
        items=total,
        provider=found.provider,
        remarks=[*found.remarks, *played.remarks],
    )

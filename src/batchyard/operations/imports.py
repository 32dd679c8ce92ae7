"""Import an uploaded list as a batch: staged as it streams in, opened or removed at the end."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from batchyard import retry
from batchyard.errors import NotFound
from batchyard.intake.blocks import warn
from batchyard.intake.columns import Columns, header_hash
from batchyard.intake.files import Format
from batchyard.intake.options import IntakeOptions, UploadReport
from batchyard.models import Kind, RetryPolicy, Team
from batchyard.operations import staging
from batchyard.operations.agents import use_agent
from batchyard.operations.joins import resume_joins
from batchyard.operations.numbers import choose_numbers
from batchyard.operations.reading import FileReading
from batchyard.operations.staging import remove_import, removed
from batchyard.store import imports, mappings, uploads, webhooks
from batchyard.store.db import Connection, Database
from batchyard.store.imports import OpenedBatch, RowWarning
from batchyard.store.uploads import Upload

Seal = Callable[[Connection], Awaitable[None]]


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchSettings:
    """What an upload says beside its file, whatever its rows are; None leaves the usual."""

    file_name: str | None
    reference: str | None = None
    identifier: str | None = None
    retry_policy: RetryPolicy = field(default_factory=RetryPolicy)
    priority: int | None = None
    bypass_windows: bool | None = None
    has_brake: bool | None = None
    warning_codes: Sequence[str] = ()
    """Remarks on the upload as a whole."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShipmentSettings(BatchSettings):
    """What an upload of shipments says beside its file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CallSettings(BatchSettings):
    """What an upload of calls says beside its file."""

    agent_id: UUID
    creates_agent: bool
    agent_name: str | None = None
    """Of an agent that is made; None calls it by its id."""
    from_numbers: Sequence[str] = ()
    webhook_url: str | None = None
    webhook_format: str = ""
    """In whose words the batch's webhook speaks."""


class FileImport(FileReading):
    """One upload that becomes a batch; got from `import_file` or `import_calls`."""

    def __init__(self, db: Database, *, team: Team, options: IntakeOptions) -> None:
        super().__init__(db, team=team, options=options)
        self.offered_mapping: str | None = None
        self.new_agent: str | None = None
        """What the agent is called that this upload made; known once it is open."""

    async def open(self, settings: BatchSettings, *, seal: Seal | None = None) -> None:
        """Make the complete import a batch that clients see; `seal` does more in that transaction.

        Raises `NotFound` for an agent that is not the team's, `InvalidRequest` for the very same
        file where that is refused, and `Conflict` when the upload was silent for so long that it
        was removed.
        """
        now = self._db.clock()
        async with self._db.transaction() as conn:
            await self.claim_file(conn)
            await self._find_mapping(conn)
            batch = await self._settled(conn, settings, now=now)
            last_line = self.staging.last_line
            if not await imports.open_batch(
                conn, batch_id=self.batch_id, batch=batch, last_line=last_line, now=now
            ):
                raise removed()
            facts = self.facts(settings.file_name)
            await uploads.describe(
                conn, upload_id=self.batch_id, facts=facts, state="done", now=now
            )
            await self.staging.warn(conn, self._all_remarks(settings.warning_codes))
            if isinstance(settings, CallSettings) and settings.webhook_url is not None:
                await webhooks.add_of_batch(
                    conn,
                    team_id=self._team.id,
                    batch_id=self.batch_id,
                    url=settings.webhook_url,
                    format_=settings.webhook_format,
                    now=now,
                )
            if seal is not None:
                await seal(conn)

    def report(self) -> UploadReport:
        """Return what became of the rows."""
        return replace(super().report(), offered_mapping=self.offered_mapping)

    async def give_up(self) -> None:
        """Remove everything that was stored."""
        await self.stop()
        if self.staging.alive_at is not None:
            await remove_import(self._db, batch_id=self.batch_id)

    def _all_remarks(self, codes: Sequence[str]) -> list[RowWarning]:
        return [*(warn(None, code) for code in codes), *self.remarks()]

    async def _find_mapping(self, conn: Connection) -> None:
        """Find out whether the team has a mapping for this header."""
        if self.header is not None and not self._options.columns.given:
            self.offered_mapping = await mappings.find_by_header(
                conn,
                team_id=self._team.id,
                kind=self._options.kind,
                header_hash=header_hash(self.header.cells),
            )

    async def _settled(
        self, conn: Connection, settings: BatchSettings, *, now: datetime
    ) -> OpenedBatch:
        batch = OpenedBatch(
            file_name=settings.file_name,
            reference=settings.reference,
            identifier=settings.identifier,
            retry_policy=retry.to_json(settings.retry_policy),
            columns=None if self.header is None else self.header.cells,
            priority=settings.priority,
            bypass_windows=settings.bypass_windows,
            has_brake=settings.has_brake,
        )
        if not isinstance(settings, CallSettings):
            return batch
        self.new_agent = await use_agent(
            conn,
            team=self._team,
            agent_id=settings.agent_id,
            creates=settings.creates_agent,
            name=settings.agent_name,
            now=now,
        )
        numbers = await choose_numbers(
            conn, team=self._team, agent_id=settings.agent_id, given=settings.from_numbers
        )
        return replace(
            batch,
            agent_id=settings.agent_id,
            from_numbers=numbers,
            webhook_url=settings.webhook_url,
        )


@asynccontextmanager
async def import_file(
    db: Database, *, team: Team, options: IntakeOptions
) -> AsyncIterator[FileImport]:
    """Begin an upload; when the block that reads and opens it fails, nothing of it stays."""
    upload = FileImport(db, team=team, options=options)
    try:
        yield upload
    except BaseException:
        # Also when the client or the server goes away: what cannot be removed now, housekeeping
        # removes as idle.
        await upload.give_up()
        raise
    await upload.stop()


@asynccontextmanager
async def import_calls(
    db: Database, *, team: Team, refuses_unassigned: bool, refuses_same_file: bool = False
) -> AsyncIterator[FileImport]:
    """Begin the upload of a CSV of calls whose columns have the names of the Bolna contract."""
    options = IntakeOptions(
        columns=Columns(kind=Kind.CALL, takes_synonyms=False),
        formats=frozenset({Format.CSV}),
        takes_gzip=False,
        refuses_unassigned=refuses_unassigned,
        pads_short_rows=True,
        refuses_same_file=refuses_same_file,
    )
    async with import_file(db, team=team, options=options) as upload:
        yield upload


async def remove_idle(db: Database, *, now: datetime, idle_seconds: float) -> int:
    """Remove imports that showed no life for so long, return how many; finish what may join."""
    await resume_joins(db)
    return await staging.remove_idle(db, now=now, idle_seconds=idle_seconds)


async def read_upload(db: Database, *, team: Team, upload_id: UUID) -> Upload:
    """Return how far an upload has come; raise `NotFound`."""
    async with db.pool.connection() as conn:
        found = await uploads.read(conn, team_id=team.id, upload_id=upload_id)
    if found is None:
        raise NotFound("There is no such upload.")
    return found


async def list_uploads(db: Database, *, team: Team, batch_id: UUID | None = None) -> list[Upload]:
    """List the uploads of a batch, or, without one, all that are under way."""
    async with db.pool.connection() as conn:
        if batch_id is None:
            return await uploads.list_under_way(conn, team_id=team.id)
        return await uploads.list_of_batch(conn, team_id=team.id, batch_id=batch_id)

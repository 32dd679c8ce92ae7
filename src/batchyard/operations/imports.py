"""Import an uploaded list as a batch: staged as it streams in, opened or removed at the end."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from batchyard import retry
from batchyard.errors import Conflict, InvalidRequest
from batchyard.intake.calls import NUMBER_COLUMN, CallFile, CheckedBlock, check_calls
from batchyard.intake.records import Row
from batchyard.intake.tables import Header, TableReader
from batchyard.intake.verdicts import WARNINGS
from batchyard.models import Kind, RetryPolicy, Team
from batchyard.operations.agents import use_agent
from batchyard.operations.contact_checks import ContactCheck, find_blocked, open_check
from batchyard.operations.numbers import choose_numbers
from batchyard.store import imports, webhooks
from batchyard.store.db import Connection, Database
from batchyard.store.ids import new_id
from batchyard.store.imports import OpenedCalls, RowWarning
from batchyard.store.item_intake import copy_block

READ_BYTES = 256 * 1024
"""How much of a file is read into rows at once."""
BLOCK_ROWS = 2000
"""Rows that are checked, and stored in a transaction, at once."""
DELETE_ROWS = 5000
DUPLICATE_ROWS = 250_000
"""Rows among which duplicates are looked for in one transaction."""
SIGN_OF_LIFE = timedelta(seconds=30)
"""How often a slow upload shows that it still lives."""

Seal = Callable[[Connection], Awaitable[None]]


@dataclass(frozen=True, kw_only=True, slots=True)
class CallSettings:
    """What an upload says beside its file."""

    agent_id: UUID
    creates_agent: bool
    file_name: str | None
    from_numbers: Sequence[str] = ()
    webhook_url: str | None = None
    webhook_format: str = ""
    """In whose words the batch's webhook speaks."""
    retry_policy: RetryPolicy
    warning_codes: Sequence[str] = ()
    """Remarks on the upload as a whole."""


class CallImport:
    """One upload of a list of calls under way; got from `import_calls`."""

    def __init__(self, db: Database, *, team: Team, refuses_unassigned: bool) -> None:
        self.batch_id = new_id()
        self._db = db
        self._team = team
        self._refuses_unassigned = refuses_unassigned
        self._reader = TableReader(needed=NUMBER_COLUMN)
        self._unread = bytearray()
        self._check: ContactCheck | None = None
        self._rows = 0
        self._alive_at: datetime | None = None
        self._storing: asyncio.Task[None] | None = None

    async def feed(self, data: bytes) -> None:
        """Take the next bytes of the file; raise `InvalidRequest` if it is no CSV."""
        self._unread += data
        if len(self._unread) >= READ_BYTES:
            await self._read()
        elif self._alive_at is not None and self._db.clock() - self._alive_at > SIGN_OF_LIFE:
            await self._record(rows=0, refused=0)

    async def finish_file(self) -> None:
        """Store what is left; raise `InvalidRequest` when the file has no data row."""
        await self._read()
        await self._add(await asyncio.to_thread(self._reader.finish))
        await self._settle()
        if not self._rows:
            raise InvalidRequest("The file has no data row.")

    async def open(self, settings: CallSettings, *, seal: Seal | None = None) -> None:
        """Make the complete import a batch that clients see; `seal` does more in that transaction.

        Raises `NotFound` for an agent that is not the team's, and `Conflict` when the upload was
        silent for so long that it was removed.
        """
        await self._warn_duplicates()
        header = self._header()
        codes = [*settings.warning_codes, *(["column_renamed"] if header.is_renamed else [])]
        now = self._db.clock()
        async with self._db.transaction() as conn:
            await use_agent(
                conn,
                team=self._team,
                agent_id=settings.agent_id,
                creates=settings.creates_agent,
                now=now,
            )
            calls = OpenedCalls(
                agent_id=settings.agent_id,
                file_name=settings.file_name,
                from_numbers=await choose_numbers(
                    conn, team=self._team, agent_id=settings.agent_id, given=settings.from_numbers
                ),
                webhook_url=settings.webhook_url,
                retry_policy=retry.to_json(settings.retry_policy),
                columns=header.cells,
            )
            if not await imports.open_calls(conn, batch_id=self.batch_id, calls=calls, now=now):
                raise _removed()
            warnings = [
                RowWarning(line=None, code=code, reason=WARNINGS[code].text) for code in codes
            ]
            await imports.copy_warnings(conn, batch_id=self.batch_id, rows=warnings)
            if settings.webhook_url is not None:
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

    async def give_up(self) -> None:
        """Remove everything that was stored."""
        if self._storing is not None:
            await asyncio.gather(self._storing, return_exceptions=True)
        if self._alive_at is not None:
            await remove_import(self._db, batch_id=self.batch_id)

    async def _read(self) -> None:
        data = bytes(self._unread)
        self._unread.clear()
        await self._add(await asyncio.to_thread(self._reader.feed, data))

    async def _add(self, rows: list[Row]) -> None:
        for start in range(0, len(rows), BLOCK_ROWS):
            checked = await self._check_block(rows[start : start + BLOCK_ROWS])
            # PostgreSQL stores one block while the next is checked.
            await self._settle()
            self._storing = asyncio.create_task(self._store(checked))
            self._rows += checked.rows

    async def _check_block(self, rows: Sequence[Row]) -> CheckedBlock:
        if self._check is None:
            self._check = await open_check(self._db, team=self._team)
        file = CallFile(
            batch_id=self.batch_id,
            team_id=self._team.id,
            header=self._header(),
            refuses_unassigned=self._refuses_unassigned,
            rules=self._check.rules,
            zone_sets=self._check.zone_sets,
            looks_up=self._check.looks_up,
        )
        now = self._db.clock()
        checked = await asyncio.to_thread(check_calls, rows, file=file, now=now)
        blocked = await find_blocked(self._db, self._check, checked.numbers)
        if not blocked:
            return checked
        return await asyncio.to_thread(check_calls, rows, file=file, now=now, blocked=blocked)

    async def _settle(self) -> None:
        if self._storing is not None:
            storing, self._storing = self._storing, None
            await storing

    async def _store(self, block: CheckedBlock) -> None:
        async with self._db.transaction() as conn:
            now = self._db.clock()
            if self._alive_at is None:
                await imports.insert(
                    conn,
                    batch_id=self.batch_id,
                    team_id=self._team.id,
                    kind=Kind.CALL,
                    now=now,
                )
            self._alive_at = now
            is_alive = await imports.record_block(
                conn,
                batch_id=self.batch_id,
                rows=block.rows,
                refused=len(block.rejected),
                now=now,
            )
            if not is_alive:
                raise _removed()
            await copy_block(conn, block.items)
            await imports.copy_rejected(conn, batch_id=self.batch_id, rows=block.rejected)
            await imports.copy_warnings(conn, batch_id=self.batch_id, rows=block.warnings)

    async def _record(self, *, rows: int, refused: int) -> None:
        await self._settle()
        now = self._db.clock()
        async with self._db.transaction() as conn:
            if not await imports.record_block(
                conn, batch_id=self.batch_id, rows=rows, refused=refused, now=now
            ):
                raise _removed()
        self._alive_at = now

    async def _warn_duplicates(self) -> None:
        parts = 1 + self._rows // DUPLICATE_ROWS
        for part in range(parts):
            async with self._db.transaction() as conn:
                await imports.warn_duplicates(
                    conn,
                    batch_id=self.batch_id,
                    code="duplicate_in_file",
                    reason=WARNINGS["duplicate_in_file"].text,
                    part=part,
                    parts=parts,
                )
            await self._record(rows=0, refused=0)

    def _header(self) -> Header:
        if self._reader.header is None:
            raise InvalidRequest("The file is empty.")
        return self._reader.header


@asynccontextmanager
async def import_calls(
    db: Database, *, team: Team, refuses_unassigned: bool
) -> AsyncIterator[CallImport]:
    """Begin an upload; when the block that reads and opens it fails, nothing of it stays."""
    upload = CallImport(db, team=team, refuses_unassigned=refuses_unassigned)
    try:
        yield upload
    except BaseException:
        # Also when the client or the server goes away: what cannot be removed now, housekeeping
        # removes as idle.
        await upload.give_up()
        raise


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


def _removed() -> Conflict:
    return Conflict("The upload was silent for too long and was removed; send it again.")

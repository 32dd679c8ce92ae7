"""Read an uploaded file while it comes in: rows checked in other processes, staged in order."""

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from batchyard.errors import InvalidRequest
from batchyard.intake.blocks import CheckedBlock, FileCheck, plain_records, strike, warn
from batchyard.intake.check import check_rows
from batchyard.intake.choices import Duplicates, RowPolicy
from batchyard.intake.columns import Header, header_hash
from batchyard.intake.files import FileReader, Format
from batchyard.intake.options import IntakeOptions, UploadReport
from batchyard.intake.pool import parallel_blocks, run_apart, run_aside
from batchyard.intake.records import Record
from batchyard.intake.shipment_shape import Offer
from batchyard.intake.shipments import unknown_columns
from batchyard.intake.spool import Spool, convert
from batchyard.models import Kind, Team
from batchyard.operations.contact_checks import open_check
from batchyard.operations.duplicates import Lookup
from batchyard.operations.offers import find_offer
from batchyard.operations.staging import Staging
from batchyard.store import uploads
from batchyard.store.db import Connection, Database
from batchyard.store.ids import new_id
from batchyard.store.imports import RowWarning
from batchyard.store.uploads import FileFacts

READ_BYTES = 256 * 1024
"""How much of a file is read into rows at once."""
BLOCK_ROWS = 2000
BLOCK_BYTES = 1024 * 1024
"""Rows that are checked, and stored in a transaction, at once: what is reached first."""
SIGN_OF_LIFE = timedelta(seconds=30)
"""How often a slow upload shows that it still lives."""
SIGN_OF_PROGRESS = timedelta(seconds=1)
"""The same of a spreadsheet, whose rows come only after its last byte."""
SAME_FILE_WITHIN = timedelta(minutes=15)
"""From the end of one upload to the beginning of the next."""


Checking = tuple[Sequence[Record], asyncio.Task[CheckedBlock]]
"""A block, and the check of it under way."""


class RowsRefused(InvalidRequest):
    """The file has rows that cannot be taken, and all or none of it was asked for."""

    def __init__(self, report: UploadReport) -> None:
        super().__init__(
            f"{report.refused} of {report.rows} rows cannot be taken, so none was.",
            faults={f"line {row.line}": [row.reason] for row in report.first_refusals},
            code="rows_refused",
        )
        self.report = report


class FileReading:
    """One file under way into its staging batch."""

    def __init__(
        self,
        db: Database,
        *,
        team: Team,
        options: IntakeOptions,
        target: UUID | None = None,
        staging: Staging | None = None,
    ) -> None:
        self.batch_id = options.upload_id or new_id()
        self.duplicate_of: UUID | None = None
        """The batch that the very same file went into minutes ago, once that was looked for."""
        self._began_at = db.clock()
        self._db = db
        self._team = team
        self._options = options
        self._target = target
        self.staging = staging or Staging(
            db, team=team, batch_id=self.batch_id, target=target, options=options
        )
        self.reader = FileReader(
            options.columns,
            formats=options.formats,
            takes_gzip=options.takes_gzip,
            encoding=options.encoding,
            max_unpacked_bytes=options.max_unpacked_bytes,
        )
        self._digest = hashlib.sha256()
        self._unread = bytearray()
        self._spool: Spool | None = None
        self._pending: list[Record] = []
        self._submitted_bytes = 0
        self._submitted_rows = 0
        self._file: FileCheck | None = None
        self._lookup: Lookup | None = None
        self._checking: asyncio.Queue[Checking | None] = asyncio.Queue(parallel_blocks())
        self._storing: asyncio.Task[None] | None = None

    @property
    def sha256(self) -> bytes:
        """Of the bytes as they came."""
        return self._digest.digest()

    @property
    def header(self) -> Header | None:
        """The columns; files of JSON objects have none."""
        return self.reader.header

    async def feed(self, data: bytes) -> None:
        """Take the next bytes of the file; raise `InvalidRequest` if it is no list."""
        self._digest.update(data)
        self.staging.bytes += len(data)
        self._unread += data
        if len(self._unread) >= READ_BYTES:
            await self._read()
        elif self.staging.is_silent_for(SIGN_OF_LIFE):
            await self.staging.show_life()

    async def finish_file(self) -> None:
        """Store what is left.

        Raises `InvalidRequest` when the file has no row, and `RowsRefused`.
        """
        await self._read()
        await self._take_all(self.reader.finish())
        if self.reader.format is Format.XLSX:
            await self._read_spool()
        if self._pending:
            await self._submit()
        await self._hand_on(None)
        if self._storing is not None:
            await self._storing
        if not self.staging.rows:
            raise InvalidRequest("The file has no data row.", code="rows_missing")
        report = self.staging.report()
        if self._options.policy is RowPolicy.ALL_OR_NOTHING and report.refused:
            raise RowsRefused(report)
        if self._options.duplicates is Duplicates.KEEP:
            await self.staging.warn_duplicates()

    async def stop(self) -> None:
        """End what is under way; nothing is stored after this."""
        if self._storing is not None:
            self._storing.cancel()
            await asyncio.gather(self._storing, return_exceptions=True)
        while not self._checking.empty():
            waiting = self._checking.get_nowait()
            if waiting is not None:
                waiting[1].cancel()
                await asyncio.gather(waiting[1], return_exceptions=True)
        if self._spool is not None:
            await asyncio.to_thread(self._spool.remove)

    def facts(self, name: str | None) -> FileFacts:
        """Return what the complete file is."""
        header = self.header
        return FileFacts(
            name=name,
            format=self.reader.format or Format.CSV,
            delimiter=self.reader.delimiter,
            columns=None if header is None else header.cells,
            mapping=dict(self._options.columns.given) if header is None else header.mapping,
            header_hash=None if header is None else header_hash(header.cells),
            sha256=self._digest.digest(),
        )

    def report(self) -> UploadReport:
        """Return what became of the rows."""
        return replace(self.staging.report(), duplicate_of=self.duplicate_of)

    async def claim_file(self, conn: Connection) -> None:
        """Begin a transaction that takes the file: of two at one moment the second sees the first.

        Raises as `find_same`.
        """
        await uploads.lock_content(conn, team_id=self._team.id, sha256=self.sha256)
        await self.find_same(conn)

    async def find_same(self, conn: Connection) -> None:
        """Find out whether the very same file was there minutes ago.

        Raises `InvalidRequest` where that is refused.
        """
        self.duplicate_of = await uploads.find_same(
            conn,
            team_id=self._team.id,
            upload_id=self.batch_id,
            sha256=self.sha256,
            since=self._began_at - SAME_FILE_WITHIN,
        )
        if self.duplicate_of is not None and self._options.refuses_same_file:
            raise InvalidRequest(
                f"The very same file was uploaded minutes ago, into batch {self.duplicate_of}.",
                code="same_file",
            )

    def remarks(self) -> list[RowWarning]:
        """Return what is to be said about the file and its columns."""
        header, remarks = self.header, list[RowWarning]()
        if self.duplicate_of is not None:
            remarks.append(warn(None, "same_file", f" Its batch is {self.duplicate_of}."))
        if self.reader.is_encoding_guessed:
            remarks.append(warn(None, "encoding_guessed"))
        if header is None:
            return remarks
        if header.is_renamed:
            remarks.append(warn(None, "column_renamed"))
        for cell in header.guessed:
            meaning = header.names[header.cells.index(cell)]
            remarks.append(warn(None, "column_guessed", f" {cell.strip()!r} is {meaning}."))
        if self._options.kind is Kind.SHIPMENT:
            remarks += [
                warn(None, "column_unknown", f" It is {cell.strip()!r}.")
                for cell in unknown_columns(header)
            ]
        return remarks

    async def _read(self) -> None:
        data = bytes(self._unread)
        self._unread.clear()
        await self._take_all(self.reader.feed(data))

    async def _take_all(self, rows: Iterator[list[Record]]) -> None:
        while (some := await asyncio.to_thread(next, rows, None)) is not None:
            await self._keep_spooled()
            await self._add(some)

    async def _keep_spooled(self) -> None:
        if not self.reader.spooled:
            return
        pieces = b"".join(self.reader.spooled)
        self.reader.spooled.clear()
        if self._spool is None:
            self._spool = await asyncio.to_thread(Spool)
        await asyncio.to_thread(self._spool.write, pieces)
        if self.staging.alive_at is None or self.staging.is_silent_for(SIGN_OF_PROGRESS):
            await self.staging.show_life()

    async def _read_spool(self) -> None:
        if self._spool is None:
            raise InvalidRequest("The file is empty.", code="file_empty")
        await self._convert(self._spool.complete())
        rows = self._spool.rows()
        while (some := await asyncio.to_thread(next, rows, None)) is not None:
            await self._add(self.reader.take_rows(some))
        if self.header is None:
            raise InvalidRequest("The sheet is empty.", code="file_empty")

    async def _convert(self, folder: str) -> None:
        """Turn the spreadsheet into rows; show life while others are before it, and meanwhile."""
        converting = asyncio.create_task(run_apart(convert, folder, sheet=self._options.sheet))
        try:
            while not converting.done():
                await asyncio.wait([converting], timeout=SIGN_OF_LIFE.total_seconds())
                if self.staging.is_silent_for(SIGN_OF_LIFE):
                    await self.staging.show_life()
            await converting
        finally:
            converting.cancel()

    async def _add(self, records: list[Record]) -> None:
        self._pending += records
        while len(self._pending) >= BLOCK_ROWS:
            await self._submit()
        if self._pending and self.reader.unpacked_bytes - self._submitted_bytes >= BLOCK_BYTES:
            await self._submit()

    async def _submit(self) -> None:
        """Send a block to be checked; wait when enough of them are under way."""
        records, self._pending = self._pending[:BLOCK_ROWS], self._pending[BLOCK_ROWS:]
        self._submitted_bytes = self.reader.unpacked_bytes
        self.staging.last_line = max(self.staging.last_line, records[-1][0])
        file = self._file or await self._open_checks()
        now = self._db.clock()
        turn, self._submitted_rows = self._submitted_rows, self._submitted_rows + len(records)
        # A short list is checked before a process could have been started for it.
        checked = (
            run_aside(check_rows, records, file=file, first_turn=turn, now=now)
            if turn
            else asyncio.to_thread(check_rows, records, file=file, now=now)
        )
        await self._hand_on((records, asyncio.create_task(checked)))

    async def _hand_on(self, checking: Checking | None) -> None:
        """Give a block to the one who stores, None after the last; wait while it has enough."""
        if self._storing is None:
            if checking is None:
                return
            self._storing = asyncio.create_task(self._store_all())
        handing = asyncio.create_task(self._checking.put(checking))
        await asyncio.wait([handing, self._storing], return_when=asyncio.FIRST_COMPLETED)
        if not handing.done():
            # Whoever stores has ended before the last block: only a fault does that.
            handing.cancel()
            await self._storing

    async def _store_all(self) -> None:
        """Store the blocks in their order, while the next ones are read and checked."""
        while (checking := await self._checking.get()) is not None:
            records, task = checking
            block = await task
            if self._file is not None:
                records = plain_records(records, self._file)
            if self._lookup is not None:
                known = await self._lookup.ask(block)
                block = strike(
                    block,
                    records,
                    refused=known.refused,
                    skipped=known.skipped,
                    warned=known.warned,
                )
            block = await self.staging.screen(block, records)
            self.staging.count(block)
            await self.staging.store(block, self.staging.progress())

    async def _open_checks(self) -> FileCheck:
        contacts = await open_check(self._db, team=self._team)
        self._lookup = Lookup(
            self._db,
            team=self._team,
            batch_id=self.batch_id,
            options=self._options,
            contacts=contacts,
            target=self._target,
        )
        await self._lookup.open()
        self._file = FileCheck(
            batch_id=self.batch_id,
            team_id=self._team.id,
            header=self.header,
            columns=self._options.columns,
            refuses_unassigned=self._options.refuses_unassigned,
            pads_short_rows=self._options.pads_short_rows,
            rules=contacts.rules,
            zone_sets=contacts.zone_sets,
            offer=await self._offer(),
            is_looked_up=self._lookup.looks_up or self.staging.wants_keys,
            takes_marks=self._target is not None,
        )
        return self._file

    async def _offer(self) -> Offer | None:
        if self._options.kind is not Kind.SHIPMENT:
            return None
        return await find_offer(self._db, team=self._team)

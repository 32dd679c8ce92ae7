"""What is known of rows that only the database can tell: seen before, or not to be contacted."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from batchyard.intake.blocks import CheckedBlock, warn
from batchyard.intake.choices import Duplicates
from batchyard.intake.options import IntakeOptions
from batchyard.intake.verdicts import ITEM_NOT_FAILED, ITEM_TAKEN_OUT, ROW_NOT_REFUSED
from batchyard.models import Kind, Team
from batchyard.operations.changes import FAILED_STATUSES
from batchyard.operations.contact_checks import ContactCheck, find_blocked
from batchyard.store import duplicates, joins
from batchyard.store.db import Database
from batchyard.store.imports import RowWarning


@dataclass(kw_only=True, slots=True)
class Known:
    """What the database says about the lines of a block."""

    refused: dict[int, str] = field(default_factory=dict)
    skipped: set[int] = field(default_factory=set)
    warned: list[RowWarning] = field(default_factory=list)

    def judge(self, line: int, code: str, policy: Duplicates) -> None:
        """Note a duplicate as was asked; what is refused already stays so."""
        if line in self.refused or line in self.skipped:
            return
        match policy:
            case Duplicates.REFUSE:
                self.refused[line] = code
            case Duplicates.SKIP:
                self.skipped.add(line)
            case Duplicates.KEEP:
                self.warned.append(warn(line, code))


class Lookup:
    """Asks the database about the rows of one upload, block by block in their order."""

    def __init__(
        self,
        db: Database,
        *,
        team: Team,
        batch_id: UUID,
        options: IntakeOptions,
        contacts: ContactCheck,
        target: UUID | None,
    ) -> None:
        self._db = db
        self._team = team
        self._batch_id = batch_id
        self._options = options
        self._contacts = contacts
        self._target = target
        self._since = db.clock() - timedelta(days=options.recent_days)
        self._has_recent = False

    async def open(self) -> None:
        """Find out what has to be looked up at all."""
        if self._options.recent_days <= 0:
            return
        async with self._db.pool.connection() as conn:
            self._has_recent = await duplicates.has_recent(
                conn, team_id=self._team.id, kind=self._options.kind, since=self._since
            )

    @property
    def looks_up(self) -> bool:
        """Whether anything will be asked about rows."""
        # Rows that join a batch may be struck for what they mend.
        is_joining = self._target is not None
        return is_joining or self._contacts.looks_up or self.needs_order or self._has_recent

    @property
    def needs_order(self) -> bool:
        """Whether the block before must be stored first: it may hold what this one repeats."""
        return self._options.duplicates is not Duplicates.KEEP

    async def ask(self, block: CheckedBlock) -> Known:
        """Return what is known of rows that were accepted so far."""
        known, accepted = Known(), block.accepted
        if self._target is not None and block.mends:
            await self._ask_lines(block, known, batch_id=self._target)
            await self._ask_items(block, known, batch_id=self._target)
        if self._options.kind is Kind.CALL and self._contacts.looks_up:
            numbers = {key: zones for _, key, zones in accepted if key is not None}
            blocked = await find_blocked(self._db, self._contacts, numbers)
            found = {line: blocked[key] for line, key, _ in accepted if key in blocked}
            # What was mended before stays that, whatever else could be said of it.
            known.refused = {**found, **known.refused}
        keyed = [(line, key) for line, key, _ in accepted if key is not None]
        if self.needs_order and keyed:
            await self._ask_file(keyed, known)
        if self._has_recent and keyed:
            await self._ask_recent(keyed, known)
        return known

    async def _ask_lines(self, block: CheckedBlock, known: Known, *, batch_id: UUID) -> None:
        """Refuse what would mend a row that is not refused any more, or mend one a second time."""
        wanted = [(one, one.error_line) for one in block.mends if one.error_line is not None]
        if not wanted:
            return
        async with self._db.pool.connection() as conn:
            refused = await joins.find_refused(
                conn, batch_id=batch_id, lines=[error_line for _, error_line in wanted]
            )
        mended: set[int] = set()
        for one, error_line in wanted:
            is_again = error_line in mended and not one.is_refused
            if error_line not in refused or is_again:
                known.refused[one.line] = ROW_NOT_REFUSED
            elif not one.is_refused:
                mended.add(error_line)

    async def _ask_items(self, block: CheckedBlock, known: Known, *, batch_id: UUID) -> None:
        wanted = [(one, one.item_id) for one in block.mends if one.item_id is not None]
        async with self._db.pool.connection() as conn:
            found = await joins.find_items(
                conn,
                batch_id=batch_id,
                ids=[item_id for _, item_id in wanted],
                statuses=FAILED_STATUSES[self._options.kind],
            )
        if self._contacts.looks_up:
            numbers = {one.line: one.number for one in block.mends if one.number is not None}
            blocked = await find_blocked(
                self._db, self._contacts, dict.fromkeys(numbers.values(), ())
            )
            known.refused |= {
                line: blocked[number] for line, number in numbers.items() if number in blocked
            }
        for one, item_id in wanted:
            item = found.get(item_id)
            if item is not None and item.is_taken_out:
                # A faulty row too: refused for its fault, it would be kept and offered once more.
                known.refused[one.line] = ITEM_TAKEN_OUT
            elif one.is_refused:
                continue
            elif item is None:
                known.refused[one.line] = "item_unknown"
            elif not item.has_failed:
                known.refused[one.line] = ITEM_NOT_FAILED

    async def _ask_file(self, keyed: Sequence[tuple[int, str]], known: Known) -> None:
        async with self._db.pool.connection() as conn:
            seen = await duplicates.find_staged(
                conn, batch_id=self._batch_id, keys=[key for _, key in keyed]
            )
        for line, key in keyed:
            if key in seen:
                known.judge(line, "duplicate_in_file", self._options.duplicates)
            elif line not in known.refused:
                seen.add(key)

    async def _ask_recent(self, keyed: Sequence[tuple[int, str]], known: Known) -> None:
        async with self._db.pool.connection() as conn:
            seen = await duplicates.find_recent(
                conn,
                team_id=self._team.id,
                kind=self._options.kind,
                keys=[key for _, key in keyed],
                since=self._since,
            )
        for line, key in keyed:
            if key in seen:
                known.judge(line, "duplicate_recent", self._options.recent)

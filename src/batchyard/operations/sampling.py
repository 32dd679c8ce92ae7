"""Rows of a rehearsed file: counted and judged like any upload, a sample kept, nothing stored."""

import asyncio
from collections.abc import Sequence
from random import Random

from batchyard.intake.blocks import CheckedBlock, strike, warn
from batchyard.intake.choices import Duplicates
from batchyard.intake.options import IntakeOptions
from batchyard.intake.records import Record
from batchyard.models import Team
from batchyard.operations.outlooks import SampledItem
from batchyard.operations.seen import Seen
from batchyard.operations.staging import Staging
from batchyard.store.db import Connection, Database
from batchyard.store.ids import new_id
from batchyard.store.imports import RowWarning
from batchyard.store.item_intake import WrittenItem, read_items
from batchyard.store.uploads import Progress

SAMPLE_ROWS = 50_000
SAMPLE_BYTES = 32 * 1024 * 1024
"""Of payloads; wide rows make a smaller sample."""


class Sample(Staging):
    """Takes the place of what stores rows."""

    wants_keys = True

    def __init__(self, db: Database, *, team: Team, options: IntakeOptions) -> None:
        super().__init__(db, team=team, batch_id=new_id(), target=None, options=options)
        self._policy = options.duplicates
        self._seen = Seen()
        self._room = SAMPLE_ROWS
        self._kept: list[tuple[WrittenItem, tuple[str, ...]]] = []
        self._bytes = 0
        self._count = 0
        self._die = Random(0)  # noqa: S311  # the same file gives the same sample

    def items(self) -> list[SampledItem]:
        """Return the sample."""
        return [
            SampledItem(number=one.number, payload=one.payload, zones=zones)
            for one, zones in self._kept
        ]

    async def screen(self, block: CheckedBlock, records: Sequence[Record]) -> CheckedBlock:
        """Find what earlier rows have, as the database would."""
        return await asyncio.to_thread(self._screen, block, records)

    def _screen(self, block: CheckedBlock, records: Sequence[Record]) -> CheckedBlock:
        keys = ((line, key) for line, key, _ in block.accepted if key is not None)
        again = [line for line, key in keys if not self._seen.add(key)]
        code = "duplicate_in_file"
        match self._policy:
            case Duplicates.KEEP:
                warned = [warn(line, code) for line in again]
                return strike(block, records, refused={}, warned=warned)
            case Duplicates.SKIP:
                return strike(block, records, refused={}, skipped=again)
            case Duplicates.REFUSE:
                return strike(block, records, refused=dict.fromkeys(again, code))

    async def store(self, block: CheckedBlock, progress: Progress) -> None:
        """Keep a fair sample of the items."""
        del progress
        chosen: dict[int, int] = {}
        for index in range(block.items.count):
            place = (
                self._count if self._count < self._room else self._die.randrange(self._count + 1)
            )
            self._count += 1
            if place < self._room:
                chosen[index] = place
        for index, written in zip(chosen, read_items(block.items, chosen), strict=True):
            kept = written, block.accepted[index][2]
            self._bytes += len(written.payload)
            if chosen[index] < len(self._kept):
                self._bytes -= len(self._kept[chosen[index]][0].payload)
                self._kept[chosen[index]] = kept
            else:
                self._kept.append(kept)
        while self._bytes > SAMPLE_BYTES and len(self._kept) > 1000:
            self._halve()

    async def show_life(self) -> None:
        """Nobody waits for a sign."""

    async def warn_duplicates(self) -> None:
        """They were found on the way."""

    async def warn(self, conn: Connection, warnings: Sequence[RowWarning]) -> None:
        """Nothing is stored."""

    def _halve(self) -> None:
        self._die.shuffle(self._kept)
        del self._kept[len(self._kept) // 2 :]
        self._room = len(self._kept)
        self._bytes = sum(len(one.payload) for one, _ in self._kept)

"""Documents that come with an answer belong to its attempt, or to nothing."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from batchyard import tasks
from batchyard.config import Config
from batchyard.engine.journal import Journal
from batchyard.engine.news import News
from batchyard.engine.reports import Reports
from batchyard.models import Document, Ended
from batchyard.operations import removals
from batchyard.store.files import FileStore
from batchyard.store.items import Settled
from tests.engine.conftest import Yard

CONTENT = b"%PDF of a label"
BOOKED = Ended(status="booked", documents=[Document(kind="label", format="pdf", content=CONTENT)])
DOCUMENTS = "SELECT count(*) FROM documents"
MAKE_LIVE = """
UPDATE items SET phase = 'live', status = 'processing', try = 2, sends = 2, provider_id = 1,
       intent_at = %(now)s, deadline_at = %(now)s
RETURNING id
"""


@pytest.fixture
def files(tmp_path: Path) -> FileStore:
    return FileStore(Config(document_store=f"file://{tmp_path}"))


@asynccontextmanager
async def hearing(yard: Yard, files: FileStore) -> AsyncIterator[Reports]:
    """Write down what is told."""
    journal = Journal(yard.db, unknown_grace=timedelta(hours=1), worker_id=1, files=files)
    reports = Reports(yard.db, journal)
    running = [asyncio.create_task(work) for work in (journal.run(), reports.run())]
    try:
        async with asyncio.timeout(60):
            yield reports
    finally:
        await tasks.end(*running)


async def make_live(yard: Yard) -> UUID:
    """Make an item that is live under its second key."""
    await yard.make_batch(items=1, state="running")
    async with yard.db.transaction() as conn:
        row = await (await conn.execute(MAKE_LIVE, {"now": yard.db.clock()})).fetchone()
    assert row is not None
    return UUID(str(row[0]))


async def kept(yard: Yard, files: FileStore, folder: Path) -> list[bytes]:
    """Return the contents that are still there once those that go have gone."""
    await removals.remove_contents(yard.db, files)
    return read_all(folder)


def read_all(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("is_outside", [False, True])
async def test_document_of_an_earlier_key_is_not_kept(
    yard: Yard, files: FileStore, tmp_path: Path, *, is_outside: bool
) -> None:
    item_id = await make_live(yard)
    async with hearing(yard, files if is_outside else FileStore(Config())) as reports:
        assert not await reports.deliver(f"{item_id}.1", BOOKED, known=None)
        assert await yard.value(DOCUMENTS) == 0
        assert await kept(yard, files, tmp_path) == []
        assert await reports.deliver(f"{item_id}.2", BOOKED, known=None)
    assert await yard.value(DOCUMENTS) == 1
    assert await kept(yard, files, tmp_path) == ([CONTENT] if is_outside else [])


async def test_document_that_comes_twice_is_kept_once(
    yard: Yard, files: FileStore, tmp_path: Path
) -> None:
    item_id = await make_live(yard)
    async with hearing(yard, files) as reports:
        assert await reports.deliver(f"{item_id}.2", BOOKED, known=None)
        assert not await reports.deliver(f"{item_id}.2", BOOKED, known=None)
    assert await yard.value(DOCUMENTS) == 1
    assert await kept(yard, files, tmp_path) == [CONTENT]


async def test_document_stays_whose_commit_was_not_confirmed(
    yard: Yard, files: FileStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Sequence[News]] = []
    write = Journal._write_transaction

    async def write_and_lose_the_answer(
        journal: Journal, block: Sequence[News]
    ) -> Sequence[Settled]:
        settled = await write(journal, block)
        written.append(block)
        if len(written) == 1:
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        return settled

    monkeypatch.setattr(Journal, "_write_transaction", write_and_lose_the_answer)
    item_id = await make_live(yard)
    async with hearing(yard, files) as reports:
        await reports.deliver(f"{item_id}.2", BOOKED, known=None)
    assert len(written) == 2
    assert await yard.value(DOCUMENTS) == 1
    assert await kept(yard, files, tmp_path) == [CONTENT]

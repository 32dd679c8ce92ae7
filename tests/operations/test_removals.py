"""Contents outside the database go after their documents, whoever deletes those."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from batchyard.config import Config
from batchyard.models import BatchState, Kind, Phase, Team
from batchyard.operations import deletions, privacy, removals, retention
from batchyard.operations.audit import Actor
from batchyard.store.db import Database
from batchyard.store.files import FileStore
from batchyard.store.ids import new_id
from tests.clocks import StandingClock
from tests.factories import make_batch, make_items, make_team
from tests.operations.lists import rows_of

NUMBER = "+4520000001"

Deed = Callable[[Database, Team, UUID], Awaitable[None]]


@pytest.fixture
async def team(db: Database) -> Team:
    return await make_team(db)


@pytest.fixture
def files(tmp_path: Path) -> FileStore:
    return FileStore(Config(document_store=f"file://{tmp_path}"))


async def book(db: Database, files: FileStore, team: Team) -> UUID:
    """Make an ended batch of one shipment whose label is kept outside; return the batch."""
    batch_id = await make_batch(db, team=team, state=BatchState.COMPLETED)
    [item_id] = await make_items(
        db, team=team, batch_id=batch_id, number=NUMBER, phase=Phase.DONE, status="booked"
    )
    document_id = new_id()
    location = await files.keep(b"label", document_id=document_id, suffix="pdf")
    async with db.transaction() as conn:
        await conn.execute(
            "INSERT INTO documents (id, item_id, kind, format, location, created_at)"
            " VALUES (%s, %s, 'label', 'pdf', %s, %s)",
            (document_id, item_id, location, db.clock()),
        )
    return batch_id


async def delete(db: Database, team: Team, batch_id: UUID) -> None:
    await deletions.delete_batch(db, team=team, kind=Kind.SHIPMENT, batch_id=batch_id)
    await deletions.purge_deleted(db, unknown_grace=timedelta(0))


async def erase(db: Database, team: Team, batch_id: UUID) -> None:  # noqa: ARG001  # as the others
    await privacy.erase_person(db, team=team, actor=Actor(name="test"), number=NUMBER, email=None)


async def expire(db: Database, team: Team, batch_id: UUID) -> None:
    await retention.set_days(db, team=team, days={"documents_days": 5})
    ended = db.clock() - timedelta(days=10)
    async with db.transaction() as conn:
        await conn.execute("UPDATE batches SET finished_at = %s WHERE id = %s", (ended, batch_id))
    await retention.expire(db)


def kept(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("take_out", [delete, erase, expire])
async def test_content_goes_with_its_document(
    db: Database, team: Team, files: FileStore, tmp_path: Path, take_out: Deed
) -> None:
    batch_id = await book(db, files, team)
    await book(db, files, await make_team(db))

    await take_out(db, team, batch_id)
    await removals.remove_contents(db, files)

    assert await rows_of(db, "SELECT count(*) FROM documents") == [(1,)]
    [left] = await rows_of(db, "SELECT location FROM documents")
    assert [f"file://{path}" for path in kept(tmp_path)] == [left[0]]
    assert await rows_of(db, "SELECT location FROM removals") == []


async def test_content_that_cannot_be_removed_is_tried_again_later_and_holds_up_no_other(
    db: Database,
    team: Team,
    files: FileStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(removals, "SLICE", 3)
    batches = [await book(db, files, team) for _ in range(4)]
    stuck = sorted(kept(tmp_path))[:2]
    for path in stuck:
        # A folder in its place is what no file system removes as a file.
        path.unlink()
        path.mkdir()
    for batch_id in batches:
        await delete(db, team, batch_id)
    clock = StandingClock(db.clock())
    db.clock = clock

    with capture_logs() as logs:
        await removals.remove_contents(db, files)

    assert kept(tmp_path) == []
    waiting = [(f"file://{path}",) for path in stuck]
    assert sorted(await rows_of(db, "SELECT location FROM removals")) == waiting
    [told] = logs
    assert (told["event"], told["count"]) == ("document.not_removed", 2)
    assert (told["location"],) in waiting
    assert told["error"]

    for path in stuck:
        path.rmdir()
        path.write_bytes(b"label")
    for minutes, left in ((4, stuck), (2, [])):
        clock.set(clock() + timedelta(minutes=minutes))
        await removals.remove_contents(db, files)
        assert sorted(kept(tmp_path)) == left, minutes
    assert await rows_of(db, "SELECT location FROM removals") == []

"""A stop is for good: what it kept from being sent does not go out with what is tried again."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest

from batchyard.errors import Conflict
from batchyard.models import BatchState, Kind, Phase, Team
from batchyard.operations import changes, control, corrections, joins, outcomes
from batchyard.operations.joins import add_rows, resume_joins
from batchyard.operations.outcomes import Verdict
from batchyard.operations.slices import Slices
from batchyard.store import control as control_rows
from batchyard.store.corrections import Correction
from batchyard.store.db import Database
from tests.factories import make_batch, make_items, make_team
from tests.operations.lists import CALLS, add, rows_of

NUMBER = "+4520123456"
STATE = "SELECT state FROM batches WHERE state <> 'importing'"
MORE = "contact_number,name\n" + "".join(f"+45201235{n:02d},n\n" for n in range(10))


@pytest.fixture
async def team(db: Database) -> Team:
    return await make_team(db)


async def stop_with_one_failed(db: Database, team: Team, *, unsent: int = 3) -> tuple[UUID, UUID]:
    """Return a batch that was stopped just now and still has unsent items, and one that failed."""
    batch_id = await make_batch(db, team=team, kind=Kind.CALL, state=BatchState.RUNNING)
    await make_items(db, team=team, batch_id=batch_id, n=unsent, number=NUMBER)
    [failed] = await make_items(
        db, team=team, batch_id=batch_id, phase=Phase.DONE, status="failed", number=NUMBER
    )
    await control.mark_stopped(db, team=team, kind=Kind.CALL, batch_id=batch_id)
    return batch_id, failed


async def retry_failed(db: Database, team: Team, batch_id: UUID, item_id: UUID) -> None:
    del item_id
    await changes.retry_failed(db, team=team, kind=Kind.CALL, batch_id=batch_id)


async def retry_item(db: Database, team: Team, batch_id: UUID, item_id: UUID) -> None:
    del batch_id
    await changes.retry_item(db, team=team, item_id=item_id)


async def correct(db: Database, team: Team, batch_id: UUID, item_id: UUID) -> None:
    del batch_id
    correction = Correction(
        item_id=item_id, payload={"name": "B"}, number=NUMBER, reference=None, zone_set=None
    )
    await corrections.correct_item(db, correction, team=team)


async def join_rows(db: Database, team: Team, batch_id: UUID, item_id: UUID) -> None:
    del item_id
    await add(db, b"contact_number\n+4520123499\n", team=team, batch_id=batch_id)


async def resolve(db: Database, team: Team, batch_id: UUID, item_id: UUID) -> None:
    async with db.transaction() as conn:
        await conn.execute(
            "UPDATE items SET phase = 'unknown', status = 'unknown' WHERE id = %s", (item_id,)
        )
    await outcomes.resolve_unknown(
        db, team=team, verdict=Verdict.RETRY, actor="test", batch_id=batch_id
    )


Deed = Callable[[Database, Team, UUID, UUID], Awaitable[None]]
DEEDS: list[Deed] = [retry_failed, retry_item, correct, join_rows, resolve]


@pytest.mark.parametrize("deed", DEEDS)
async def test_stopped_batch_runs_again_without_what_it_had_not_sent(
    db: Database, team: Team, deed: Deed
) -> None:
    batch_id, failed = await stop_with_one_failed(db, team)
    await deed(db, team, batch_id, failed)
    assert await rows_of(db, STATE) == [("running",)]
    assert await rows_of(
        db, "SELECT count(*) FROM items WHERE phase = 'done' AND status = 'stopped'"
    ) == [(3,)]
    assert await rows_of(db, "SELECT count(*) FROM items WHERE phase = 'ready'") == [(1,)]
    # Whoever had the list of stopped batches before finds nothing of this one to end.
    await control.end_unsent(db, batch_id=batch_id)
    assert await rows_of(db, "SELECT count(*) FROM items WHERE phase = 'ready'") == [(1,)]


@pytest.mark.parametrize("deed", DEEDS)
async def test_batch_that_still_ends_what_it_had_not_sent_is_not_opened_again(
    db: Database, team: Team, deed: Deed, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id, failed = await stop_with_one_failed(db, team)
    monkeypatch.setattr(control, "BLOCK", 2)
    with pytest.raises(Conflict, match="still being ended"):
        await deed(db, team, batch_id, failed)
    assert await rows_of(db, STATE) == [("stopped",)]
    assert await rows_of(db, "SELECT count(*) FROM items WHERE try = 1") == [(4,)]
    await control.end_stopped_items(db)
    await deed(db, team, batch_id, failed)
    assert await rows_of(db, STATE) == [("running",)]


async def test_item_that_a_worker_holds_is_not_sent_after_all(db: Database, team: Team) -> None:
    batch_id, failed = await stop_with_one_failed(db, team, unsent=1)
    async with db.transaction() as conn:
        await conn.execute(
            "UPDATE items SET phase = 'claimed', worker_id = 1 WHERE phase = 'ready'"
        )
    with pytest.raises(Conflict, match="still being ended"):
        await retry_item(db, team, batch_id, failed)
    async with db.transaction() as conn:
        await conn.execute("UPDATE items SET phase = 'ready' WHERE phase = 'claimed'")
    await retry_item(db, team, batch_id, failed)
    assert await rows_of(db, "SELECT count(*) FROM items WHERE status = 'stopped'") == [(1,)]


async def test_items_of_a_batch_that_runs_are_not_ended(db: Database, team: Team) -> None:
    batch_id = await make_batch(db, team=team, state=BatchState.RUNNING)
    await make_items(db, team=team, batch_id=batch_id, n=2)
    async with db.transaction() as conn:
        ended = await control_rows.end_ready(conn, batch_ids=[batch_id], limit=10, now=db.clock())
    assert ended == 0


async def test_retry_that_goes_on_leaves_a_batch_stopped_that_was_stopped_meanwhile(
    db: Database, team: Team
) -> None:
    batch_id, _ = await stop_with_one_failed(db, team)
    sealed: list[int] = []

    async def seal(_: object, done: int) -> None:
        sealed.append(done)

    total = await changes.retry_failed(
        db,
        team=team,
        kind=Kind.CALL,
        batch_id=batch_id,
        slices=Slices(began_at=db.clock(), done=7, seal=seal),
    )
    assert (total, sealed) == (7, [7])
    assert await rows_of(db, STATE) == [("stopped",)]


async def test_rows_that_still_join_do_not_open_a_batch_stopped_meanwhile(
    db: Database, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = await make_batch(db, team=team, kind=Kind.CALL, state=BatchState.COMPLETED)
    monkeypatch.setattr(joins, "BLOCK", 4)
    rest = joins._join_rest

    async def stop_first(*args: object) -> None:
        await control.mark_stopped(db, team=team, kind=Kind.CALL, batch_id=batch_id)
        await rest(*args)  # type: ignore[arg-type]  # as it was called

    monkeypatch.setattr(joins, "_join_rest", stop_first)
    async with add_rows(db, team=team, batch_id=batch_id, options=CALLS) as importing:
        await importing.feed(MORE.encode())
        await importing.finish_file()
        await importing.join(file_name=None)
    assert await rows_of(db, STATE) == [("stopped",)]
    await control.end_stopped_items(db)
    assert await rows_of(db, "SELECT status, count(*) FROM items GROUP BY 1") == [("stopped", 10)]


async def test_rows_that_still_join_open_a_batch_that_has_run_out(
    db: Database, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = await make_batch(db, team=team, kind=Kind.CALL, state=BatchState.STOPPED)
    monkeypatch.setattr(joins, "BLOCK", 4)
    rest = joins._join_rest

    async def fail(*_: object) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(joins, "_join_rest", fail)
    async with add_rows(db, team=team, batch_id=batch_id, options=CALLS) as importing:
        await importing.feed(MORE.encode())
        await importing.finish_file()
        with pytest.raises(asyncio.CancelledError):
            await importing.join(file_name=None)
    async with db.transaction() as conn:
        await conn.execute(
            "UPDATE items SET phase = 'done', status = 'completed' WHERE batch_id = %s", (batch_id,)
        )
        await conn.execute(
            "UPDATE batches SET state = 'completed', finished_at = now() WHERE id = %s", (batch_id,)
        )
        await conn.execute("UPDATE uploads SET updated_at = '2020-01-01'")
    monkeypatch.setattr(joins, "_join_rest", rest)
    await resume_joins(db)
    assert await rows_of(db, STATE) == [("running",)]

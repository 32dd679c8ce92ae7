"""What was claimed without its worker learning of it is done all the same, and once."""

import asyncio
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from batchyard.engine.strays import Strays
from batchyard.engine.turn import Turns
from batchyard.models import Answer, Document, Ended, Policy, Request, Team
from batchyard.store.db import Database
from batchyard.store.files import FileStore
from tests.engine.conftest import Yard


@pytest.mark.parametrize("policy", list(Policy))
async def test_admission_whose_commit_was_not_confirmed_is_not_lost(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, policy: Policy
) -> None:
    yard.provider.promises(policy=policy, timeout=timedelta(milliseconds=100))
    monkeypatch.setattr("batchyard.engine.strays.LOOK_SECONDS", 0.3)
    commit_and_lose_the_answer(monkeypatch, times=1)
    batch_id = await yard.make_batch(items=20)
    async with yard.working():
        assert await yard.until_ended(batch_id) == "completed"
    assert await yard.counts(batch_id) == {"booked": 20}
    assert set(yard.provider.effects.values()) == {1}


async def test_item_that_takes_long_is_not_astray(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchyard.engine.strays.LOOK_SECONDS", 0.05)
    ended = asyncio.Event()
    answer = yard.provider.script

    async def linger(request: object) -> object:
        await ended.wait()
        return await answer(request)  # type: ignore[arg-type]

    yard.provider.script = linger  # type: ignore[assignment]
    batch_id = await yard.make_batch(items=5)
    async with yard.working():
        await yard.until("SELECT count(*) = 5 FROM items WHERE phase = 'calling'")
        leases = await yard.value("SELECT array_agg(lease ORDER BY id) FROM items")
        with pytest.raises(TimeoutError):
            await yard.until("SELECT count(*) < 5 FROM items WHERE phase = 'calling'", seconds=1)
        assert await yard.value("SELECT array_agg(lease ORDER BY id) FROM items") == leases
        ended.set()
        assert await yard.until_ended(batch_id) == "completed"
    assert set(yard.provider.effects.values()) == {1}


async def test_item_whose_label_is_being_stored_is_not_astray(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    claim = "SELECT jsonb_build_object('phase', phase, 'lease', lease) FROM items"
    yard.provider.promises(policy=Policy.NEITHER, timeout=timedelta(milliseconds=100))
    yard.provider.script = book_with_label
    yard.config = yard.config.model_copy(update={"document_store": f"file://{tmp_path}"})
    is_storing, may_store = store_later(monkeypatch)
    workers = look_when_told(monkeypatch)
    batch_id = await yard.make_batch(items=1)
    async with yard.working(), asyncio.timeout(60):
        await is_storing.wait()
        held = await yard.value(claim)
        for _ in range(3):
            await workers[0]._look()
        left = await yard.value(claim)
        may_store.set()
        assert await yard.until_ended(batch_id) == "completed"
    assert left == held == {"phase": "calling", "lease": 1}
    assert await yard.counts(batch_id) == {"booked": 1}
    assert await yard.value("SELECT count(*) FROM documents") == 1


async def book_with_label(_: Request) -> Answer:
    label = Document(kind="label", format="pdf", content=b"%PDF")
    return Ended(status="booked", documents=[label])


def store_later(monkeypatch: pytest.MonkeyPatch) -> tuple[asyncio.Event, asyncio.Event]:
    """Return what tells that a content is being stored, and what lets it be."""
    is_storing, may_store = asyncio.Event(), asyncio.Event()
    keep = FileStore.keep

    async def keep_later(files: FileStore, content: bytes, **how: object) -> str:
        is_storing.set()
        await may_store.wait()
        return await keep(files, content, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(FileStore, "keep", keep_later)
    return is_storing, may_store


def look_when_told(monkeypatch: pytest.MonkeyPatch) -> list[Strays]:
    """Let workers look for what is astray at the test's word only; return who would look."""
    looking: list[Strays] = []

    async def wait(strays: Strays) -> None:
        looking.append(strays)
        await asyncio.Event().wait()

    monkeypatch.setattr(Strays, "run", wait)
    return looking


def commit_and_lose_the_answer(monkeypatch: pytest.MonkeyPatch, *, times: int) -> None:
    left = times

    async def admit(turns: Turns, team: Team, **how: int) -> object:
        nonlocal left
        if left:
            left -= 1
            db: Database = turns._db
            async with db.transaction() as conn:
                await turns._admitter.admit(conn, team, **how, now=db.clock())  # type: ignore[arg-type]
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        return await original(turns, team, **how)  # type: ignore[arg-type]

    original = Turns._admit
    monkeypatch.setattr(Turns, "_admit", admit)

"""What housekeeping has to work through holds up nothing that must happen at once."""

import asyncio
from types import ModuleType

import pytest
from structlog.testing import capture_logs

from batchyard.models import Kind
from batchyard.operations import contacts, control, imports, privacy, retention, webhooks
from tests.engine.conftest import Yard

SCHEDULE = "UPDATE batches SET state = 'scheduled', scheduled_at = created_at WHERE id = %s"


@pytest.mark.parametrize(
    "module,work",
    [
        (control, "end_stopped_items"),
        (contacts, "forget_attempts"),
        (webhooks, "forget_old"),
        (privacy, "erase_pending"),
        (imports, "remove_idle"),
        (retention, "expire"),
    ],
)
async def test_duty_that_takes_long_holds_up_no_other(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, module: ModuleType, work: str
) -> None:
    begun = asyncio.Event()

    async def take_long(*_: object, **__: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(module, work, take_long)
    batch_id = await yard.make_batch(items=3, state="open")
    async with yard.working():
        await asyncio.wait_for(begun.wait(), 30)
        async with yard.db.transaction() as conn:
            await conn.execute(SCHEDULE, (batch_id,))
        assert await yard.until_ended(batch_id) == "completed"


async def test_batch_that_was_left_queued_with_nothing_to_do_ends(yard: Yard) -> None:
    stranded = await yard.make_batch(items=2, kind=Kind.CALL)
    async with yard.db.transaction() as conn:
        await conn.execute("UPDATE items SET phase = 'done', status = 'stopped'")
    paused = await yard.make_batch(items=1, state="paused")
    async with yard.working():
        assert await yard.until_ended(stranded) == "completed"
    assert await yard.counts(stranded) == {"stopped": 2}
    assert await yard.counts(paused) == {"waiting": 1}
    assert await yard.value("SELECT state FROM batches WHERE id = %s", [paused]) == "paused"


async def test_duty_that_broke_is_told_and_done_again(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = 0
    again = asyncio.Event()

    async def break_once(_: object) -> None:
        nonlocal done
        done += 1
        if done == 1:
            raise ValueError
        again.set()

    monkeypatch.setattr(control, "end_stopped_items", break_once)
    with capture_logs() as logs:
        async with yard.working():
            await asyncio.wait_for(again.wait(), 30)
    told = [entry["duty"] for entry in logs if entry["event"] == "housekeeping.duty_broke"]
    assert told == ["end_stopped_items"]

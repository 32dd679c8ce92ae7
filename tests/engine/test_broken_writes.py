"""What cannot be written costs one item its content; a journal that breaks ends its worker."""

import asyncio
from datetime import timedelta

import psycopg
import pytest

from batchyard.engine.journal import Journal
from batchyard.engine.worker import run_worker
from batchyard.models import Answer, Document, Ended, Policy, Request
from tests.engine.conftest import Yard

INVOICE = Document(kind="invoice", format="pdf", content=b"%PDF")  # type: ignore[arg-type]

SETTLED = "SELECT count(*) = 20 FROM items WHERE phase IN ('done', 'unknown')"
CODES = "SELECT array_agg(error_code) FROM item_data WHERE error_code IS NOT NULL"


@pytest.mark.parametrize(
    "odd",
    [
        Ended(status="delivered"),
        Ended(status="booked", documents=[INVOICE]),
        Ended(status="failed", error_code="no\0code", error_message="No."),
    ],
    ids=["status", "document", "text"],
)
async def test_answer_that_the_database_refuses_costs_only_its_item(yard: Yard, odd: Ended) -> None:
    async def answer_oddly_once(request: Request) -> Answer:
        return odd if request.payload["n"] == 7 else Ended(status="booked")

    yard.provider.script = answer_oddly_once
    batch_id = await yard.make_batch(items=20)
    async with yard.working():
        await yard.until(SETTLED)
        # What follows from the flush is done as well.
        later = await yard.make_batch(items=3)
        assert await yard.until_ended(later) == "completed"
        failed = "SELECT coalesce(sum(n), 0) = 1 FROM failure_tallies WHERE reason = %s"
        await yard.until(failed, ["result_unstorable"])
    assert await yard.counts(batch_id) == {"booked": 19, "unknown": 1}
    assert await yard.value(CODES) == ["result_unstorable"]


async def test_long_code_of_an_error_is_cut(yard: Yard) -> None:
    async def complain(_: Request) -> Answer:
        return Ended(status="failed", error_code="".join(map(str, range(5000))))

    yard.provider.script = complain
    batch_id = await yard.make_batch(items=1)
    async with yard.working():
        await yard.until_ended(batch_id)
    assert await yard.value("SELECT length(error_code) FROM item_data") == 200


@pytest.mark.parametrize(
    "policy,broken",
    [(Policy.REPEATABLE, "_write_transaction"), (Policy.NEITHER, "_write_intents")],
)
async def test_worker_whose_journal_broke_ends_and_others_go_on(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, policy: Policy, broken: str
) -> None:
    async def fail(*_: object) -> None:
        raise psycopg.InternalError("unexpected")

    yard.provider.promises(policy=policy, timeout=timedelta(milliseconds=100))
    batch_id = await yard.make_batch(items=20)
    stop = asyncio.Event()
    with monkeypatch.context() as patch:
        patch.setattr(Journal, broken, fail)
        worker = asyncio.create_task(
            run_worker(yard.config, yard.db, stop=stop, connect=yard.connect)
        )
        ended, _ = await asyncio.wait({worker}, timeout=30)
        stop.set()
        with pytest.raises(ExceptionGroup):
            await worker
    assert ended
    assert await yard.value("SELECT count(*) FROM workers WHERE ended_at IS NULL") == 0
    async with yard.working():
        assert await yard.until_ended(batch_id) == "completed"
    assert await yard.counts(batch_id) == {"booked": 20}


async def set_read_only(url: str, *, is_on: bool) -> None:
    """Let new connections to the database only read; with `is_on` end those that there are."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as admin:
        await admin.execute("SET default_transaction_read_only = off")
        row = await (await admin.execute("SELECT current_database()")).fetchone()
        assert row is not None
        value = "on" if is_on else "off"
        statement = f'ALTER DATABASE "{row[0]}" SET default_transaction_read_only = {value}'
        await admin.execute(statement.encode())
        if is_on:
            await admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )


async def test_worker_outlives_a_server_that_can_only_be_read(yard: Yard) -> None:
    async def briefly(_: Request) -> Answer:
        await asyncio.sleep(0.02)
        return Ended(status="booked")

    yard.config = yard.config.model_copy(update={"worker_slots": 10})
    yard.provider.script = briefly
    batch_id = await yard.make_batch(items=600)
    async with yard.working():
        await yard.until("SELECT count(*) > 20 FROM items WHERE phase = 'done'")
        await set_read_only(yard.db.url, is_on=True)
        await asyncio.sleep(1)
        workers = await yard.value("SELECT count(*) FROM workers")
        await set_read_only(yard.db.url, is_on=False)
        assert await yard.until_ended(batch_id, seconds=60) == "completed"
        assert workers == await yard.value("SELECT count(*) FROM workers") == 1
    assert await yard.counts(batch_id) == {"booked": 600}
    assert set(yard.provider.effects.values()) == {1}

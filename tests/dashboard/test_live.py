"""Pages that keep themselves up to date: what is sent, how often, and when it ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import orjson
import pytest

from batchyard import tasks
from batchyard.dashboard import live
from batchyard.dashboard.visitors import COOKIE, PREFIX
from batchyard.models import BatchState, Kind, Phase
from batchyard.operations import control, deletions, sessions
from tests import factories
from tests.dashboard.conftest import PATIENCE_MS, Yard, batch_path

pytestmark = pytest.mark.asyncio(loop_scope="session")


class Stream:
    """The events of a page, one after the other."""

    def __init__(self, answer: httpx.Response) -> None:
        self._lines = answer.aiter_lines()

    async def next(self) -> tuple[str, dict[str, str]]:
        """Return the next event: its name and the pieces in it."""
        name = ""
        async with asyncio.timeout(PATIENCE_MS / 1000):
            async for line in self._lines:
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                if line.startswith("data:") and name:
                    data = line.removeprefix("data: ")
                    return name, orjson.loads(data) if name == "pieces" else {}
        return "end", {}

    async def until(self, word: str) -> dict[str, str]:
        """Return the first pieces that say this."""
        while True:
            name, pieces = await self.next()
            assert name == "pieces"
            if word in " ".join(pieces.values()):
                return pieces


@asynccontextmanager
async def following(client: httpx.AsyncClient, path: str) -> AsyncIterator[Stream]:
    async with client.stream("GET", f"{PREFIX}{path}") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Stream(answer)


async def test_list_tells_new_batches_and_then_rows_only(yard: Yard) -> None:
    team = await factories.make_team(yard.db)
    async with yard.client(team=team) as client, following(client, "/batches/live") as stream:
        assert "No batches yet" in (await stream.next())[1]["list"]
        batch_id = await factories.make_batch(
            yard.db, team=team, reference="fresh", state=BatchState.RUNNING
        )
        assert set(await stream.until("fresh")) == {"list"}
        [item_id] = await factories.make_items(yard.db, team=team, batch_id=batch_id)
        assert set(await stream.until("0 of 1")) == {f"batch-{batch_id}"}
        await yard.execute(
            "UPDATE items SET phase = %s, status = 'booked' WHERE id = %s", [Phase.DONE, item_id]
        )
        assert set(await stream.until("1 of 1")) == {f"batch-{batch_id}"}


async def test_batch_tells_what_changed_at_most_twice_a_second(yard: Yard) -> None:
    batch_id = await factories.make_batch(yard.db, team=yard.team, state=BatchState.RUNNING)
    ids = await factories.make_items(yard.db, team=yard.team, batch_id=batch_id, n=40)
    loop = asyncio.get_running_loop()
    path = f"/batches/{batch_id}/items/live"

    async def end_all() -> None:
        for item_id in ids:
            await yard.execute(
                "UPDATE items SET phase = 'done', status = 'booked' WHERE id = %s", [item_id]
            )

    async with yard.client() as client, following(client, path) as stream:
        first = (await stream.next())[1]
        assert set(first) == {"batch-head", "batch-told", "chart-data", "statuses", "items"}
        began_at, n = loop.time(), 0
        ending = asyncio.create_task(end_all())
        while "40 of 40" not in " ".join((await stream.next())[1].values()):
            n += 1
        await ending
        assert n <= (loop.time() - began_at) / live.LEAST_SECONDS + 1


async def test_pause_is_told_with_what_can_be_done_next(yard: Yard) -> None:
    batch_id = await factories.make_batch(yard.db, team=yard.team, state=BatchState.RUNNING)
    path = f"/batches/{batch_id}/live"
    async with yard.client() as client, following(client, path) as stream:
        await stream.next()
        await control.pause_batch(yard.db, team=yard.team, kind=Kind.SHIPMENT, batch_id=batch_id)
        pieces = await stream.until("paused")
    assert pieces["batch-told"] == "paused"
    assert "do-resume" in pieces["batch-head"]
    assert "Somebody paused the batch" in pieces["batch-head"]


async def test_page_is_told_when_its_subject_is_gone(yard: Yard) -> None:
    batch_id = await factories.make_batch(yard.db, team=yard.team, state=BatchState.RUNNING)
    async with yard.client() as client:
        async with following(client, f"/batches/{batch_id}/live") as stream:
            await stream.next()
            await deletions.delete_batch(
                yard.db,
                team=yard.team,
                kind=Kind.SHIPMENT,
                batch_id=batch_id,
            )
            assert await stream.next() == ("gone", {})
            assert await stream.next() == ("end", {})
        assert (await client.get(batch_path(batch_id))).status_code == 404


async def test_page_is_told_when_its_session_ends(yard: Yard) -> None:
    async with yard.client() as client:
        session = await sessions.find_session(yard.db, secret=str(client.cookies[COOKIE]))
        assert session is not None
        async with following(client, "/batches/live") as stream:
            await stream.next()
            await sessions.sign_out(yard.db, session=session)
            while (told := await stream.next())[0] == "pieces":
                """What changed before that is told still."""
            assert told == ("gone", {})


async def test_item_is_followed_to_its_end(yard: Yard) -> None:
    batch_id = await factories.make_batch(yard.db, team=yard.team, state=BatchState.RUNNING)
    [item_id] = await factories.make_items(
        yard.db, team=yard.team, batch_id=batch_id, phase=Phase.LIVE, status="processing"
    )
    async with yard.client() as client, following(client, f"/items/{item_id}/live") as stream:
        assert "processing" in (await stream.next())[1]["item-head"]
        await yard.execute(
            "UPDATE items SET phase = 'done', status = 'booked' WHERE id = %s", [item_id]
        )
        assert "item-head" in await stream.until("booked")


WAIT_FOR_LOCK = (
    "FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


async def test_reader_who_leaves_in_the_middle_of_a_query_costs_no_connection(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(live, "TICK_SECONDS", live.LEAST_SECONDS + 0.05)
    # A machine that stands still meanwhile is no reason to be cancelled twice.
    monkeypatch.setattr(tasks, "AGAIN_SECONDS", PATIENCE_MS / 1000)
    async with yard.client() as client, AsyncExitStack() as reading:
        stream = await reading.enter_async_context(following(client, "/batches/live"))
        await stream.next()
        async with yard.db.transaction() as conn:
            await conn.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            await conn.execute("LOCK TABLE batches IN ACCESS EXCLUSIVE MODE")
            # One who listens for news, and the page itself.
            await yard.until(f"SELECT count(*) >= 2 {WAIT_FOR_LOCK}")
            await reading.aclose()
            await yard.until(f"SELECT count(*) = 0 {WAIT_FOR_LOCK}")
    assert [record.getMessage() for record in caplog.records if "psycopg" in record.name] == []

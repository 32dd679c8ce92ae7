"""Events of the operator API: as pages, and as a stream that outlives its server."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from pathlib import Path

import httpx
import pytest

from batchyard.models import BatchState, Phase, Team
from batchyard.operations import access, live, teams
from batchyard.operations.live import Hub, follow, while_token_works
from batchyard.store import events
from batchyard.store.db import IDLE_TIMEOUT_MS, Database
from batchyard.store.live import Counts, Event, Position, forget_transactions
from tests import factories
from tests.api.operator.conftest import Client, Clients
from tests.cli.commands import running
from tests.serving import serving

TOKEN = "by_a-token-that-follows"
Told = Event | Counts | Position | None

HIDDEN_SECONDS = IDLE_TIMEOUT_MS / 1000
"""So long an older transaction may hide events: also one of another test, in the same server."""


class Follower:
    """A client that connects again whenever it loses its stream."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/api/v1/events"
        self.seen: list[str] = []
        self.last_id: str | None = None
        self.connected = asyncio.Event()
        self.has_seen = asyncio.Event()

    async def run(self, *, until: int) -> None:
        while len(self.seen) < until:
            with suppress(httpx.HTTPError):
                await self._follow()
            await asyncio.sleep(0.05)

    async def _follow(self) -> None:
        headers = {"Authorization": f"Bearer {TOKEN}", "Accept": "text/event-stream"}
        if self.last_id is not None:
            headers["Last-Event-ID"] = self.last_id
        async with (
            httpx.AsyncClient(timeout=5) as http,
            http.stream("GET", self.url, headers=headers) as answer,
        ):
            async for line in answer.aiter_lines():
                self._take(*line.split(": ", 1))

    def _take(self, field: str, text: str = "") -> None:
        if field == "id":
            self.last_id = text
            self.connected.set()
        elif field == "data" and (name := json.loads(text).get("type", "")).startswith("told."):
            self.seen.append(name)
            self.has_seen.set()


async def followed(
    db: Database, team: Team, *, after: Position | None = None, token: str = TOKEN
) -> AsyncIterator[Told]:
    await access.ensure_token(db, team=team, token=token, name="follower")
    principal = await access.authenticate(db, token=token)
    assert principal is not None
    permit = while_token_works(db, principal)
    async with aclosing(follow(db, Hub(db), team=team, permit=permit, after=after)) as stream:  # type: ignore[type-var]
        async for told in stream:
            yield told


async def next_of(stream: AsyncIterator[Told], kind: type[Event] | type[Counts]) -> Event | Counts:
    async with asyncio.timeout(HIDDEN_SECONDS + 10):
        async for told in stream:
            if isinstance(told, kind):
                return told
    raise AssertionError("the stream has ended")


async def listed_events(client: Client, n: int) -> list[dict[str, object]]:
    """Return the events once there are so many."""
    async with asyncio.timeout(HIDDEN_SECONDS + 10):
        while True:
            data: list[dict[str, object]] = (await client.get("/events")).json()["data"]
            if len(data) >= n:
                return data
            await asyncio.sleep(0.02)


async def tell(db: Database, team: Team, type_: str) -> None:
    async with db.transaction() as conn:
        await events.write(conn, team_id=team.id, type_=type_, now=db.clock())


async def test_changes_of_a_batch_are_events(client: Client) -> None:
    batch_id = await factories.make_batch(client.db, team=client.team)
    await factories.make_items(client.db, team=client.team, batch_id=batch_id)
    for action in ("dispatch", "pause", "resume", "stop"):
        await client.post(f"/batches/{batch_id}/{action}")
    await client.delete(f"/batches/{batch_id}")

    listed = await listed_events(client, 6)

    assert [event["type"] for event in listed] == [
        "batch.created",
        "batch.queued",
        "batch.paused",
        "batch.resumed",
        "batch.stopped",
        "batch.deleted",
    ]
    assert {event["batch_id"] for event in listed} == {str(batch_id)}


async def test_events_are_listed_in_pages_and_by_batch(client: Client) -> None:
    made = [str(await factories.make_batch(client.db, team=client.team)) for _ in range(3)]
    await listed_events(client, 3)
    first = (await client.get("/events", limit=2)).json()
    rest = (await client.get("/events", limit=2, after=first["next_after"])).json()
    assert [event["batch_id"] for event in first["data"] + rest["data"]] == made
    assert rest["next_after"] is None
    of_one = (await client.get(f"/batches/{made[1]}/events")).json()["data"]
    assert [event["batch_id"] for event in of_one] == [made[1]]
    assert (await client.get("/events", after="x")).status_code == 422


async def test_events_of_another_team_are_not_told(clients: Clients) -> None:
    owner = await factories.make_team(clients.db)
    batch_id = await factories.make_batch(clients.db, team=owner)
    other = await clients.of(await factories.make_team(clients.db))
    assert (await other.get("/events")).json()["data"] == []
    assert (await other.get(f"/batches/{batch_id}/events")).status_code == 404


async def test_event_of_a_slow_transaction_is_not_skipped(db: Database) -> None:
    team = await factories.make_team(db)
    stream = followed(db, team, after=(0, 0))
    async with db.transaction() as slow:
        await events.write(slow, team_id=team.id, type_="slow", now=db.clock())
        await tell(db, team, "quick")
        # Told now, it would be where others read on.
        assert await live.read_events(db, team=team, batch_id=None, after=None, limit=2) == []
    seen = [await next_of(stream, Event), await next_of(stream, Event)]
    assert [one.type for one in seen if isinstance(one, Event)] == ["slow", "quick"]


async def test_counts_are_told_within_a_second_of_a_change(db: Database) -> None:
    team = await factories.make_team(db)
    batch_id = await factories.make_batch(db, team=team, state=BatchState.RUNNING)
    ids = await factories.make_items(db, team=team, batch_id=batch_id, n=3)
    stream = followed(db, team)
    first = await next_of(stream, Counts)
    async with db.transaction() as conn:
        await conn.execute(
            "UPDATE items SET phase = %s, status = 'booked' WHERE id = %s", (Phase.DONE, ids[0])
        )
    second = await next_of(stream, Counts)
    # Between two looks is one pause, which another test here measures.
    assert live.POLL_SECONDS < 1
    assert isinstance(first, Counts)
    assert isinstance(second, Counts)
    assert (first.counts, second.counts) == ({"waiting": 3}, {"waiting": 2, "booked": 1})


async def test_counts_of_a_batch_are_told_at_most_twice_a_second(db: Database) -> None:
    team = await factories.make_team(db)
    batch_id = await factories.make_batch(db, team=team, state=BatchState.RUNNING)
    ids = await factories.make_items(db, team=team, batch_id=batch_id, n=60)
    loop = asyncio.get_running_loop()
    began_at = loop.time()
    stream = followed(db, team)
    await next_of(stream, Counts)

    async def end_one_after_another() -> None:
        for item_id in ids:
            async with db.transaction() as conn:
                await conn.execute(
                    "UPDATE items SET phase = %s, status = 'booked' WHERE id = %s",
                    (Phase.DONE, item_id),
                )
            await asyncio.sleep(0.03)

    ending = asyncio.create_task(end_one_after_another())
    told = 0
    while True:
        counts = await next_of(stream, Counts)
        assert isinstance(counts, Counts)
        told += 1
        if counts.counts == {"booked": 60}:
            break
    await ending
    assert told >= 2
    assert told <= 2 * (loop.time() - began_at)


@pytest.mark.parametrize("begins_with", [BatchState.RUNNING, BatchState.PAUSED])
async def test_end_of_the_last_call_of_a_paused_batch_is_told(
    db: Database, monkeypatch: pytest.MonkeyPatch, begins_with: BatchState
) -> None:
    monkeypatch.setattr(live, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(live, "WATCHED_SECONDS", 0.0)
    team = await factories.make_team(db)
    batch_id = await factories.make_batch(db, team=team, state=begins_with)
    await factories.make_items(db, team=team, batch_id=batch_id, phase=Phase.LIVE, status="ringing")
    stream = followed(db, team)
    first = await next_of(stream, Counts)
    assert isinstance(first, Counts)
    assert first.state == begins_with

    async with db.transaction() as conn:
        await conn.execute("UPDATE batches SET state = 'paused'")
    if begins_with is BatchState.RUNNING:
        paused = await next_of(stream, Counts)
        assert isinstance(paused, Counts)
        assert paused.state == BatchState.PAUSED
    async with db.transaction() as conn:
        await conn.execute("UPDATE items SET phase = 'done', status = 'completed'")

    ended = await next_of(stream, Counts)
    assert isinstance(ended, Counts)
    assert ended.counts == {"completed": 1}


async def test_watch_pauses_only_until_it_may_look_again(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(live, "monotonic", lambda: now)
    watch = live._Watch(team=await factories.make_team(db), batch_id=None)
    assert watch.pause_seconds() == 0
    await watch.look(db)
    assert watch.pause_seconds() == live.POLL_SECONDS
    # Woken just before it may look again, it does not begin a whole pause anew.
    now += live.POLL_SECONDS - 0.125
    await watch.look(db)
    assert watch.pause_seconds() == 0.125


async def test_events_of_a_batch_go_on_where_a_client_lost_them(
    client: Client, db: Database
) -> None:
    batch_id = await factories.make_batch(db, team=client.team)
    await factories.make_items(db, team=client.team, batch_id=batch_id)
    await listed_events(client, 1)

    async def read(url: str, *types: str, last_id: str | None) -> str:
        """Read on until these have come, in this order; return the id of the last."""
        headers = {"Authorization": client.http.headers["authorization"]}
        headers |= {"Accept": "text/event-stream"}
        if last_id is not None:
            headers["Last-Event-ID"] = last_id
        wanted, id_ = list(types), ""
        async with (
            asyncio.timeout(HIDDEN_SECONDS + 30),
            httpx.AsyncClient(timeout=HIDDEN_SECONDS + 30) as http,
            http.stream("GET", url, headers=headers) as answer,
        ):
            async for line in answer.aiter_lines():
                field, _, text = line.partition(": ")
                if field == "id":
                    id_ = text
                elif field == "data" and (type_ := json.loads(text).get("type")):
                    assert type_ == wanted.pop(0)
                    if not wanted:
                        return id_
        raise AssertionError(f"not told: {wanted}")

    async with serving(db) as base:
        url = f"{base}/api/v1/batches/{batch_id}/events"
        seen = await read(url, "batch.created", last_id="0-0")
        other = await factories.make_batch(db, team=client.team)
        await factories.make_items(db, team=client.team, batch_id=other)
        for batch in (other, batch_id):
            await client.post(f"/batches/{batch}/dispatch")
            await client.post(f"/batches/{batch}/pause")
        await read(url, "batch.queued", "batch.paused", last_id=seen)


async def test_stream_ends_with_its_token(db: Database) -> None:
    team = await factories.make_team(db)
    stream = followed(db, team)
    assert isinstance(await anext(stream), tuple)
    await factories.revoke_token(db, team=team)
    async with asyncio.timeout(30):
        assert [told async for told in stream] == []


async def test_position_of_before_a_restore_reads_on_by_id(db: Database) -> None:
    team = await factories.make_team(db)
    await tell(db, team, "seen")
    await tell(db, team, "unseen")
    async with db.transaction() as conn:
        await forget_transactions(conn)
        row = await (await conn.execute("SELECT min(id) FROM events")).fetchone()
    await tell(db, team, "new")
    assert row is not None
    stream = followed(db, team, after=(10**9, int(str(row[0]))))
    seen = [await next_of(stream, Event), await next_of(stream, Event)]
    assert [one.type for one in seen if isinstance(one, Event)] == ["unseen", "new"]


@pytest.mark.acceptance
async def test_stream_resumes_over_a_killed_server(
    db: Database, database_url: str, tmp_path: Path, port: int
) -> None:
    command = ("serve", "--port", str(port))
    settings = {"BATCHYARD_DATABASE_URL": database_url, "BATCHYARD_BOOTSTRAP_TOKEN": TOKEN}
    follower, total = Follower(port), 120

    async def write(first: int, last: int) -> None:
        team = await teams.find_team(db, slug_or_uuid="default")
        assert team is not None
        for number in range(first, last):
            async with db.transaction() as conn:
                type_ = f"told.{number}"
                await events.write(conn, team_id=team.id, type_=type_, now=db.clock())
                # Some commit later than those that began after them.
                await conn.execute("SELECT pg_sleep(%s)", (0.03 if number % 7 == 0 else 0,))

    async with asyncio.timeout(90):
        with running(*command, log=tmp_path / "log1", **settings) as server:
            following = asyncio.create_task(follower.run(until=total))
            await follower.connected.wait()
            await asyncio.gather(write(0, 20), write(20, 40))
            await follower.has_seen.wait()
            server.kill()
            await asyncio.gather(write(40, 60), write(60, 80))
        with running(*command, log=tmp_path / "log2", **settings):
            await asyncio.gather(write(80, 100), write(100, total))
            await following

    async with db.pool.connection() as conn:
        rows = await conn.execute(
            "SELECT type FROM events WHERE type LIKE 'told.%' ORDER BY xid, id"
        )
        written = [row[0] for row in await rows.fetchall()]
    assert len(written) == total
    assert follower.seen == written

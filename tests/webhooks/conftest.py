"""A team whose agent is listened to, a receiver that answers as the test says, and time."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

import pytest

from batchyard import webhooks
from batchyard.config import Config
from batchyard.models import BatchState, Kind, Phase, Team
from batchyard.store import webhooks as store
from batchyard.store.db import Database
from batchyard.store.deliveries import Delivery
from batchyard.testing.server import Arrived, HttpServer, Line
from batchyard.webhooks import run_webhooks
from tests.clocks import SetClock
from tests.factories import make_agent, make_batch, make_items, make_team

Answer = Callable[[Arrived], int]


async def render(
    db: Database, *, deliveries: Sequence[Delivery], base_url: str
) -> Mapping[UUID, bytes]:
    """Write plain bodies: what happened, and its number."""
    del db, base_url
    return {
        one.id: json.dumps(
            {"type": one.type, "number": one.number, "of": str(one.subject)}
        ).encode()
        for one in deliveries
        if one.type != "item.error"
    }


class Receiver:
    """Remembers what arrived."""

    def __init__(self) -> None:
        self.arrived: list[Arrived] = []
        self.answer: Answer = lambda _: 200
        self.headers = {"Location": "http://127.0.0.1:1/"}
        self.busy = 0
        self.most_busy = 0
        self.gate: asyncio.Event | None = None

    @property
    def bodies(self) -> list[dict[str, object]]:
        return [json.loads(one.body) for one in self.arrived]

    async def handle(self, arrived: Arrived, line: Line) -> None:
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        try:
            if self.gate is not None:
                await self.gate.wait()
            status = self.answer(arrived)
            self.arrived.append(arrived)
        finally:
            self.busy -= 1
        if status == 0:
            line.reset()
            return
        await line.reply(status, b"{}", headers=self.headers)


class Post:
    """Everything a test of webhooks touches."""

    def __init__(self, db: Database, team: Team, agent_id: UUID, url: str) -> None:
        self.db = db
        self.team = team
        self.agent_id = agent_id
        self.url = url
        self.clock = SetClock(db.clock())
        db.clock = self.clock
        self.config = Config(webhook_allow_private=True)

    async def run(self, statement: str, **values: object) -> list[tuple[object, ...]]:
        async with self.db.transaction() as conn:
            cursor = await conn.execute(statement.encode(), values)
            return await cursor.fetchall() if cursor.description else []

    async def listen(self, *, url: str | None = None) -> None:
        async with self.db.transaction() as conn:
            await store.put_of_agent(
                conn,
                team_id=self.team.id,
                agent_id=self.agent_id,
                url=url or self.url,
                format_="plain/1",
                now=self.clock(),
            )

    async def make_items(self, n: int = 1) -> tuple[UUID, list[UUID]]:
        batch_id = await make_batch(
            self.db,
            team=self.team,
            kind=Kind.CALL,
            state=BatchState.RUNNING,
            agent_id=self.agent_id,
        )
        return batch_id, list(
            await make_items(self.db, team=self.team, batch_id=batch_id, n=n, number="+4520123456")
        )

    async def move(self, *item_ids: UUID, phase: Phase, status: str) -> None:
        """Change items as the engine does: their rows are locked in one order."""
        await self.run(
            "WITH locked AS MATERIALIZED (SELECT id FROM items WHERE id = ANY (%(ids)s)"
            " ORDER BY id FOR UPDATE)"
            " UPDATE items SET phase = %(phase)s, status = %(status)s, intent_at = %(now)s,"
            " updated_at = %(now)s FROM locked WHERE items.id = locked.id",
            phase=phase,
            status=status,
            ids=list(item_ids),
            now=self.clock(),
        )

    async def ring_and_end(self, *item_ids: UUID) -> None:
        await self.move(*item_ids, phase=Phase.CALLING, status="sending")
        for word in ("initiated", "ringing", "in-progress"):
            await self.move(*item_ids, phase=Phase.LIVE, status=word)
        await self.move(*item_ids, phase=Phase.DONE, status="completed")

    async def states(self) -> list[tuple[object, ...]]:
        return await self.run(
            "SELECT type, number, state, attempts FROM webhook_deliveries ORDER BY number, type"
        )

    @asynccontextmanager
    async def delivering(self) -> AsyncIterator[None]:
        stop = asyncio.Event()
        task = asyncio.create_task(
            run_webhooks(self.config, self.db, stop=stop, renderers={"plain": render})
        )
        try:
            yield
        finally:
            stop.set()
            await task

    async def until(self, statement: str, *, seconds: float = 60) -> None:
        """Wait until a statement's first value is true."""
        async with asyncio.timeout(seconds):
            while not (await self.run(statement))[0][0]:  # noqa: ASYNC110  # rows send no signal
                await asyncio.sleep(0.02)

    async def deliver_until(self, statement: str) -> None:
        async with self.delivering():
            await self.until(statement)

    def later(self, **how: float) -> None:
        self.clock.shift += timedelta(**how)


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
async def post(
    db: Database, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Post]:
    monkeypatch.setattr(webhooks, "POLL_SECONDS", 0.05)
    team = await make_team(db)
    agent_id = await make_agent(db, team=team)
    async with HttpServer(receiver.handle) as server:
        yield Post(db, team, agent_id, f"{server.url}/hook")

"""However much is held back, what is not held back behind it is found."""

from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest

from batchyard.config import Config
from batchyard.engine.admission import Admitter
from batchyard.engine.look import Admission
from batchyard.engine.switchboard import Connected
from batchyard.models import Kind
from batchyard.providers.base import Keep, Provider, Report, keep_nothing
from batchyard.store import limits, providers
from batchyard.store.db import Database
from tests.engine.conftest import OneLine, Yard
from tests.engine.test_control import find_team

HELD = 700
"""More than an admission looks at in one go."""

ADD_BATCHES = """
INSERT INTO batches (id, team_id, kind, state, agent_id, is_single, priority, created_at,
                     updated_at, total_rows)
SELECT gen_random_uuid(), team_id, kind, 'queued', agent_id, %(is_single)s, 9, created_at,
       updated_at, 1
  FROM batches, generate_series(1, %(n)s) WHERE id = %(like)s
RETURNING id
"""

ADD_ITEMS = """
INSERT INTO items (id, batch_id, team_id, due_at, updated_at)
SELECT gen_random_uuid(), id, team_id, created_at, created_at FROM batches WHERE id = ANY (%(ids)s)
"""

ADD_DATA = """
INSERT INTO item_data (item_id, batch_id, position, payload, created_at)
SELECT i.id, i.batch_id, 1, '{}', i.due_at FROM items i
 WHERE NOT EXISTS (SELECT FROM item_data d WHERE d.item_id = i.id)
"""

GO_LIVE = """
UPDATE items SET phase = 'live', status = 'initiated', intent_at = due_at, provider_id = 1
 WHERE id IN (SELECT DISTINCT ON (batch_id) id FROM items
               WHERE batch_id = ANY (%(ids)s) ORDER BY batch_id, id LIMIT %(n)s)
"""


class TwoLines(OneLine):
    """A switchboard with two providers, which are the same program."""

    def __init__(self, provider: Provider) -> None:
        super().__init__(provider)
        self._lines = {n: Connected(provider_id=n, provider=provider) for n in (1, 2)}

    async def choose(self, provider_id: int | None) -> Connected:
        return self._lines[provider_id or 1]

    def connected(self, provider_id: int) -> Connected | None:
        return self._lines.get(provider_id)


async def add_batches(yard: Yard, *, like: UUID, is_single: bool, live: int) -> list[UUID]:
    """Add many batches of higher priority and one due item, of which so many have one live."""
    async with yard.db.transaction() as conn:
        given: dict[str, object] = {"like": like, "is_single": is_single, "n": HELD}
        rows = await (await conn.execute(ADD_BATCHES, given)).fetchall()
        given = {"ids": [row[0] for row in rows], "n": live}
        for _ in range(2 if live else 1):
            await conn.execute(ADD_ITEMS, given)
        await conn.execute(ADD_DATA)
        await conn.execute(GO_LIVE, given)
    return [row[0] for row in rows if isinstance(row[0], UUID)]


async def find_agent(yard: Yard, batch_id: UUID) -> UUID:
    agent_id = await yard.value("SELECT agent_id FROM batches WHERE id = %s", [batch_id])
    assert isinstance(agent_id, UUID)
    return agent_id


async def hold_by_agent(yard: Yard, like: UUID) -> None:
    await add_batches(yard, like=like, is_single=True, live=1)
    async with yard.db.transaction() as conn:
        key = limits.agent_key(await find_agent(yard, like))
        await limits.set_cap(conn, key=key, concurrency=1)


async def hold_by_provider(yard: Yard, like: UUID) -> None:
    await add_batches(yard, like=like, is_single=True, live=0)
    async with yard.db.transaction() as conn:
        await providers.set_paused(conn, name="sandbox", reason="a person", now=yard.db.clock())


async def hold_each_batch(yard: Yard, like: UUID) -> None:
    added = await add_batches(yard, like=like, is_single=False, live=HELD)
    async with yard.db.transaction() as conn:
        for batch_id in added:
            await limits.set_cap(conn, key=limits.batch_key(batch_id), concurrency=1)


async def lead_elsewhere(yard: Yard, batch_id: UUID) -> None:
    """Lead what the agent of a batch calls to another provider."""
    async with yard.db.transaction() as conn:
        provider_id = await providers.insert(
            conn,
            name="other",
            kind="http",
            settings={},
            secret=None,
            allow_private=False,
            now=yard.db.clock(),
        )
        assert provider_id == 2
        await providers.set_route(
            conn,
            team_id=yard.team_id,
            kind=Kind.CALL,
            agent_id=await find_agent(yard, batch_id),
            provider_id=provider_id,
        )


async def admit(yard: Yard) -> Admission:
    config = Config(team_concurrency=10 * HELD)
    admitter = Admitter(config, TwoLines(yard.provider), worker_id=1)
    team = await find_team(yard)
    async with yard.db.transaction() as conn:
        return await admitter.admit(
            conn, team, slots=lambda: 10, singles_only=False, now=yard.db.clock()
        )


Hold = Callable[[Yard, UUID], Awaitable[None]]


@pytest.mark.parametrize("hold", [hold_by_agent, hold_by_provider, hold_each_batch])
async def test_batch_behind_many_that_are_held_back_is_found(yard: Yard, hold: Hold) -> None:
    like = await yard.make_batch(items=0, kind=Kind.CALL, state="paused")
    free = await yard.make_batch(items=3, kind=Kind.CALL)
    await lead_elsewhere(yard, free)
    await hold(yard, like)
    admission = await admit(yard)
    assert [(one.batch_id, len(claimed)) for one, claimed in admission.started] == [(free, 3)]


async def test_team_that_is_full_is_not_searched_to_the_end(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    like = await yard.make_batch(items=0, kind=Kind.CALL, state="paused")
    await add_batches(yard, like=like, is_single=True, live=1)
    async with yard.db.transaction() as conn:
        await limits.set_cap(conn, key=limits.team_key(yard.team_id), concurrency=1)
    looks = 0
    original = Admitter._look

    async def look(*given: object, **how: object) -> object:
        nonlocal looks
        looks += 1
        return await original(*given, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(Admitter, "_look", look)
    admission = await admit(yard)
    assert (admission.count, admission.is_capped, looks) == (0, True, 2)


async def test_worker_sends_what_is_behind_many_held_singles(yard: Yard) -> None:
    async def connect(
        config: Config, db: Database, *, report: Report, keep: Keep = keep_nothing
    ) -> TwoLines:
        await Yard.connect(yard, config, db, report=report, keep=keep)
        return TwoLines(yard.provider)

    yard.connect = connect  # type: ignore[method-assign]
    like = await yard.make_batch(items=0, kind=Kind.CALL, state="paused")
    await hold_by_agent(yard, like)
    free = await yard.make_batch(items=30, kind=Kind.CALL)
    await lead_elsewhere(yard, free)
    async with yard.working():
        assert await yard.until_ended(free) == "completed"
    assert {request.batch_id for request in yard.provider.sent} == {free}

from pathlib import Path
from uuid import UUID

import pytest

from batchyard.engine.switchboard import Exchange, open_exchange
from batchyard.models import Kind
from batchyard.store import providers, runs
from batchyard.store.db import Connection
from batchyard.store.runs import Order
from tests import plug_ins
from tests.engine.conftest import Yard


async def add(conn: Connection, yard: Yard, name: str, *, kind: str = "http") -> int:
    provider_id = await providers.insert(
        conn,
        name=name,
        kind=kind,
        settings={"url": "https://example.com", "policy": "neither"},
        secret=None,
        allow_private=False,
        now=yard.db.clock(),
    )
    assert provider_id is not None
    return provider_id


async def route(conn: Connection, yard: Yard, provider_id: int, agent_id: UUID | None) -> None:
    await providers.set_route(
        conn, team_id=yard.team_id, kind=Kind.CALL, agent_id=agent_id, provider_id=provider_id
    )


async def led_to(conn: Connection, yard: Yard) -> int | None:
    (run,) = await runs.list_admissible(
        conn,
        team_id=yard.team_id,
        order=Order.BY_PRIORITY,
        singles_only=False,
        limit=10,
        now=yard.db.clock(),
    )
    return run.provider_id


async def test_a_batch_goes_where_a_route_led_before_it_however_shortly(yard: Yard) -> None:
    """A worker that learned of routes by and by would give such a batch to the sandbox."""
    exchange = await open_exchange(yard.config, yard.db, report=yard.report)
    try:
        async with yard.db.transaction() as conn:
            added = await add(conn, yard, "new")
            await route(conn, yard, added, None)
        await yard.make_batch(items=1, kind=Kind.CALL)
        async with yard.db.transaction() as conn:
            line = await exchange.choose(await led_to(conn, yard))
        assert line is not None
        assert (line.provider_id, line.provider.name) == (added, "new")
    finally:
        await exchange.close()


async def test_provider_that_changed_is_opened_anew(yard: Yard) -> None:
    async with yard.db.transaction() as conn:
        added = await add(conn, yard, "carrier")
    exchange = await open_exchange(yard.config, yard.db, report=yard.report)
    assert isinstance(exchange, Exchange)
    try:
        before = exchange.connected(added)
        await write(yard, "UPDATE providers SET settings = settings || '{\"concurrency\": 7}'")
        await exchange.refresh()
        after = exchange.connected(added)
        assert before is not None
        assert after is not None
        assert (before.concurrency, after.concurrency) == (40, 7)
        # As it was it is not right any more either.
        await write(yard, "UPDATE providers SET settings = '{}' WHERE kind = 'http'")
        await exchange.refresh()
        assert exchange.connected(added) is None
    finally:
        await exchange.close()


async def test_plug_in_that_breaks_leaves_all_others_open(
    yard: Yard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_ins.install(tmp_path, monkeypatch)
    async with yard.db.transaction() as conn:
        broken = [await add(conn, yard, kind, kind=kind) for kind in plug_ins.BROKEN]
        removed = await add(conn, yard, "removed", kind="gone")
        await providers.remove(conn, name="removed", now=yard.db.clock())
        sound = await add(conn, yard, "sound")
    exchange = await open_exchange(yard.config, yard.db, report=yard.report)
    assert isinstance(exchange, Exchange)
    try:
        for provider_id in (*broken, removed):
            assert exchange.connected(provider_id) is None
            assert await exchange.choose(provider_id) is None
        assert exchange.connected(sound) is not None
        await write(yard, "UPDATE providers SET kind = 'moody' WHERE name = 'sound'")
        await exchange.refresh()
        assert exchange.connected(sound) is None
        assert await exchange.choose(None) is not None
    finally:
        await exchange.close()


async def test_provider_that_breaks_when_closed_keeps_no_other_open(
    yard: Yard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_ins.install(tmp_path, monkeypatch)
    async with yard.db.transaction() as conn:
        ids = [await add(conn, yard, name, kind="clinging") for name in ("replaced", "other")]
    exchange = await open_exchange(yard.config, yard.db, report=yard.report)
    assert isinstance(exchange, Exchange)
    lines = [exchange.connected(provider_id) for provider_id in ids]
    await write(yard, "UPDATE providers SET settings = '{}' WHERE name = 'replaced'")
    await exchange.refresh()
    lines.append(exchange.connected(ids[0]))

    await exchange.close()

    assert [vars(line.provider)["was_closed"] for line in lines if line is not None] == [True] * 3


async def write(yard: Yard, statement: str) -> None:
    async with yard.db.transaction() as conn:
        await conn.execute(statement.encode())


async def test_the_narrowest_route_wins_and_without_one_it_is_the_sandbox(yard: Yard) -> None:
    await yard.make_batch(items=1, kind=Kind.CALL)
    agent_id = await yard.value("SELECT id FROM agents")
    assert isinstance(agent_id, UUID)
    exchange = await open_exchange(yard.config, yard.db, report=yard.report)
    try:
        async with yard.db.transaction() as conn:
            line = await exchange.choose(await led_to(conn, yard))
            assert line is not None
            assert line.provider.name == "sandbox"
            everyone, one = await add(conn, yard, "everyone"), await add(conn, yard, "one")
            await route(conn, yard, everyone, None)
            assert await led_to(conn, yard) == everyone
            await route(conn, yard, one, agent_id)
            assert await led_to(conn, yard) == one
    finally:
        await exchange.close()

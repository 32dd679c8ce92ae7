from uuid import UUID

from batchyard.engine.switchboard import Exchange, open_exchange
from batchyard.models import Kind
from batchyard.store import providers, runs
from batchyard.store.db import Connection
from batchyard.store.runs import Order
from tests.engine.conftest import Yard


async def add(conn: Connection, yard: Yard, name: str) -> int:
    provider_id = await providers.insert(
        conn,
        name=name,
        kind="http",
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

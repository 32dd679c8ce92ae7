"""Two who change an endpoint at one moment both have their way."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from batchyard.models import Team
from batchyard.operations import listeners
from batchyard.operations.audit import Actor
from batchyard.operations.endpoints import create_endpoint, list_endpoints
from batchyard.operations.listeners import Settings
from batchyard.operations.transactions import Joined, Transactions
from batchyard.store import endpoints
from batchyard.store.db import Database
from batchyard.store.endpoints import Endpoint
from tests.factories import make_team
from tests.operations.lists import rows_of

ACTOR = Actor(name="test")
OLD, NEW = "https://old.example.com/hook", "https://new.example.com/hook"

WAITERS = """
SELECT count(*) FROM pg_stat_activity
 WHERE datname = current_database() AND wait_event_type = 'Lock'
"""

Change = Callable[[Settings], Settings]


@pytest.fixture
async def team(db: Database) -> Team:
    team = await make_team(db)
    await create_endpoint(db, team=team, url=OLD)
    return team


async def read(db: Database, team: Team) -> Endpoint:
    [endpoint] = await list_endpoints(db, team=team)
    return endpoint


async def change_endpoint(
    work: Transactions, team: Team, endpoint: Endpoint, change: Change
) -> None:
    await listeners.change_endpoint(
        work, team=team, actor=ACTOR, endpoint_id=endpoint.id, change=change
    )


def describe(old: Settings) -> Settings:
    return replace(old, description="Warehouse")


@asynccontextmanager
async def meanwhile(db: Database, team: Team, change: Change) -> AsyncIterator[Joined]:
    """Lend a transaction; before it is committed somebody else wants to change the endpoint."""
    endpoint = await read(db, team)
    async with asyncio.timeout(60):
        async with db.transaction() as conn:
            await conn.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            yield Joined(connection=conn, clock=db.clock)
            changing = asyncio.create_task(change_endpoint(db, team, endpoint, change))
            while await rows_of(db, WAITERS) != [(1,)]:
                assert not changing.done()
                await asyncio.sleep(0.01)
        await changing


async def test_change_keeps_what_another_one_changes_at_the_same_moment(
    db: Database, team: Team
) -> None:
    endpoint = await read(db, team)
    async with meanwhile(db, team, describe) as work:
        await change_endpoint(work, team, endpoint, lambda old: replace(old, url=NEW))
    changed = await read(db, team)
    assert (changed.url, changed.description) == (NEW, "Warehouse")
    assert await rows_of(db, "SELECT before, after FROM audit_log ORDER BY id") == [
        ({"url": OLD}, {"url": NEW}),
        ({"description": None}, {"description": "Warehouse"}),
    ]


async def test_change_does_not_enable_what_is_disabled_at_the_same_moment(
    db: Database, team: Team
) -> None:
    now = db.clock()
    async with meanwhile(db, team, describe) as work:
        await work.connection.execute(
            "UPDATE webhook_endpoints SET failing_since = %s", (now - timedelta(days=4),)
        )
        [[endpoint_id]] = await rows_of(db, "SELECT id FROM webhook_endpoints")
        assert await endpoints.disable_failing(
            work.connection, endpoint_id=int(str(endpoint_id)), before=now, now=now
        )
    changed = await read(db, team)
    assert (changed.disabled_at, changed.description) == (now, "Warehouse")


async def test_change_waits_for_nobody_who_tells_something(db: Database, team: Team) -> None:
    endpoint = await read(db, team)
    async with db.transaction() as conn, asyncio.timeout(60):
        await conn.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        # As the foreign key of what is told does, until its commit.
        await conn.execute("SELECT FROM webhook_endpoints FOR KEY SHARE")
        await change_endpoint(db, team, endpoint, describe)
    assert (await read(db, team)).description == "Warehouse"

"""A window that changes while calls are put off: none of them stays with the old one."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from uuid import UUID

import pytest

from batchyard.contact_rules import TeamRules
from batchyard.engine.admission import Admitter
from batchyard.engine.hours import Hours
from batchyard.models import Kind
from batchyard.operations import agents, changes, contacts
from batchyard.operations.agents import AgentChange
from batchyard.operations.contacts import CLOCKS_APART
from batchyard.store.db import Connection
from batchyard.store.runs import Run
from tests.clocks import SetClock
from tests.engine.calls import NEW_YORKER, due_at, find_team, make_calls, set_clock, set_rules
from tests.engine.conftest import OneLine, Yard
from tests.engine.test_windows import NEW_YORK_OPENS, NOON, PUT_OFF, admit

WAITS_FOR_LOCK = """
SELECT count(*) = 1 FROM pg_stat_activity
 WHERE datname = current_database() AND wait_event_type = 'Lock'
"""

Change = Callable[[Yard, UUID], Coroutine[object, object, None]]


async def change_days(yard: Yard, _: UUID) -> None:
    await set_rules(yard, TeamRules(days=frozenset({1, 2, 3})))


async def change_hours(yard: Yard, batch_id: UUID) -> None:
    agent_id = await yard.value("SELECT agent_id FROM batches WHERE id = %s", [batch_id])
    await agents.patch_agent(
        yard.db,
        team=await find_team(yard),
        agent_id=UUID(str(agent_id)),
        change=AgentChange(
            config={"calling_guardrails": {"call_start_hour": 8, "call_end_hour": 20}},
            prompts=None,
            extra={},
        ),
        webhook_format="",
    )


async def bypass(yard: Yard, batch_id: UUID) -> None:
    team = await find_team(yard)
    await changes.change_batch(
        yard.db, team=team, kind=Kind.CALL, batch_id=batch_id, bypass_windows=True
    )


CHANGES = pytest.mark.parametrize("change", [change_days, change_hours, bypass])


async def find_closed(yard: Yard) -> tuple[UUID, Admitter, Run, Hours]:
    """Let an admission find a call whose window is closed."""
    set_clock(yard, NOON)
    batch_id = await make_calls(yard, [NEW_YORKER])
    admitter = Admitter(yard.config, OneLine(yard.provider), worker_id=1)
    ((run, hours),) = (await admit(yard, admitter)).ajar
    return batch_id, admitter, run, hours


@CHANGES
async def test_call_is_not_put_off_by_a_window_that_changed_since(
    yard: Yard, change: Change
) -> None:
    batch_id, admitter, run, hours = await find_closed(yard)
    await change(yard, batch_id)
    async with yard.db.transaction() as conn:
        assert await admitter.put_off(conn, run, hours, now=yard.db.clock())
    assert await yard.value("SELECT status FROM items") == "waiting"


@CHANGES
async def test_change_waits_for_what_is_put_off_and_looks_at_it_anew(
    yard: Yard, change: Change
) -> None:
    batch_id, admitter, run, hours = await find_closed(yard)
    async with yard.db.transaction() as conn:
        assert await admitter.put_off(conn, run, hours, now=yard.db.clock())
        changing = asyncio.create_task(change(yard, batch_id))
        await yard.until(WAITS_FOR_LOCK)
    await changing
    assert await due_at(yard, NEW_YORKER) != NEW_YORK_OPENS
    assert await yard.value("SELECT due_at <= %s FROM items", [yard.db.clock()])


class WithWorker:
    """Transactions after each of which a worker puts off again what is due and closed."""

    def __init__(self, yard: Yard, clock: SetClock) -> None:
        self.yard = yard
        self.clock = clock
        self.admitter = Admitter(yard.config, OneLine(yard.provider), worker_id=1)
        self.left = 10

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        async with self.yard.db.transaction() as conn:
            yield conn
        self.left -= 1
        assert self.left >= 0
        await self.put_off()

    async def put_off(self) -> None:
        self.clock.set(self.clock() + 2 * CLOCKS_APART)
        for run, hours in (await admit(self.yard, self.admitter)).ajar:
            async with self.yard.db.transaction() as conn:
                await self.admitter.put_off(conn, run, hours, now=self.clock())


async def test_what_is_put_off_again_is_not_looked_at_without_end(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contacts, "BLOCK", 2)
    clock = set_clock(yard, NOON)
    await make_calls(yard, [NEW_YORKER] * 5)
    work = WithWorker(yard, clock)
    await work.put_off()
    assert await contacts.reconsider_windows(work, team=await find_team(yard)) == 5
    assert await yard.value(PUT_OFF, [5])

"""An agent's calling window: refused when it makes no sense, followed when it changes."""

import pytest

from batchyard.errors import InvalidRequest
from batchyard.models import BatchState, JsonObject, Kind, Team
from batchyard.operations import agents
from batchyard.operations.agents import AgentChange
from batchyard.store.db import Database
from tests.factories import make_batch, make_items, make_team

OFFICE = {"call_start_hour": 9, "call_end_hour": 17}
LATER = {"call_start_hour": 9, "call_end_hour": 20}
NIGHT = {"call_start_hour": 20, "call_end_hour": 9}


@pytest.fixture
async def team(db: Database) -> Team:
    return await make_team(db)


def change(**config: object) -> AgentChange:
    given: JsonObject = {"agent_name": "Alfred", **config}
    return AgentChange(config=given, prompts=None, extra={})


async def count_due(db: Database) -> object:
    async with db.pool.connection() as conn:
        row = await (
            await conn.execute(
                "SELECT count(*) FROM items WHERE due_at <= %s AND status = 'rescheduled'",
                (db.clock(),),
            )
        ).fetchone()
    return row[0] if row else None


async def test_window_that_ends_before_it_starts_is_refused(db: Database, team: Team) -> None:
    with pytest.raises(InvalidRequest, match="end after it starts"):
        await agents.create_agent(
            db, team=team, change=change(calling_guardrails=NIGHT), webhook_format=""
        )
    agent_id = await agents.create_agent(
        db, team=team, change=change(calling_guardrails=OFFICE), webhook_format=""
    )
    for alter in (agents.patch_agent, agents.replace_agent):
        with pytest.raises(InvalidRequest, match="end after it starts"):
            await alter(
                db,
                team=team,
                agent_id=agent_id,
                change=change(calling_guardrails=NIGHT),
                webhook_format="",
            )


async def test_calls_that_wait_follow_a_changed_window(db: Database, team: Team) -> None:
    agent_id = await agents.create_agent(
        db, team=team, change=change(calling_guardrails=OFFICE), webhook_format=""
    )
    batch_id = await make_batch(
        db, team=team, kind=Kind.CALL, state=BatchState.RUNNING, agent_id=agent_id
    )
    await make_items(db, team=team, batch_id=batch_id, n=3, status="rescheduled")
    async with db.transaction() as conn:
        await conn.execute("UPDATE items SET due_at = due_at + interval '1 hour'")
    for config, due in (
        ({"calling_guardrails": OFFICE}, 0),
        ({"language": "da"}, 0),
        ({"calling_guardrails": LATER}, 3),
    ):
        await agents.patch_agent(
            db, team=team, agent_id=agent_id, change=change(**config), webhook_format=""
        )
        assert await count_due(db) == due

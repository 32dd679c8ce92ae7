"""Every reason for waiting is made by the rule that it names, and read back."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import pytest

from batchyard.engine.switchboard import open_exchange
from batchyard.models import (
    Accepted,
    Answer,
    Ended,
    Kind,
    Lost,
    Rate,
    Refused,
    Request,
    RetryPolicy,
)
from batchyard.operations import control, limits, restore, waiting
from batchyard.operations.waiting import REASONS, Waiting
from batchyard.store import providers, workers
from tests.engine.calls import DANE, NEW_YORKER, make_calls, set_clock
from tests.engine.conftest import Yard
from tests.engine.test_control import find_team
from tests.engine.test_same_number import be_exclusive
from tests.engine.test_windows import NOON

ITEMS = 10

Make = Callable[[Yard], Awaitable[UUID]]
"""Makes what holds a batch, before any worker runs; returns the batch."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cause:
    """How a reason comes about."""

    make: Make
    has_end: bool = False
    """Time alone ends it, so it says when."""
    needs_worker: bool = True
    is_of_item: bool = False
    """Told of an item while nothing holds its batch."""


async def hold(_: Request) -> Answer:
    await asyncio.sleep(30)
    return Ended(status="completed")


def answering(answer: Answer) -> Make:
    """Make a batch whose items are answered so."""

    async def answer_so(_: Request) -> Answer:
        return answer

    async def make(yard: Yard) -> UUID:
        yard.provider.script = answer_so
        policy = RetryPolicy(statuses=("busy",), max_retries=1, intervals_minutes=(30,))
        return await yard.make_batch(items=ITEMS, kind=Kind.CALL, retry_policy=policy)

    return make


def in_state(state: str) -> Make:
    """Make a batch in a state."""

    async def make(yard: Yard) -> UUID:
        batch_id = await yard.make_batch(items=ITEMS, state="open")
        async with yard.db.transaction() as conn:
            await conn.execute(
                "UPDATE batches SET state = %s, scheduled_at = %s",
                (state, yard.db.clock() + timedelta(hours=1)),
            )
        return batch_id

    return make


def limited(scope: str, *, concurrency: int | None = None, rate: Rate | None = None) -> Make:
    """Make a batch of calls under a limit."""

    async def make(yard: Yard) -> UUID:
        batch_id = await yard.make_batch(items=ITEMS, kind=Kind.CALL)
        if rate is None:
            yard.provider.script = hold
        name = {
            "team": (await find_team(yard)).slug,
            "provider": "sandbox",
            "agent": await yard.value("SELECT agent_id FROM batches"),
            "batch": batch_id,
        }[scope]
        await limits.set_limit(
            yard.db,
            scope=f"{scope}:{name}",
            concurrency=concurrency,
            rates=[] if rate is None else [rate],
        )
        return batch_id

    return make


async def paused(yard: Yard) -> UUID:
    batch_id = await yard.make_batch(items=ITEMS)
    team = await find_team(yard)
    await control.pause_batch(yard.db, team=team, kind=Kind.SHIPMENT, batch_id=batch_id)
    return batch_id


async def restored(yard: Yard) -> UUID:
    batch_id = await yard.make_batch(items=ITEMS, state="running")
    await restore.mark_restored(yard.db, silent_providers=[], default_provider=1)
    return batch_id


async def failing(yard: Yard) -> UUID:
    async def fail(_: Request) -> Answer:
        await asyncio.sleep(0.02)
        return Ended(status="failed", error_code="no_such_street", error_message="?")

    yard.provider.script = fail
    return await yard.make_batch(items=5000)


async def behind_another(yard: Yard) -> UUID:
    yard.provider.script = hold
    await yard.make_batch(items=ITEMS)
    return await yard.make_batch(items=ITEMS)


async def alone(yard: Yard) -> UUID:
    yard.provider.script = hold
    return await yard.make_batch(items=ITEMS)


async def through_nobody(yard: Yard) -> UUID:
    """Route a team to a provider whose package is gone, as the real switchboard sees it."""
    yard.connect = open_exchange  # type: ignore[method-assign]
    async with yard.db.transaction() as conn:
        provider_id = await providers.insert(
            conn,
            name="gone",
            kind="not_installed",
            settings={},
            secret=None,
            allow_private=False,
            now=yard.db.clock(),
        )
        assert provider_id is not None
        await providers.set_route(
            conn,
            team_id=yard.team_id,
            kind=Kind.SHIPMENT,
            agent_id=None,
            provider_id=provider_id,
        )
    return await yard.make_batch(items=ITEMS)


async def through_a_paused_provider(yard: Yard) -> UUID:
    async with yard.db.transaction() as conn:
        await providers.set_paused(conn, name="sandbox", reason="a person", now=yard.db.clock())
    return await yard.make_batch(items=ITEMS)


async def before_hours(yard: Yard) -> UUID:
    set_clock(yard, NOON)
    return await make_calls(yard, [NEW_YORKER])


async def without_sense(yard: Yard) -> UUID:
    return await make_calls(yard, [DANE], guardrails={"call_start_hour": 20})


async def without_a_turn(yard: Yard) -> UUID:
    """Let a worker live that never comes to this team: others have all its slots."""
    batch_id = await yard.make_batch(items=ITEMS)
    async with yard.db.transaction() as conn:
        await workers.register(conn, host="here", pid=1, now=yard.db.clock())
        await conn.execute("UPDATE items SET due_at = due_at - interval '1 minute'")
    return batch_id


async def to_one_number(yard: Yard) -> UUID:
    async def lose(_: Request) -> Answer:
        return Lost(code="timeout", message="?")

    be_exclusive(yard, looks=(60, 120))
    yard.provider.script = lose
    return await make_calls(yard, [DANE, DANE], guardrails=None)


HOURLY = Rate(count=1, seconds=3600)

CAUSES: Mapping[str, Cause] = {
    "not_dispatched": Cause(make=in_state("open"), needs_worker=False),
    "scheduled": Cause(make=in_state("scheduled"), needs_worker=False, has_end=True),
    "paused": Cause(make=paused),
    "brake": Cause(make=failing),
    "restored": Cause(make=restored),
    "no_worker": Cause(make=in_state("queued"), needs_worker=False),
    "team_cap": Cause(make=limited("team", concurrency=2)),
    "provider_cap": Cause(make=limited("provider", concurrency=2)),
    "agent_cap": Cause(make=limited("agent", concurrency=2)),
    "batch_cap": Cause(make=limited("batch", concurrency=2)),
    "team_rate": Cause(make=limited("team", rate=HOURLY), has_end=True),
    "provider_rate": Cause(make=limited("provider", rate=HOURLY), has_end=True),
    "agent_rate": Cause(make=limited("agent", rate=HOURLY), has_end=True),
    "batch_rate": Cause(make=limited("batch", rate=HOURLY), has_end=True),
    "retry_after": Cause(
        make=answering(Refused(code="429", message="Slow down", retry_after_seconds=600)),
        has_end=True,
    ),
    "provider_unusable": Cause(make=through_nobody),
    "provider_paused": Cause(make=through_a_paused_provider),
    "earlier_batch": Cause(make=behind_another),
    "no_slot": Cause(make=without_a_turn, needs_worker=False),
    "window": Cause(make=before_hours, has_end=True),
    "window_invalid": Cause(make=without_sense),
    "retry": Cause(make=answering(Ended(status="busy")), has_end=True),
    "same_number": Cause(make=to_one_number, has_end=True),
    "earlier_items": Cause(make=alone, is_of_item=True),
    "answer": Cause(make=answering(Accepted(reference="r")), is_of_item=True, has_end=True),
    "person": Cause(
        make=answering(Lost(code="reset", message="Connection reset")), is_of_item=True
    ),
}


async def of_batch(yard: Yard, batch_id: UUID) -> list[Waiting | None]:
    """Return why a batch waits."""
    team = await find_team(yard)
    return [await waiting.explain_batch(yard.db, team=team, batch_id=batch_id)]


async def of_items(yard: Yard, batch_id: UUID) -> list[Waiting | None]:
    """Return why items of a batch wait, those that were not sent first."""
    team = await find_team(yard)
    async with yard.db.pool.connection() as conn:
        cursor = await conn.execute(
            "SELECT id FROM items WHERE batch_id = %s ORDER BY phase = 'ready' DESC LIMIT %s",
            (batch_id, ITEMS),
        )
        ids = [row[0] for row in await cursor.fetchall()]
    return [
        await waiting.explain_item(yard.db, team=team, item_id=item_id)
        for item_id in ids
        if isinstance(item_id, UUID)
    ]


async def until_told(
    ask: Callable[[Yard, UUID], Awaitable[list[Waiting | None]]],
    yard: Yard,
    batch_id: UUID,
    reason: str,
) -> Waiting:
    """Wait until this reason is told."""
    async with asyncio.timeout(20):
        while True:
            for found in await ask(yard, batch_id):
                if found is not None and found.reason == reason:
                    return found
            await asyncio.sleep(0.02)


def test_no_cause_is_without_a_reason() -> None:
    assert set(CAUSES) - set(REASONS) == set()


@pytest.mark.parametrize("reason", REASONS)
async def test_each_cause_is_made_and_read_back(yard: Yard, reason: str) -> None:
    cause = CAUSES[reason]
    yard.config = yard.config.model_copy(update={"worker_slots": 4, "stop_seconds": 0})
    batch_id = await cause.make(yard)
    async with yard.working() if cause.needs_worker else nullcontext():
        ask = of_items if cause.is_of_item else of_batch
        found = await until_told(ask, yard, batch_id, reason)
        assert (found.until is not None) == cause.has_end
        assert found.until is None or found.until > yard.db.clock()
        if not cause.is_of_item:
            await until_told(of_items, yard, batch_id, reason)

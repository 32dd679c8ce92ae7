"""Admissions and flushes lock the counts of batches in one order, so that none undoes another."""

import asyncio
from datetime import timedelta
from typing import cast
from uuid import UUID

import psycopg
import pytest

from batchyard.engine.admission import Admitter
from batchyard.engine.failpoints import Failpoint
from batchyard.engine.journal import Journal
from batchyard.engine.look import Admission
from batchyard.engine.runner import Runner
from batchyard.engine.turn import Turns
from batchyard.models import Phase, Policy
from batchyard.store import items, workers
from batchyard.store.items import Settlement
from tests.engine.conftest import OneLine, Yard, make_team
from tests.engine.test_control import find_team

LINGER = """
CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(7);
    RETURN NEW;
END $$;
CREATE TRIGGER linger BEFORE UPDATE ON batch_counts FOR EACH ROW EXECUTE FUNCTION linger();
"""
"""Whoever has locked a count waits at a gate before it locks the next one."""

BOTH_WAIT = """
SELECT count(*) = 2 FROM pg_locks l
  JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()
 WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.objid = 7 AND NOT l.granted
"""

CALLING = """
UPDATE items SET phase = 'calling', status = 'sending', intent_at = due_at, worker_id = 1
 WHERE id = (SELECT id FROM items WHERE batch_id = %s ORDER BY id LIMIT 1)
RETURNING id
"""


async def make_batches(yard: Yard) -> list[UUID]:
    """Make two batches with something out and something due; the second one is served first."""
    yard.provider.promises(policy=Policy.REPEATABLE)
    batch_ids = [await yard.make_batch(items=2) for _ in range(2)]
    assert batch_ids == sorted(batch_ids)
    async with yard.db.transaction() as conn:
        await conn.execute("UPDATE batches SET priority = 9 WHERE id = %s", (batch_ids[1],))
    return batch_ids


async def call_one_of_each(yard: Yard, batch_ids: list[UUID]) -> list[UUID]:
    async with yard.db.transaction() as conn:
        rows = [await (await conn.execute(CALLING, (one,))).fetchone() for one in batch_ids]
    return [row[0] for row in rows if row is not None and isinstance(row[0], UUID)]


async def admit(yard: Yard, admitter: Admitter) -> list[tuple[UUID, int]]:
    """Admit once; return how much of which batch."""
    team = await find_team(yard)
    async with yard.db.transaction() as conn:
        admission = await admitter.admit(
            conn, team, slots=lambda: 10, singles_only=False, now=yard.db.clock()
        )
    return [(assignment.batch_id, len(claimed)) for assignment, claimed in admission.started]


async def settle(yard: Yard, item_ids: list[UUID]) -> int:
    """Write outcomes in one flush; return how many fitted."""
    news = [
        Settlement(id=one, attempt=1, phase=Phase.DONE, status="booked", next_attempt=1)
        for one in item_ids
    ]
    async with yard.db.transaction() as conn:
        settled = await items.settle(conn, news, now=yard.db.clock())
    return sum(len(group.ids) for group in settled)


async def test_admission_of_two_batches_and_a_flush_of_both_do_not_deadlock(yard: Yard) -> None:
    first, second = batch_ids = await make_batches(yard)
    out = await call_one_of_each(yard, batch_ids)
    admitter = Admitter(yard.config, OneLine(yard.provider), worker_id=1)
    async with yard.db.transaction() as conn:
        await conn.execute(LINGER)
    async with await psycopg.AsyncConnection.connect(yard.db.url, autocommit=True) as gate:
        await gate.execute("SELECT pg_advisory_lock(7)")
        both = asyncio.gather(admit(yard, admitter), settle(yard, out))
        await yard.until(BOTH_WAIT)
        await gate.execute("SELECT pg_advisory_unlock(7)")
        admitted, settled = await both
    assert settled == 2
    assert admitted == [(second, 1)]
    # What it went without comes next.
    assert await admit(yard, admitter) == [(first, 1)]
    for batch_id in batch_ids:
        assert await yard.counts(batch_id) == {"booked": 1, "sending": 1}


async def test_admission_goes_back_to_a_batch_that_nobody_holds(yard: Yard) -> None:
    first, second = await make_batches(yard)
    admitter = Admitter(yard.config, OneLine(yard.provider), worker_id=1)
    assert await admit(yard, admitter) == [(second, 2), (first, 2)]


async def test_batch_that_gets_nothing_any_more_says_so_wherever_it_stands(yard: Yard) -> None:
    first, second = await make_batches(yard)
    admitter = Admitter(yard.config, OneLine(yard.provider), worker_id=1)
    team = await find_team(yard)
    async with yard.db.transaction() as conn:
        admission = await admitter.admit(
            conn, team, slots=lambda: 1, singles_only=False, now=yard.db.clock()
        )
    assert [assignment.batch_id for assignment, _ in admission.started] == [second]
    reason = "SELECT wait_reason FROM batches WHERE id = %s"
    assert await yard.value(reason, [first]) == "earlier_batch"


class Undone:
    """Admits nothing, and is undone some times before."""

    def __init__(self, *, times: int) -> None:
        self.left = times

    async def admit(self, *_: object, **__: object) -> Admission:
        self.left -= 1
        if self.left >= 0:
            raise psycopg.errors.DeadlockDetected("deadlock detected")
        return Admission(started=(), is_capped=False, opens_at=None)


def make_turns(yard: Yard, admitter: object) -> Turns:
    journal = Journal(yard.db, unknown_grace=timedelta(hours=1), worker_id=1)
    runner = Runner(yard.db, journal, slots=10, failpoint=Failpoint(None))
    return Turns(yard.db, runner, cast("Admitter", admitter))


async def test_admission_that_a_deadlock_has_undone_is_made_again(yard: Yard) -> None:
    undone = Undone(times=3)
    admission = await make_turns(yard, undone)._admit(await find_team(yard), singles_only=False)
    assert (admission.count, undone.left) == (0, -1)


async def test_admission_that_is_always_undone_ends_the_turn(yard: Yard) -> None:
    turns = make_turns(yard, Undone(times=4))
    with pytest.raises(psycopg.errors.DeadlockDetected):
        await turns._admit(await find_team(yard), singles_only=False)


async def test_teams_whose_worker_died_are_woken_in_the_order_of_all_others(yard: Yard) -> None:
    yards = [yard, *[Yard(yard.db, await make_team(yard.db)) for _ in range(15)]]
    batch_ids = [await one.make_batch(items=1) for one in yards]
    now = yard.db.clock()
    async with yard.db.transaction() as conn:
        worker_id = await workers.register(conn, host="here", pid=1, now=now)
        await conn.execute(
            "UPDATE items SET phase = 'claimed', worker_id = %s WHERE batch_id = ANY (%s)",
            [worker_id, batch_ids],
        )
        await workers.end(conn, worker_id=worker_id, now=now)
        teams = await workers.take_back(conn, now=now)
    assert teams == sorted(one.team_id for one in yards)

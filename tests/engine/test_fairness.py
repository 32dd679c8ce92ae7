"""Teams share workers by weight; singles and priorities go first, and nothing starves."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from uuid import UUID

import pytest

from batchyard.engine.admission import AGING_ROUND, Admitter
from batchyard.models import Answer, Ended, Request
from batchyard.operations import limits
from batchyard.store import limits as caps
from tests.engine.conftest import OneLine, Yard, make_team
from tests.engine.test_control import find_team


async def briefly(_: Request) -> Answer:
    await asyncio.sleep(0.01)
    return Ended(status="booked")


async def share_out(yard: Yard, weights: Sequence[int], *, items: int) -> Counter[int]:
    """Let teams compete; return how much of each was sent between a fifth and a half of all.

    The first one to have its turn is alone for a moment and may use every slot.
    """
    yards = [yard, *[Yard(yard.db, await make_team(yard.db)) for _ in weights[1:]]]
    yard.config = yard.config.model_copy(update={"worker_slots": 60})
    yard.provider.script = briefly
    team_of = {}
    for index, (one, weight) in enumerate(zip(yards, weights, strict=True)):
        team = await find_team(one)
        await limits.set_limit(
            yard.db, scope=f"team:{team.slug}", concurrency=None, rates=[], weight=weight
        )
        team_of[await one.make_batch(items=items)] = index
    total, sent = items * len(weights), yard.provider.sent
    async with yard.working(), asyncio.timeout(60):
        while len(sent) < total // 2:  # noqa: ASYNC110  # a list sends no signal
            await asyncio.sleep(0.05)
    return Counter(team_of[request.batch_id] for request in sent[total // 5 : total // 2])


async def test_teams_share_by_weight(yard: Yard) -> None:
    done = await share_out(yard, [1, 2, 1], items=1600)
    heaviest = done[1]
    for team in (0, 2):
        assert 0.4 <= done[team] / heaviest <= 0.6


@pytest.mark.parametrize("weights", [(1, 1, 1, 1, 1, 1), (1, 2, 3, 1, 2, 1)])
async def test_many_teams_share_by_weight(yard: Yard, weights: Sequence[int]) -> None:
    done = await share_out(yard, weights, items=1600)
    for team, weight in enumerate(weights):
        due = done.total() * weight / sum(weights)
        assert 0.8 * due <= done[team] <= 1.2 * due, done


async def test_team_that_is_alone_uses_every_worker(yard: Yard) -> None:
    async def patiently(_: Request) -> Answer:
        await asyncio.sleep(0.2)
        return Ended(status="booked")

    slots = 10
    yard.config = yard.config.model_copy(update={"worker_slots": slots})
    yard.provider.script = patiently
    batch_id = await yard.make_batch(items=400)
    async with yard.working(), yard.working():
        assert await yard.until_ended(batch_id, seconds=60) == "completed"
    assert yard.provider.most_busy == 2 * slots


async def test_small_batch_is_not_held_up_by_a_flood(yard: Yard) -> None:
    slots = 50
    small = Yard(yard.db, await make_team(yard.db))
    ended: list[tuple[UUID, int]] = []

    async def note(request: Request) -> Answer:
        await asyncio.sleep(0.02)
        ended.append((request.batch_id, len(yard.provider.sent)))
        return Ended(status="booked")

    yard.config = yard.config.model_copy(update={"worker_slots": slots})
    yard.provider.script = note
    await yard.make_batch(items=30_000)
    async with yard.working():
        await yard.until("SELECT count(*) > 200 FROM items WHERE phase = 'done'")
        batch_id = await small.make_batch(items=100)
        await small.until_ended(batch_id, seconds=60)
    sent = [request.batch_id for request in yard.provider.sent]
    first = sent.index(batch_id)
    last = max(n for one, n in ended if one == batch_id)
    flood = sum(one != batch_id for one in sent[first:last])
    # Two of the fifty slots are kept for singles, and each team has half of the others. So the
    # hundred go out in five rounds, four of 24 and one of 4, with 24 of the flood beside each, and
    # beside the last the 20 that nobody else wants any more: 140, within three turns of all slots.
    # But rounds do not keep step: what ends of the flood while the last of the hundred are out is
    # replaced at once, and up to half a turn comes on top.
    assert flood <= 3 * slots + slots // 2


async def test_higher_priority_goes_first_and_the_lowest_is_not_starved(yard: Yard) -> None:
    low = await yard.make_batch(items=1500)
    high = await yard.make_batch(items=1500)
    async with yard.db.transaction() as conn:
        await conn.execute("UPDATE batches SET priority = 0 WHERE id = %s", (low,))
        await conn.execute("UPDATE batches SET priority = 9 WHERE id = %s", (high,))
    yard.config = yard.config.model_copy(update={"worker_slots": 40})
    yard.provider.script = briefly
    async with yard.working():
        await yard.until_ended(high, seconds=60)
        done = await yard.value(
            "SELECT count(*) FROM items WHERE batch_id = %s AND phase = 'done'", [low]
        )
    assert 0.05 * 1500 <= int(str(done)) <= 0.4 * 1500


async def test_lowest_priority_has_its_part_under_a_cap(yard: Yard) -> None:
    low = await yard.make_batch(items=60)
    high = await yard.make_batch(items=60)
    async with yard.db.transaction() as conn:
        await conn.execute("UPDATE batches SET priority = 0 WHERE id = %s", (low,))
        await conn.execute("UPDATE batches SET priority = 9 WHERE id = %s", (high,))
        await caps.set_cap(conn, key=caps.team_key(yard.team_id), concurrency=1)
    admitter = Admitter(yard.config, OneLine(yard.provider), worker_id=1)
    served: Counter[UUID | None] = Counter()
    for _ in range(2 * AGING_ROUND):
        served[await admit_one(yard, admitter)] += 1
        # While it is out, admission looks in vain so often that it always looks then.
        for _ in range(AGING_ROUND // 2 - 1):
            assert await admit_one(yard, admitter) is None
        async with yard.db.transaction() as conn:
            await conn.execute(
                "UPDATE items SET phase = 'done', status = 'booked' WHERE phase = 'claimed'"
            )
    assert served.total() == 2 * AGING_ROUND
    assert served[low] >= 0.05 * served.total()


async def admit_one(yard: Yard, admitter: Admitter) -> UUID | None:
    """Admit once; return of which batch, if anything was let in."""
    team = await find_team(yard)
    async with yard.db.transaction() as conn:
        admission = await admitter.admit(
            conn, team, slots=1, singles_only=False, now=yard.db.clock()
        )
    return next((assignment.batch_id for assignment, _ in admission.started), None)


async def test_single_goes_ahead_of_the_teams_batches(yard: Yard) -> None:
    yard.config = yard.config.model_copy(update={"worker_slots": 40})
    yard.provider.script = briefly
    await yard.make_batch(items=8000)
    async with yard.working():
        await yard.until("SELECT count(*) > 100 FROM items WHERE phase = 'done'")
        single = await yard.make_batch(items=1, is_single=True)
        sent_before = len(yard.provider.sent)
        await yard.until_ended(single, seconds=60)
        assert len(yard.provider.sent) - sent_before < 2000

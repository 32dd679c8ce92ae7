"""Teams share workers by weight; singles and priorities go first, and nothing starves."""

import asyncio
from collections import Counter

from batchyard.models import Answer, Ended, Request
from tests.engine.conftest import Yard, make_team


async def briefly(_: Request) -> Answer:
    await asyncio.sleep(0.01)
    return Ended(status="booked")


async def share_out(yard: Yard, weights: list[int], *, items: int) -> Counter[str]:
    """Let teams compete; return how much each had done when half of all was done."""
    yards = [yard, *[Yard(yard.db, await make_team(yard.db)) for _ in weights[1:]]]
    yard.config = yard.config.model_copy(update={"worker_slots": 60})
    yard.provider.script = briefly
    for one, weight in zip(yards, weights, strict=True):
        async with yard.db.transaction() as conn:
            await conn.execute("UPDATE teams SET weight = %s WHERE id = %s", (weight, one.team_id))
        await one.make_batch(items=items)
    async with yard.working():
        half = items * len(weights) // 2
        done_so_far = "SELECT count(*) > %s FROM items WHERE phase = 'done'"
        await yard.until(done_so_far, [half], seconds=60)
        async with yard.db.pool.connection() as conn:
            rows = await (
                await conn.execute(
                    "SELECT team_id, count(*) FROM items WHERE phase = 'done' GROUP BY 1"
                )
            ).fetchall()
    done = {team: int(str(n)) for team, n in rows}
    return Counter({str(i): done.get(one.team_id, 0) for i, one in enumerate(yards)})


async def test_teams_share_by_weight(yard: Yard) -> None:
    done = await share_out(yard, [1, 2, 1], items=1200)
    heaviest = done["1"]
    for team in ("0", "2"):
        assert 0.4 <= done[team] / heaviest <= 0.6


async def test_more_teams_than_turns_share_alike(yard: Yard) -> None:
    done = await share_out(yard, [1] * 6, items=1200)
    assert min(done.values()) > 0


async def test_small_batch_is_not_held_up_by_a_flood(yard: Yard) -> None:
    small = Yard(yard.db, await make_team(yard.db))
    yard.config = yard.config.model_copy(update={"worker_slots": 50})
    yard.provider.script = briefly
    await yard.make_batch(items=8000)
    async with yard.working():
        await yard.until("SELECT count(*) > 200 FROM items WHERE phase = 'done'")
        sent_before = len(yard.provider.sent)
        batch_id = await small.make_batch(items=100)
        await small.until_ended(batch_id, seconds=60)
        flood = len(yard.provider.sent) - sent_before - 100
    # In turn, slot by slot: beside the hundred, the flood had about as much, not its whole length.
    assert flood < 1500


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

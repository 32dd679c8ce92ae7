"""Teams share workers by weight; singles and priorities go first, and nothing starves."""

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from uuid import UUID

import pytest

from batchyard.engine.admission import AGING_ROUND, Admitter
from batchyard.engine.runner import EXPRESS_SHARE, Runner
from batchyard.models import Answer, Ended, Request, Team
from batchyard.operations import limits
from batchyard.store import limits as caps
from tests.engine.conftest import OneLine, Yard, make_team
from tests.engine.test_control import find_team


async def briefly(_: Request) -> Answer:
    await asyncio.sleep(0.01)
    return Ended(status="booked")


class Rounds:
    """Requests that stay out until all of them come back at once.

    So it decides nothing how long a machine takes: each round is what the slots allow.
    """

    def __init__(self, yard: Yard, *, slots: int) -> None:
        self.out: list[Request] = []
        """What this round has out."""
        self._is_over = asyncio.Event()
        yard.config = yard.config.model_copy(update={"worker_slots": slots, "stop_seconds": 0})
        yard.provider.promises(timeout=timedelta(minutes=5))
        yard.provider.script = self._stay

    async def _stay(self, request: Request) -> Answer:
        self.out.append(request)
        await self._is_over.wait()
        return Ended(status="booked")

    async def full(self, slots: int) -> Counter[UUID]:
        """Wait until so many are out; return how many of each batch."""
        await until(lambda: len(self.out) >= slots)
        return Counter(request.batch_id for request in self.out)

    def end(self) -> None:
        """Let all come back that are out; the next round begins."""
        is_over, self._is_over, self.out = self._is_over, asyncio.Event(), []
        is_over.set()


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not is_so():  # noqa: ASYNC110  # a list sends no signal
            await asyncio.sleep(0.005)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Lend the ids of the teams that have had a turn, or have one."""
    teams, weigh = set[int](), Runner.weigh

    def note(runner: Runner, team: Team) -> None:
        weigh(runner, team)
        teams.add(team.id)

    monkeypatch.setattr(Runner, "weigh", note)
    return teams


@pytest.mark.parametrize(
    "slots,weights",
    [
        (60, (1, 2, 1)),
        (60, (1, 1, 1, 1, 1, 1)),
        (63, (1, 1, 1, 1, 1, 1)),
        (63, (1, 2, 3, 1, 2, 1)),
    ],
)
async def test_teams_share_by_weight(
    yard: Yard, served: set[int], slots: int, weights: Sequence[int]
) -> None:
    yards = [yard, *[Yard(yard.db, await make_team(yard.db)) for _ in weights[1:]]]
    rounds, weight_of = Rounds(yard, slots=slots), dict[UUID, int]()
    for one, weight in zip(yards, weights, strict=True):
        team = await find_team(one)
        await limits.set_limit(
            yard.db, scope=f"team:{team.slug}", concurrency=None, rates=[], weight=weight
        )
        weight_of[await one.make_batch(items=600)] = weight
    shared = slots - slots // EXPRESS_SHARE
    async with yard.working():
        await until(lambda: len(served) == len(yards))
        # Who had its turn first was alone for a moment, and may have taken every slot.
        for _ in range(3):
            await rounds.full(shared)
            rounds.end()
        for _ in range(10):
            out = await rounds.full(shared)
            # As together they have all, none has less than its share either.
            for batch_id, weight in weight_of.items():
                assert out[batch_id] <= math.ceil(shared * weight / sum(weights)), out
            rounds.end()


async def test_team_that_is_alone_uses_every_worker(yard: Yard) -> None:
    slots = 10
    rounds = Rounds(yard, slots=slots)
    batch_id = await yard.make_batch(items=400)
    async with yard.working(), yard.working():
        for _ in range(400 // (2 * slots)):
            await rounds.full(2 * slots)
            rounds.end()
        assert await yard.until_ended(batch_id) == "completed"
    assert yard.provider.most_busy == 2 * slots


async def test_small_batch_is_not_held_up_by_a_flood(yard: Yard, served: set[int]) -> None:
    rounds = Rounds(yard, slots=50)
    small = Yard(yard.db, await make_team(yard.db))
    flood_id = await yard.make_batch(items=3000)
    async with yard.working():
        # Two slots are kept for singles.
        assert await rounds.full(48) == {flood_id: 48}
        batch_id = await small.make_batch(items=100)
        await until(lambda: small.team_id in served)
        for _ in range(4):
            rounds.end()
            assert await rounds.full(48) == {flood_id: 24, batch_id: 24}
        rounds.end()
        await until(lambda: sum(one.batch_id == batch_id for one in yard.provider.sent) == 100)
        # Now the flood has its share, and what nobody else wants any more.
        out = await rounds.full(4)
        assert out[batch_id] == 4
        assert out[flood_id] <= 44


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
            conn, team, slots=lambda: 1, singles_only=False, now=yard.db.clock()
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

"""What a rehearsal tells, held against a real run of the same file."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

import pytest

from batchyard.config import Config
from batchyard.engine.worker import run_worker
from batchyard.intake.options import IntakeOptions
from batchyard.models import Kind, Rate, Request, RetryPolicy, Team
from batchyard.operations.batches import dispatch_batch
from batchyard.operations.limits import set_limit
from batchyard.operations.plays import Rehearsal
from batchyard.providers.sandbox_calls import call_fate
from batchyard.store.db import Database
from tests.factories import make_team
from tests.operations.lists import CALLS, SHIPMENT_HEADER, SHIPMENTS, rows_of, shipment_row, upload
from tests.operations.test_rehearsals import (
    CONFIG,
    NOBODY_ELSE,
    QUICK,
    RETRIES,
    calls,
    counts,
    rehearse,
)

CAP = 10


@pytest.fixture
async def team(db: Database) -> Team:
    return await make_team(db)


@dataclass(frozen=True, kw_only=True)
class Played:
    """What a rehearsal told, and the batch that was run after it."""

    told: Rehearsal
    batch_id: UUID


async def hold_by_rate(db: Database, *, team: Team, rate: int) -> None:
    """Let a rate take far longer than anything else; its burst is for the first second."""
    await set_limit(
        db,
        scope=f"team:{team.slug}",
        concurrency=None,
        rates=[Rate(count=rate, seconds=1)],
        burst=rate,
    )
    async with db.transaction() as conn:
        # As after any quiet second.
        await conn.execute("UPDATE rates SET tokens = burst")


async def prepare(
    db: Database,
    content: bytes,
    *,
    team: Team,
    options: IntakeOptions,
    config: Config = QUICK,
    retry_policy: RetryPolicy | None = None,
) -> Played:
    """Rehearse a file, then make it a batch."""
    retries = retry_policy or RetryPolicy()
    before = await counts(db, NOBODY_ELSE)
    told = await rehearse(
        db, content, team=team, options=options, config=config, retry_policy=retries
    )
    assert await counts(db, NOBODY_ELSE) == before
    importing = await upload(db, content, team=team, options=options, retry_policy=retries)
    return Played(told=told, batch_id=importing.batch_id)


@asynccontextmanager
async def working(db: Database, config: Config) -> AsyncIterator[None]:
    """Run a worker while the block runs."""
    stop = asyncio.Event()
    worker = asyncio.create_task(run_worker(config, db, stop=stop))
    try:
        yield
    finally:
        stop.set()
        await worker


async def ended(db: Database, *batch_ids: UUID) -> None:
    query = "SELECT count(*) = 0 FROM batches WHERE id = ANY (%s) AND finished_at IS NULL"
    async with asyncio.timeout(60):
        while (await rows_of(db, query, list(batch_ids))) != [(True,)]:  # noqa: ASYNC110  # rows send no signal
            await asyncio.sleep(0.05)


async def seconds_at_the_rate(db: Database, played: Played, *, rate: int) -> float:
    """Return how long the run's attempts take at this rate, whose burst is a second's."""
    query = "SELECT sum(jsonb_array_length(attempts)) FROM item_data WHERE batch_id = %s"
    ((attempts,),) = await rows_of(db, query, played.batch_id)
    return (int(str(attempts)) - rate) / rate


async def seconds_under_the_cap(db: Database, played: Played, config: Config) -> float:
    """Return how long the run's calls take by their own lengths, with no gap between them."""
    query = (
        "SELECT d.number, (a ->> 'attempt')::int"
        " FROM item_data d CROSS JOIN jsonb_array_elements(d.attempts) AS a WHERE d.batch_id = %s"
    )
    lengths = [
        call_fate(
            Request(
                key="",
                item_id=uuid4(),
                batch_id=played.batch_id,
                team="",
                kind=Kind.CALL,
                attempt=int(str(attempt)),
                delivery=1,
                sent_at=db.clock(),
                payload={},
                number=str(number),
            ),
            seed=config.sandbox_seed,
        ).ends_after_seconds
        for number, attempt in await rows_of(db, query, played.batch_id)
    ]
    return sum(lengths) / config.sandbox_speed / CAP


async def compare(
    db: Database, played: Played, *, cost: str, limited_by: str, least_seconds: float
) -> None:
    """Fail where the run was not what the rehearsal had told.

    It may have lasted longer than was told, as the machine may have been busy. So whether what was
    told is long enough is seen by the least that the limits and what was run need.
    """
    ((began, end, attempts, spent),) = await rows_of(
        db,
        "SELECT min((d.attempts -> 0 ->> 'sent_at')::timestamptz), max(b.finished_at),"
        " sum(jsonb_array_length(d.attempts)), sum((d.result ->> %s)::int)"
        " FROM item_data d JOIN batches b ON b.id = d.batch_id WHERE b.id = %s",
        cost,
        played.batch_id,
    )
    assert isinstance(began, datetime)
    assert isinstance(end, datetime)
    told = played.told
    assert told.attempts.expected == float(str(attempts))
    ((_, costs),) = told.costs.items()
    assert costs.expected == float(str(spent))
    query = "SELECT status, count(*) FROM items WHERE batch_id = %s GROUP BY 1 ORDER BY 1"
    real = await rows_of(db, query, played.batch_id)
    assert sorted((status, round(n)) for status, n in told.ended.items()) == real
    assert told.starts_at is not None
    lasts = (told.ends_at.expected - told.starts_at).total_seconds()
    assert (end - began).total_seconds() >= 0.9 * lasts, (lasts, end - began)
    assert 0.9 * lasts <= least_seconds <= lasts, (least_seconds, lasts)
    assert told.limited_by == limited_by
    assert told.ends_at.low <= told.ends_at.expected <= told.ends_at.high


async def test_rehearsals_are_within_ten_percent_of_the_runs(db: Database, team: Team) -> None:
    carrier = await make_team(db)
    rows = [shipment_row(n, zip=f"{1000 + n % 8000}") for n in range(85)]
    table = "\n".join([SHIPMENT_HEADER, *rows, shipment_row(999, country="XX")]).encode()
    await hold_by_rate(db, team=team, rate=32)
    of_calls = await prepare(db, calls(200), team=team, options=CALLS, retry_policy=RETRIES)
    await hold_by_rate(db, team=carrier, rate=12)
    of_shipments = await prepare(db, table, team=carrier, options=SHIPMENTS)
    told = of_calls.told
    assert (told.basis, told.provider, told.sampled, told.items) == ("exact", "sandbox", 201, 201)
    assert (told.upload.rows, told.upload.refused) == (203, 2)
    assert dict(told.upload.codes)["duplicate_in_file"] == 1
    assert told.retries == told.attempts.expected - 201
    async with working(db, QUICK):
        for played, kind, owner in (
            (of_calls, Kind.CALL, team),
            (of_shipments, Kind.SHIPMENT, carrier),
        ):
            await dispatch_batch(db, team=owner, kind=kind, batch_id=played.batch_id)
        await ended(db, of_calls.batch_id, of_shipments.batch_id)
    for played, rate, cost in ((of_calls, 32, "cost_minor"), (of_shipments, 12, "price_minor")):
        least = await seconds_at_the_rate(db, played, rate=rate)
        await compare(db, played, cost=cost, limited_by="team_rate", least_seconds=least)


async def test_rehearsal_under_a_cap_is_within_ten_percent_of_the_run(
    db: Database, team: Team
) -> None:
    # Nobody answers, or a machine does: calls whose lengths differ little, so that ten turns of
    # ten are far from ten percent, and last seconds, so that what is between them is little.
    numbers = [f"+4520{n:04d}{'03' if n % 5 == 0 else '02'}" for n in range(CAP * 10)]
    await set_limit(db, scope=f"team:{team.slug}", concurrency=CAP, rates=[])
    played = await prepare(
        db, "\n".join(["phone", *numbers]).encode(), team=team, options=CALLS, config=CONFIG
    )
    async with working(db, CONFIG):
        await dispatch_batch(db, team=team, kind=Kind.CALL, batch_id=played.batch_id)
        await ended(db, played.batch_id)
    assert played.told.ended == {"completed": 20, "no-answer": 80}
    least = await seconds_under_the_cap(db, played, CONFIG)
    await compare(db, played, cost="cost_minor", limited_by="team_cap", least_seconds=least)

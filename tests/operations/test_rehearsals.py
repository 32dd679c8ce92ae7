"""A rehearsal says what would become of a file, and leaves nothing behind."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from batchyard.config import Config
from batchyard.errors import Conflict, InvalidRequest, NotFound
from batchyard.intake.choices import Duplicates, RowPolicy
from batchyard.intake.options import IntakeOptions
from batchyard.models import Kind, RetryPolicy, Team
from batchyard.operations import rehearsals, sampling
from batchyard.operations.batches import dispatch_batch
from batchyard.operations.limits import set_limit
from batchyard.operations.outlooks import Assumptions
from batchyard.operations.plays import Rehearsal
from batchyard.operations.rehearsals import rehearse_batch, rehearse_file
from batchyard.operations.scenes import RehearsalSettings
from batchyard.store.db import Database
from tests.factories import make_agent, make_team
from tests.operations.lists import CALLS, rows_of, upload

CONFIG = Config(sandbox_speed=25, stop_seconds=2)
QUICK = Config(sandbox_speed=1000, stop_seconds=2)
RETRIES = RetryPolicy(statuses=("busy", "no-answer"), max_retries=1, intervals_minutes=(0.02,))

NOBODY_ELSE = (
    "batches",
    "items",
    "item_data",
    "rejected_rows",
    "row_warnings",
    "uploads",
    "staged_mends",
    "agents",
    "mappings",
    "wakes",
    "limits",
)


@pytest.fixture
async def team(db: Database) -> Team:
    return await make_team(db)


def calls(count: int, *, first: int = 0) -> bytes:
    """Return calls whose numbers have no fate of their own, and some faulty rows."""
    numbers = [n for n in range(first, first + 3 * count) if n % 100 > 10][:count]
    rows = [f"+4520{n:06d},N{n}" for n in numbers]
    return "\n".join(["phone,name", *rows, "12,x", "none,y", f"{rows[0]}", ""]).encode()


async def rehearse(
    db: Database,
    content: bytes,
    *,
    team: Team,
    options: IntakeOptions = CALLS,
    config: Config = CONFIG,
    **given: object,
) -> Rehearsal:
    settings = RehearsalSettings(**given)  # type: ignore[arg-type]  # of the test
    async with rehearse_file(
        db, team=team, options=options, settings=settings, config=config
    ) as reading:
        await reading.feed(content)
        await reading.finish_file()
        return await reading.play()


async def counts(db: Database, tables: Sequence[str]) -> list[object]:
    return [(await rows_of(db, f"SELECT count(*) FROM {table}"))[0][0] for table in tables]


def is_close(expected: float, real: float, *, share: float = 0.1) -> bool:
    return abs(expected - real) <= share * max(expected, real)


async def test_busiest_hour_is_that_of_the_retries(db: Database, team: Team) -> None:
    busy = [f"+4520{n:04d}01" for n in range(4)]
    half_past_ten = (db.clock() + timedelta(days=1)).replace(
        hour=10, minute=30, second=0, microsecond=0
    )
    told = await rehearse(
        db,
        "\n".join(["phone", *busy, "+4520000003"]).encode(),
        team=team,
        config=QUICK,
        retry_policy=RetryPolicy(statuses=("busy",), max_retries=2, intervals_minutes=(45, 10)),
        start_at=half_past_ten,
    )
    # Five calls at 10:30, then the four that were busy at 11:15 and at 11:25.
    assert told.attempts.expected == 13
    assert told.busiest_hour == half_past_ten.replace(hour=11, minute=0)
    assert told.busiest_hour_attempts == 8


async def test_large_file_is_sampled_and_says_nearly_the_same(
    db: Database, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = calls(3000)
    await set_limit(db, scope=f"team:{team.slug}", concurrency=20, rates=[])
    at = db.clock() + timedelta(hours=1)
    whole = await rehearse(db, content, team=team, retry_policy=RETRIES, start_at=at)
    monkeypatch.setattr(sampling, "SAMPLE_ROWS", 500)
    part = await rehearse(db, content, team=team, retry_policy=RETRIES, start_at=at)
    assert (part.items, part.sampled) == (3001, 500)
    assert is_close(part.attempts.expected, whole.attempts.expected)
    assert is_close(
        (part.ends_at.expected - whole.ends_at.expected).total_seconds() + 1000, 1000, share=0.1
    )
    assert part.ends_at.low < whole.ends_at.expected < part.ends_at.high
    assert part.costs["USD"].low < whole.costs["USD"].expected < part.costs["USD"].high


async def test_wide_rows_make_a_smaller_sample(
    db: Database, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "SAMPLE_BYTES", 20_000)
    told = await rehearse(db, calls(5000), team=team)
    assert told.sampled < 5000
    assert told.items == 5001


async def test_calls_wait_for_their_window(db: Database, team: Team) -> None:
    agent_id = await make_agent(db, team=team)
    async with db.transaction() as conn:
        await conn.execute(
            "UPDATE agents SET config = %s",
            ('{"calling_guardrails": {"call_start_hour": 9, "call_end_hour": 10}}',),
        )
    late = (db.clock() + timedelta(days=1)).replace(hour=20, minute=0)
    told = await rehearse(
        db,
        calls(20, first=123_000),
        team=team,
        agent_id=agent_id,
        start_at=late,
    )
    assert told.limited_by == "window"
    assert told.starts_at is not None
    assert told.starts_at - late > timedelta(hours=10)
    bypassed = await rehearse(
        db,
        calls(20, first=123_000),
        team=team,
        agent_id=agent_id,
        start_at=late,
        bypass_windows=True,
    )
    assert bypassed.starts_at == late
    with pytest.raises(NotFound):
        await rehearse(db, calls(2, first=123_020), team=await make_team(db), agent_id=agent_id)


async def test_provider_that_was_never_used_is_assumed_and_then_observed(
    db: Database, team: Team
) -> None:
    async with db.transaction() as conn:
        await conn.execute(
            "INSERT INTO providers (name, kind, settings, created_at)"
            " VALUES ('voice', 'http',"
            ' \'{"url": "https://voice.example.com", "concurrency": 10}\', now())'
        )
        await conn.execute(
            "INSERT INTO routes (team_id, kind, provider_id)"
            " SELECT %s, 'call', id FROM providers WHERE name = 'voice'",
            (team.id,),
        )
    assumed = Assumptions(duration_seconds=100, failure_rate=0, price_minor=7, currency="EUR")
    told = await rehearse(db, calls(200), team=team, assumptions=assumed)
    assert (told.basis, told.provider, told.limited_by) == ("assumed", "voice", "provider_cap")
    assert is_close(told.costs["EUR"].expected, 201 * 7)
    assert is_close(
        (told.ends_at.expected - (told.starts_at or told.ends_at.low)).total_seconds(),
        201 * 100 / 10,
        share=0.15,
    )
    await upload(db, calls(40), team=team)
    async with db.transaction() as conn:
        await conn.execute(
            "UPDATE item_data SET provider = 'voice', ended_at = now(),"
            ' result = \'{"cost_minor": 3, "currency": "EUR"}\','
            " attempts = jsonb_build_array(jsonb_build_object('attempt', 1, 'status', 'completed',"
            " 'sent_at', now() - interval '50 seconds', 'ended_at', now()))"
        )
        await conn.execute("UPDATE batches SET started_at = now()")
    told = await rehearse(db, calls(200), team=team, options=replace(CALLS, recent=Duplicates.KEEP))
    assert told.basis == "observed"
    assert is_close(told.costs["EUR"].expected, 201 * 3)
    assert is_close(
        (told.ends_at.expected - (told.starts_at or told.ends_at.low)).total_seconds(),
        201 * 50 / 10,
    )
    assert dict(told.upload.codes)["duplicate_recent"] > 30


@pytest.mark.parametrize("policy", Duplicates)
async def test_duplicates_are_found_without_storing_anything(
    db: Database, team: Team, policy: Duplicates
) -> None:
    options = replace(CALLS, duplicates=policy)
    told = await rehearse(db, calls(20), team=team, options=options)
    kept = (await upload(db, calls(20), team=team, options=options)).report()
    assert (told.upload.accepted, told.upload.refused, told.upload.skipped) == (
        kept.accepted,
        kept.refused,
        kept.skipped,
    )
    assert {code: n for code, n in kept.codes.items() if code != "column_guessed"} == dict(
        told.upload.codes
    )


async def test_file_that_is_no_list_is_refused_as_in_an_upload(db: Database, team: Team) -> None:
    with pytest.raises(InvalidRequest):
        await rehearse(db, b"name\nx\n", team=team)


async def rehearse_stored(
    db: Database, batch_id: UUID, *, team: Team, **given: object
) -> Rehearsal:
    settings = RehearsalSettings(**given)  # type: ignore[arg-type]  # of the test
    return await rehearse_batch(db, team=team, batch_id=batch_id, settings=settings, config=CONFIG)


async def test_batch_is_rehearsed_like_the_file_it_came_from(db: Database, team: Team) -> None:
    # Stored items are played in another order, by which the last call begins earlier or later: of
    # so many calls that is less than ten percent, whatever the order.
    content, start_at = calls(600), db.clock() + timedelta(hours=1)
    await set_limit(db, scope=f"team:{team.slug}", concurrency=20, rates=[])
    of_file = await rehearse(db, content, team=team, retry_policy=RETRIES, start_at=start_at)
    batch_id = (await upload(db, content, team=team, retry_policy=RETRIES)).batch_id
    before = await counts(db, NOBODY_ELSE)
    of_batch = await rehearse_stored(db, batch_id, team=team, start_at=start_at)
    assert await counts(db, NOBODY_ELSE) == before
    assert (of_batch.items, of_batch.sampled) == (601, 601)
    assert dict(of_batch.ended) == dict(of_file.ended)
    assert (of_batch.attempts.expected, of_batch.limited_by) == (
        of_file.attempts.expected,
        "team_cap",
    )
    assert (of_batch.upload.rows, of_batch.upload.refused) == (603, 2)
    assert of_batch.upload.codes["phone_no_plus"] == of_file.upload.codes["phone_no_plus"]
    assert is_close(
        (of_batch.ends_at.expected - start_at).total_seconds(),
        (of_file.ends_at.expected - start_at).total_seconds(),
    )
    await set_limit(db, scope=f"batch:{batch_id}", concurrency=2, rates=[])
    slower = await rehearse_stored(db, batch_id, team=team, start_at=start_at)
    assert slower.limited_by == "batch_cap"
    assert slower.ends_at.expected > of_batch.ends_at.high


async def test_sample_of_a_batch_is_fair_and_the_same_each_time(
    db: Database, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearsals, "SAMPLE_ROWS", 300)
    monkeypatch.setattr(rehearsals, "READ_AT_ONCE", 100)
    batch_id = (await upload(db, calls(2000), team=team)).batch_id
    start_at = db.clock() + timedelta(hours=1)
    first = await rehearse_stored(db, batch_id, team=team, start_at=start_at)
    assert (first.items, first.sampled) == (2001, 300)
    assert is_close(first.ended["completed"], 2001 * 0.76, share=0.15)
    assert await rehearse_stored(db, batch_id, team=team, start_at=start_at) == first
    monkeypatch.setattr(rehearsals, "SAMPLE_BYTES", 1000)
    assert (await rehearse_stored(db, batch_id, team=team)).sampled == 100


async def test_batch_that_was_started_or_is_anothers_is_not_rehearsed(
    db: Database, team: Team
) -> None:
    batch_id = (await upload(db, calls(2, first=20), team=team)).batch_id
    with pytest.raises(NotFound):
        await rehearse_stored(db, batch_id, team=await make_team(db))
    await dispatch_batch(db, team=team, kind=Kind.CALL, batch_id=batch_id)
    with pytest.raises(Conflict):
        await rehearse_stored(db, batch_id, team=team)


async def test_list_of_bad_rows_only_is_played_as_nothing(db: Database, team: Team) -> None:
    told = await rehearse(db, b"phone\n12\n13\n", team=team, retry_policy=RETRIES)
    assert (told.upload.refused, told.items, told.attempts.expected) == (2, 0, 0)
    assert (told.starts_at, told.limited_by, dict(told.ended)) == (None, None, {})


async def test_all_or_nothing_is_a_remark(db: Database, team: Team) -> None:
    options = replace(CALLS, policy=RowPolicy.ALL_OR_NOTHING)
    told = await rehearse(db, b"phone\n12\n+4520123456\n", team=team, options=options)
    assert (told.items, told.upload.refused) == (1, 1)
    assert told.remarks[-1].startswith("Of all or nothing nothing would be taken: 1 rows")


async def test_very_same_file_is_told(db: Database, team: Team) -> None:
    batch_id = (await upload(db, calls(3, first=20), team=team)).batch_id
    assert (await rehearse(db, calls(3, first=20), team=team)).upload.duplicate_of == batch_id

"""How long things are kept: what ends later, or comes later, goes too; counts stay."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from batchyard.config import Config
from batchyard.engine.inbox import open_inbox
from batchyard.errors import NotFound
from batchyard.models import BatchState, Ended, Kind, Phase, Team, key_of
from batchyard.operations import changes, outcomes, retention, webhooks
from batchyard.operations.audit import Actor
from batchyard.operations.outcomes import Verdict
from batchyard.operations.transactions import one_transaction
from batchyard.store import retention as stored
from batchyard.store.db import Database
from tests import factories

NAME = "Ingeborg Testesen"
GONE = {"expired": True}
WAITERS = """
SELECT count(*) FROM pg_stat_activity
 WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


async def run(db: Database, statement: str, *values: object) -> list[tuple[object, ...]]:
    async with db.transaction() as conn:
        cursor = await conn.execute(statement.encode(), values)
        return await cursor.fetchall() if cursor.description else []


async def expire(db: Database) -> None:
    await retention.expire(db)


async def age(db: Database, batch_id: UUID, *, state: str | None = None) -> None:
    """Let a batch have ended ten days ago."""
    ended = db.clock() - timedelta(days=10)
    await run(
        db,
        "UPDATE batches SET finished_at = %s, state = coalesce(%s, state) WHERE id = %s",
        ended,
        state,
        batch_id,
    )


async def add(
    db: Database, team: Team, batch_id: UUID, *, phase: Phase = Phase.DONE, status: str = "failed"
) -> UUID:
    [item_id] = await factories.make_items(
        db, team=team, batch_id=batch_id, payload={"name": NAME}, phase=phase, status=status
    )
    return item_id


async def payload(db: Database, item_id: UUID) -> object:
    [(found,)] = await run(db, "SELECT payload FROM item_data WHERE item_id = %s", item_id)
    return found


async def make_expiring(db: Database, state: BatchState) -> tuple[Team, UUID]:
    team = await factories.make_team(db)
    await retention.set_days(db, team=team, days={"items_days": 5})
    return team, await factories.make_batch(db, team=team, state=state)


async def make_endpoint(db: Database, team: Team) -> None:
    await run(
        db,
        "INSERT INTO webhook_endpoints (team_id, url, format, created_at)"
        " VALUES (%s, 'http://x', 'bolna', now())",
        team.id,
    )


async def log_delivery(
    db: Database, team: Team, batch_id: UUID, item_id: UUID | None, *, at: datetime
) -> None:
    """Write that something of an item, or of a batch, was told at a time."""
    await run(
        db,
        "INSERT INTO webhook_deliveries (endpoint_id, team_id, batch_id, item_id, number, type,"
        " data, state, due_at, expires_at, created_at, ended_at)"
        " SELECT id, %s, %s, %s, 1, 'item.booked', %s, 'delivered', %s, %s, %s, %s"
        " FROM webhook_endpoints",
        team.id,
        batch_id,
        item_id,
        Jsonb({"result": NAME}),
        *[at] * 4,
    )


async def test_what_ends_after_a_retry_expires_with_the_new_end(db: Database) -> None:
    team, batch_id = await make_expiring(db, BatchState.COMPLETED)
    first = await add(db, team, batch_id)
    await age(db, batch_id)
    await expire(db)
    assert await payload(db, first) == GONE
    second = await add(db, team, batch_id)
    retried = await changes.retry_failed(
        db, team=team, kind=Kind.SHIPMENT, batch_id=batch_id, item_ids=[second]
    )
    assert retried == 1
    await expire(db)
    assert await payload(db, second) == {"name": NAME}

    await run(db, "UPDATE items SET phase = 'done', status = 'booked' WHERE id = %s", second)
    await age(db, batch_id, state="completed")
    await expire(db)

    assert await payload(db, second) == GONE


async def test_unknown_item_expires_with_the_others_and_is_not_sent_again(db: Database) -> None:
    team, batch_id = await make_expiring(db, BatchState.STOPPED)
    ended = await add(db, team, batch_id)
    unknown = await add(db, team, batch_id, phase=Phase.UNKNOWN, status="unknown")
    await age(db, batch_id)
    await expire(db)
    assert await payload(db, ended) == GONE
    assert await payload(db, unknown) == GONE
    assert await run(db, "SELECT expired FROM batches") == [([],)]

    async def resolve(verdict: Verdict) -> int:
        return await outcomes.resolve_unknown(
            db, team=team, verdict=verdict, actor="test", item_ids=[unknown]
        )

    assert (await resolve(Verdict.RETRY), await resolve(Verdict.DONE)) == (0, 1)
    await expire(db)
    assert await run(db, "SELECT expired FROM batches") == [(["items"],)]


async def test_late_answer_of_an_expired_item_expires_too(db: Database) -> None:
    team, batch_id = await make_expiring(db, BatchState.COMPLETED)
    item_id = await add(db, team, batch_id, phase=Phase.UNKNOWN, status="unknown")
    await age(db, batch_id)
    await expire(db)
    late = Ended(
        status="failed",
        reference="ref-1",
        result={"note": NAME},
        error_code="refused",
        error_message=f"{NAME} has moved",
    )
    async with open_inbox(Config(), db) as inbox:
        assert await inbox.reports.deliver(key_of(item_id, 1), late, known=None)
    kept = "SELECT result, provider_reference, error_message, attempts::text FROM item_data"
    [(*told, history)] = await run(db, kept)
    assert told == [{"note": NAME}, "ref-1", f"{NAME} has moved"]
    assert NAME in str(history)

    await expire(db)

    [(*left, history)] = await run(db, kept)
    assert left == [None, None, None]
    assert NAME not in str(history)
    assert await payload(db, item_id) == GONE
    assert await run(db, "SELECT status, expired FROM items, batches") == [("failed", ["items"])]


async def test_batches_that_stay_open_keep_no_other_waiting(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCHES_AT_ONCE", 2)
    team, _ = await make_expiring(db, BatchState.OPEN)
    items = []
    for _ in range(5):
        batch_id = await factories.make_batch(db, team=team, state=BatchState.STOPPED)
        items.append(await add(db, team, batch_id))
        await add(db, team, batch_id, phase=Phase.UNKNOWN, status="unknown")
        await age(db, batch_id)

    await expire(db)

    assert [await payload(db, item_id) for item_id in items] == [GONE] * 5


async def test_transcripts_of_earlier_attempts_expire_too(db: Database) -> None:
    team = await factories.make_team(db)
    await retention.set_days(db, team=team, days={"transcripts_days": 5})
    batch_id = await factories.make_batch(db, team=team, state=BatchState.COMPLETED)
    item_id = await add(db, team, batch_id)
    earlier = {"transcript": NAME, "duration_seconds": 3}
    attempts = [{"attempt": 1, "result": earlier}, {"attempt": 2}]
    await run(db, "UPDATE item_data SET attempts = %s", Jsonb(attempts))
    await age(db, batch_id)

    await expire(db)

    kept = [{"attempt": 1, "result": {"duration_seconds": 3}}, {"attempt": 2}]
    assert await run(db, "SELECT item_id, attempts FROM item_data") == [(item_id, kept)]


async def test_documents_and_webhook_bodies_expire_and_young_ones_stay(db: Database) -> None:
    team = await factories.make_team(db)
    await retention.set_days(db, team=team, days={"documents_days": 5, "webhooks_days": 5})
    old, young = [
        await factories.make_batch(db, team=team, state=BatchState.COMPLETED) for _ in range(2)
    ]
    await make_endpoint(db, team)
    for batch_id, days in ((old, 10), (young, 0)):
        item_id = await add(db, team, batch_id, status="booked")
        at = db.clock() - timedelta(days=days)
        await run(db, "UPDATE batches SET finished_at = %s WHERE id = %s", at, batch_id)
        await run(
            db,
            "INSERT INTO documents (id, item_id, kind, format, content, created_at)"
            " VALUES (gen_random_uuid(), %s, 'label', 'pdf', 'x', %s)",
            item_id,
            at,
        )
        await log_delivery(db, team, batch_id, item_id, at=at)

    await expire(db)

    kept = "SELECT i.batch_id FROM documents d JOIN items i ON i.id = d.item_id"
    assert await run(db, kept) == [(young,)]
    assert await run(db, "SELECT batch_id FROM webhook_deliveries") == [(young,)]
    assert await run(db, "SELECT sum(n) FROM batch_counts WHERE batch_id = %s", old) == [(1,)]


@pytest.mark.parametrize(
    "state,phase,status",
    [
        (BatchState.PAUSED, Phase.READY, "waiting"),
        (BatchState.STOPPED, Phase.LIVE, "ringing"),
        (BatchState.COMPLETED, Phase.UNKNOWN, "unknown"),
    ],
)
async def test_log_of_webhooks_stays_while_more_may_be_told(
    db: Database, state: BatchState, phase: Phase, status: str
) -> None:
    team = await factories.make_team(db)
    await retention.set_days(db, team=team, days={"webhooks_days": 1})
    batch_id = await factories.make_batch(db, team=team, state=state)
    item_id = await add(db, team, batch_id, phase=phase, status=status)
    await make_endpoint(db, team)
    at = db.clock() - timedelta(days=40)
    await log_delivery(db, team, batch_id, item_id, at=at)

    await expire(db)
    await webhooks.forget_old(db)

    assert await run(db, "SELECT item_id FROM webhook_deliveries") == [(item_id,)]

    await run(db, "UPDATE items SET phase = 'done', status = 'booked'")
    await age(db, batch_id, state="completed")
    await webhooks.forget_old(db)

    assert await run(db, "SELECT item_id FROM webhook_deliveries") == []


@pytest.mark.parametrize("forget", [webhooks.forget_old, retention.expire])
async def test_log_of_ended_items_goes_while_their_batch_goes_on(
    db: Database, forget: Callable[[Database], Awaitable[None]]
) -> None:
    team = await factories.make_team(db)
    batch_id = await factories.make_batch(db, team=team, state=BatchState.PAUSED)
    ended = await add(db, team, batch_id, status="booked")
    waiting = await add(db, team, batch_id, phase=Phase.READY, status="waiting")
    await make_endpoint(db, team)
    for item_id in (ended, waiting, None):
        await log_delivery(db, team, batch_id, item_id, at=db.clock() - timedelta(days=40))

    await forget(db)

    told = "SELECT item_id, data FROM webhook_deliveries ORDER BY item_id NULLS LAST"
    assert await run(db, told) == [(waiting, {"result": NAME}), (None, {"result": NAME})]


async def test_team_whose_rows_cannot_be_taken_out_keeps_no_other_waiting(db: Database) -> None:
    slow, broken, sound = [await factories.make_team(db) for _ in range(3)]
    for team in (slow, broken, sound):
        await factories.make_batch(db, team=team)
    await run(db, "UPDATE events SET at = %s", db.clock() - timedelta(days=100))
    await run(
        db,
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF OLD.team_id = {slow.id} THEN RAISE query_canceled; END IF;"
        f" IF OLD.team_id = {broken.id} THEN RAISE data_exception; END IF;"
        " RETURN OLD; END $$",
    )
    await run(
        db,
        "CREATE TRIGGER refuse BEFORE DELETE ON events FOR EACH ROW EXECUTE FUNCTION refuse()",
    )

    await expire(db)

    left = await run(db, "SELECT team_id FROM events ORDER BY team_id")
    assert left == [(slow.id,), (broken.id,)]


@pytest.mark.parametrize("forget", [webhooks.forget_old, retention.expire])
async def test_what_was_told_of_an_unknown_outcome_goes_and_its_number_stays(
    db: Database, forget: Callable[[Database], Awaitable[None]]
) -> None:
    team = await factories.make_team(db)
    batch_id = await factories.make_batch(db, team=team, state=BatchState.COMPLETED)
    old, young = [
        await add(db, team, batch_id, phase=Phase.UNKNOWN, status="unknown") for _ in range(2)
    ]
    await make_endpoint(db, team)
    await run(db, "UPDATE webhook_endpoints SET is_of_team = true")
    for item_id, days in ((old, 40), (young, 20)):
        await log_delivery(db, team, batch_id, item_id, at=db.clock() - timedelta(days=days))

    await forget(db)

    told = "SELECT number, data FROM webhook_deliveries WHERE item_id = %s"
    assert await run(db, told, old) == [(1, {})]
    assert await run(db, told, young) == [(1, {"result": NAME})]
    await run(db, "UPDATE items SET phase = 'done', status = 'booked'")
    numbers = "SELECT number FROM webhook_deliveries WHERE item_id = %s ORDER BY number"
    assert await run(db, numbers, old) == [(1,), (2,)]


async def test_what_is_no_longer_kept_is_not_sent_again(db: Database) -> None:
    team = await factories.make_team(db)
    batch_id = await factories.make_batch(db, team=team, state=BatchState.COMPLETED)
    item_id = await add(db, team, batch_id, phase=Phase.UNKNOWN, status="unknown")
    await make_endpoint(db, team)
    await log_delivery(db, team, batch_id, item_id, at=db.clock() - timedelta(days=40))
    await run(db, "UPDATE webhook_deliveries SET state = 'failed'")
    await webhooks.forget_old(db)

    [entry] = await webhooks.list_deliveries(db, team=team)
    with pytest.raises(NotFound, match="kept no longer"):
        await webhooks.redeliver(db, team=team, delivery_id=entry.id)
    assert await webhooks.redeliver_failed(db, team=team) == 0


async def test_answers_kept_for_a_key_are_gone_after_a_day_or_the_days_of_their_team(
    db: Database,
) -> None:
    plain, keeping = [await factories.make_team(db) for _ in range(2)]
    await retention.set_days(db, team=keeping, days={"idempotency_days": 3})
    for team in (plain, keeping):
        for hours in (23, 25, 71, 73):
            await run(
                db,
                "INSERT INTO idempotency (team_id, key, fingerprint, status, body, created_at)"
                " VALUES (%s, %s, 'f', 200, %s, %s)",
                team.id,
                f"hours-{hours}",
                NAME.encode(),
                db.clock() - timedelta(hours=hours),
            )

    await expire(db)

    kept = "SELECT key FROM idempotency WHERE team_id = %s ORDER BY key"
    assert await run(db, kept, plain.id) == [("hours-23",)]
    assert await run(db, kept, keeping.id) == [("hours-23",), ("hours-25",), ("hours-71",)]


async def test_days_changed_at_the_same_time_are_all_kept(db: Database) -> None:
    team = await factories.make_team(db)
    change = partial(retention.change_days, team=team, actor=Actor(name="somebody"))
    async with asyncio.timeout(20):
        async with one_transaction(db) as work:
            async with work.transaction() as conn:
                await conn.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            await change(work, days={"items_days": 30})
            other = asyncio.create_task(change(db, days={"events_days": 7}))
            while await run(db, WAITERS) != [(1,)]:
                assert not other.done()
                await asyncio.sleep(0.01)
        told = await other

    assert told == {**retention.DEFAULT_DAYS, "items_days": 30, "events_days": 7}
    assert await retention.read_days(db, team=team) == told
    traces = "SELECT before, after FROM audit_log WHERE action = 'retention.set' ORDER BY id"
    assert await run(db, traces) == [
        ({"items_days": 365}, {"items_days": 30}),
        ({"events_days": 90}, {"events_days": 7}),
    ]


@pytest.mark.parametrize("what", ["items", "transcripts", "events"])
async def test_days_that_are_raised_while_much_is_taken_out_hold_for_the_rest(
    db: Database, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    team, batch_id = await make_expiring(db, BatchState.COMPLETED)
    await retention.set_days(db, team=team, days={f"{what}_days": 5})
    for _ in range(3):
        item_id = await add(db, team, batch_id)
        talk = Jsonb({"transcript": NAME})
        await run(db, "UPDATE item_data SET result = %s WHERE item_id = %s", talk, item_id)
    await age(db, batch_id)
    await run(db, "DELETE FROM events")
    for _ in range(3):
        await run(
            db,
            "INSERT INTO events (team_id, type, at) VALUES (%s, 'batch.completed', %s)",
            team.id,
            db.clock() - timedelta(days=10),
        )
    step = "forget" if what == "events" else "expire_some"
    take = getattr(stored, step)

    async def raise_then(*given: object, **named: object) -> int:
        taken = int(await take(*given, **named))
        if taken and what in (named.get("what"), getattr(given[1:] and given[1], "what", None)):
            await retention.set_days(db, team=team, days={f"{what}_days": 30})
        return taken

    monkeypatch.setattr(retention, "SLICE", 1)
    monkeypatch.setattr(stored, step, raise_then)
    await expire(db)
    left = {
        "items": "SELECT count(*) FROM item_data WHERE payload <> '{\"expired\": true}'",
        "transcripts": "SELECT count(*) FROM item_data WHERE result ? 'transcript'",
        "events": "SELECT count(*) FROM events",
    }
    assert await run(db, left[what]) == [(2,)]
    # Nor is the batch taken for one of which nothing is kept.
    assert await run(db, "SELECT expired FROM batches") == [([],)]

"""What an erasure finds in large batches, and does with items of unknown outcome."""

from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from batchyard.config import Config
from batchyard.engine.inbox import open_inbox
from batchyard.models import (
    Accepted,
    BatchState,
    Ended,
    JsonObject,
    Kind,
    Phase,
    Team,
    key_of,
)
from batchyard.operations import outcomes, privacy
from batchyard.operations.audit import Actor
from batchyard.operations.outcomes import Verdict
from batchyard.store import inquiries
from batchyard.store.db import Database
from tests.factories import make_batch, make_items, make_team
from tests.operations.lists import rows_of

NUMBER = "+4520000001"
ACTOR = Actor(name="test")


@pytest.fixture
async def team(db: Database) -> Team:
    return await make_team(db)


async def change(db: Database, statement: str, *values: object) -> None:
    async with db.transaction() as conn:
        await conn.execute(statement.encode(), values)


async def lose(db: Database, team: Team) -> UUID:
    """Make a call whose outcome is unknown, in an ended batch that would try it again."""
    batch_id = await make_batch(db, team=team, kind=Kind.CALL, state=BatchState.COMPLETED)
    policy = Jsonb({"statuses": ["busy"], "max_retries": 3})
    await change(db, "UPDATE batches SET retry_policy = %s WHERE id = %s", policy, batch_id)
    [item_id] = await make_items(
        db, team=team, batch_id=batch_id, number=NUMBER, phase=Phase.UNKNOWN, status="unknown"
    )
    await change(
        db,
        "INSERT INTO number_claims VALUES (1, %s, '', %s, 1, 1, now())",
        NUMBER,
        item_id,
    )
    return item_id


async def erase(db: Database, team: Team) -> privacy.Erasure:
    return await privacy.erase_person(db, team=team, actor=ACTOR, number=NUMBER, email=None)


async def test_unknown_item_is_erased_at_once_and_stays_unknown(db: Database, team: Team) -> None:
    await lose(db, team)

    done = await erase(db, team)

    assert (done.items, done.pending) == (1, 0)
    assert await rows_of(
        db,
        "SELECT phase, status, payload, number, ended_at FROM items JOIN item_data ON item_id = id",
    ) == [("unknown", "unknown", {"erased": True}, None, None)]
    assert await rows_of(db, "SELECT FROM number_claims") == []


async def test_erased_unknown_item_is_not_sent_again(db: Database, team: Team) -> None:
    item_id = await lose(db, team)
    async with db.pool.connection() as conn:
        before = await inquiries.read_contexts(conn, [item_id])
    await erase(db, team)
    async with db.pool.connection() as conn:
        after = await inquiries.read_contexts(conn, [item_id])

    # By these a late answer is judged.
    assert (bool(before[item_id].retry_policy), after[item_id].retry_policy) == (True, {})
    for verdict, decided in ((Verdict.RETRY, 0), (Verdict.FAILED, 1)):
        resolved = await outcomes.resolve_unknown(
            db, team=team, verdict=verdict, actor="test", item_ids=[item_id]
        )
        assert resolved == decided, verdict
    assert await rows_of(db, "SELECT phase, status FROM items") == [("done", "failed")]


@pytest.mark.parametrize("payload", [{"erased": True}, {"expired": True}])
async def test_item_that_turns_out_to_be_live_after_it_was_taken_out_is_not_sent_again(
    db: Database, team: Team, payload: JsonObject
) -> None:
    item_id = await lose(db, team)
    await change(db, "UPDATE items SET provider_id = 1")
    await change(db, "UPDATE item_data SET payload = %s", Jsonb(dict(payload)))
    async with open_inbox(Config(), db) as inbox:
        for news, phase in ((Accepted(status="ringing"), "live"), (Ended(status="busy"), "done")):
            # By this it is judged where the provider is asked.
            async with db.pool.connection() as conn:
                question = await inquiries.read(conn, item_id=item_id)
            assert question is not None
            assert question.retry_policy == {}
            assert await inbox.reports.deliver(key_of(item_id, 1), news, known=None)
            assert await rows_of(db, "SELECT phase, try FROM items") == [(phase, 1)]


async def test_item_that_becomes_unknown_after_the_erasure_is_erased_then(
    db: Database, team: Team
) -> None:
    batch_id = await make_batch(db, team=team, kind=Kind.CALL, state=BatchState.RUNNING)
    await make_items(
        db,
        team=team,
        batch_id=batch_id,
        payload={"name": "Ingeborg"},
        number=NUMBER,
        phase=Phase.CALLING,
        status="sending",
    )
    done = await erase(db, team)
    assert (done.items, done.pending) == (0, 1)

    await change(db, "UPDATE items SET phase = 'unknown', status = 'unknown'")
    await privacy.erase_pending(db)

    assert await rows_of(
        db, "SELECT phase, payload, number FROM items JOIN item_data ON item_id = id"
    ) == [("unknown", {"erased": True}, None)]
    # Its late answer is still to be erased.
    assert await rows_of(db, "SELECT count(*) FROM pending_erasures") == [(1,)]


async def test_late_answer_of_an_erased_item_is_erased_too(db: Database, team: Team) -> None:
    await lose(db, team)
    await erase(db, team)
    await change(db, "UPDATE items SET phase = 'live', status = 'in-progress'")
    await change(db, "UPDATE item_data SET result = %s", Jsonb({"transcript": "Hello Ingeborg"}))
    await privacy.erase_pending(db)
    assert await rows_of(db, "SELECT result IS NULL FROM item_data") == [(False,)]

    for phase, status, pending in (("unknown", "unknown", 1), ("done", "completed", 0)):
        await change(db, "UPDATE items SET phase = %s, status = %s", phase, status)
        await change(db, "UPDATE item_data SET result = %s", Jsonb({"transcript": "Ingeborg"}))
        await privacy.erase_pending(db)
        assert await rows_of(db, "SELECT result FROM item_data") == [(None,)], phase
        assert await rows_of(db, "SELECT count(*) FROM pending_erasures") == [(pending,)], phase


async def test_person_is_erased_from_every_slice_of_a_large_batch(
    db: Database, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(privacy, "SEARCHED_ITEMS", 2)
    monkeypatch.setattr(privacy, "SLICE", 1)
    batch_id = await make_batch(db, team=team, kind=Kind.CALL, state=BatchState.COMPLETED)
    for number in (None, NUMBER, NUMBER, None, NUMBER, NUMBER, None):
        await make_items(
            db, team=team, batch_id=batch_id, number=number, phase=Phase.DONE, status="completed"
        )
    # Two of a line, as after a mend: the id tells them apart where a slice ends.
    await change(db, "UPDATE item_data SET position = 2 WHERE position = 3")

    done = await erase(db, team)

    assert done.items == 4
    assert await rows_of(db, "SELECT FROM item_data WHERE number IS NOT NULL") == []

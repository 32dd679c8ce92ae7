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
    monkeypatch.setattr(privacy, "SEARCHED", 2)
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


async def tell(db: Database, team: Team, item_id: UUID, text: str) -> None:
    """Write what is written about an item that is sent: what was told of it, and its attempt."""
    await change(
        db,
        "INSERT INTO webhook_endpoints (team_id, url, format, is_of_team, created_at)"
        " SELECT %s, 'http://x', 'batchyard', true, now()"
        " WHERE NOT EXISTS (SELECT FROM webhook_endpoints)",
        team.id,
    )
    await change(
        db,
        "INSERT INTO webhook_deliveries (endpoint_id, team_id, batch_id, item_id, number, type,"
        " data, due_at, expires_at, created_at)"
        " SELECT e.id, i.team_id, i.batch_id, i.id, 1, 'x', %s, now(), now(), now()"
        " FROM webhook_endpoints e, items i WHERE i.id = %s",
        Jsonb({"text": text}),
        item_id,
    )
    await change(
        db,
        "INSERT INTO contact_attempts (team_id, number, item_id, try, sent_at)"
        " SELECT %s, number, item_id, 1, now() FROM item_data WHERE item_id = %s",
        team.id,
        item_id,
    )


TOLD = "SELECT data, state FROM webhook_deliveries"


async def test_what_names_several_items_is_counted_once(
    db: Database, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(privacy, "SLICE", 1)
    batch_id = await make_batch(db, team=team, kind=Kind.CALL, state=BatchState.COMPLETED)
    items = await make_items(
        db, team=team, batch_id=batch_id, n=3, number=NUMBER, phase=Phase.DONE, status="completed"
    )
    for item_id in items:
        await tell(db, team, item_id, f"{NUMBER} {' '.join(map(str, items))}")
    await change(
        db,
        "INSERT INTO row_warnings (batch_id, line, code, reason)"
        " SELECT batch_id, position, 'x', number FROM item_data",
    )
    # An attempt on the number that an item had before.
    await change(
        db, "UPDATE contact_attempts SET number = '+4599999999' WHERE item_id = %s", items[0]
    )

    done = await erase(db, team)

    told = {kind: n for kind, n in done.others.items() if n}
    assert told == {"warnings": 3, "webhook_deliveries": 3, "contact_attempts": 3}
    assert await rows_of(db, TOLD) == [({}, "dropped")] * 3


async def test_what_is_written_about_an_item_in_flight_is_erased_with_it(
    db: Database, team: Team
) -> None:
    batch_id = await make_batch(db, team=team, kind=Kind.CALL, state=BatchState.RUNNING)
    await make_items(db, team=team, batch_id=batch_id, number="+4599999999")
    [item_id] = await make_items(
        db, team=team, batch_id=batch_id, number=NUMBER, phase=Phase.LIVE, status="ringing"
    )
    await erase(db, team)
    for one in await rows_of(db, "SELECT id FROM items ORDER BY id"):
        assert isinstance(one[0], UUID)
        await tell(db, team, one[0], "Hello")

    await change(db, "UPDATE items SET phase = 'done', status = 'completed' WHERE id = %s", item_id)
    await privacy.erase_pending(db)

    [other] = await rows_of(db, "SELECT item_id FROM contact_attempts")
    assert other != (item_id,)
    of_item = await rows_of(db, f"{TOLD} WHERE item_id = '{item_id}'")
    assert set(map(str, of_item)) == {str(({}, "dropped"))}
    assert await rows_of(db, f"{TOLD} WHERE item_id <> '{item_id}'") == [
        ({"text": "Hello"}, "pending")
    ]


async def test_codes_that_name_a_person_are_erased_and_others_stay(
    db: Database, team: Team
) -> None:
    batch_id = await make_batch(db, team=team, kind=Kind.CALL, state=BatchState.COMPLETED)
    codes = (f"unreachable_{NUMBER[1:]}", "ingeborg@example.com", "sip_486", None)
    for code in codes:
        [item_id] = await make_items(
            db, team=team, batch_id=batch_id, number=NUMBER, phase=Phase.DONE, status="failed"
        )
        await change(
            db,
            "UPDATE item_data SET error_code = %s, attempts = %s WHERE item_id = %s",
            code,
            Jsonb([{"attempt": 1, "error_code": code}, {"attempt": 2, "error_code": "busy"}]),
            item_id,
        )
    await erase(db, team)
    kept = "SELECT error_code, attempts FROM item_data ORDER BY position"
    assert await rows_of(db, kept) == [
        (code, [{"attempt": 1, "error_code": code}, {"attempt": 2, "error_code": "busy"}])
        for code in ("erased", "erased", "sip_486", None)
    ]


async def test_item_whose_code_alone_names_the_person_is_found(db: Database, team: Team) -> None:
    batch_id = await make_batch(db, team=team, kind=Kind.CALL, state=BatchState.COMPLETED)
    await make_items(db, team=team, batch_id=batch_id, phase=Phase.DONE, status="failed")
    await change(db, "UPDATE item_data SET error_code = %s", f"unreachable_{NUMBER[1:]}")
    assert (await erase(db, team)).items == 1
    assert await rows_of(db, "SELECT error_code FROM item_data") == [("erased",)]


async def test_failures_whose_reasons_name_the_person_are_counted_on(
    db: Database, team: Team
) -> None:
    at = db.clock()
    for reason, n in ((f"no route to {NUMBER}", 2), (f"{NUMBER[1:]} busy", 3), ("busy", 4)):
        await change(
            db, "INSERT INTO failure_tallies VALUES (%s, %s, %s, %s)", team.id, at, reason, n
        )
    done = await erase(db, team)
    assert done.others["failure_reasons"] == 2
    assert await rows_of(db, "SELECT reason, n FROM failure_tallies ORDER BY reason") == [
        ("busy", 4),
        ("erased", 5),
    ]
    # What comes under the same reason at the same time is counted with it.
    await change(
        db, "INSERT INTO failure_tallies VALUES (%s, %s, %s, 1)", team.id, at, f"to {NUMBER}"
    )
    await erase(db, team)
    assert await rows_of(db, "SELECT n FROM failure_tallies WHERE reason = 'erased'") == [(6,)]

"""What happens to a person between two steps of their erasure."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from batchyard.config import Config
from batchyard.engine.inbox import open_inbox
from batchyard.errors import Conflict
from batchyard.models import BatchState, Ended, Kind, Phase, Team, key_of
from batchyard.operations import changes, corrections, outcomes, privacy
from batchyard.operations.audit import Actor
from batchyard.operations.outcomes import Verdict
from batchyard.store import privacy as stored
from batchyard.store import workers
from batchyard.store.corrections import Correction
from batchyard.store.db import Connection, Database
from batchyard.store.stretches import Stretch
from tests.factories import make_batch, make_items, make_team
from tests.operations.lists import rows_of

NUMBER = "+4520000001"
ACTOR = Actor(name="test")
ERASED = {"erased": True}


@pytest.fixture
async def team(db: Database) -> Team:
    return await make_team(db)


async def change(db: Database, statement: str, *values: object) -> None:
    async with db.transaction() as conn:
        await conn.execute(statement.encode(), values)


async def erase(db: Database, team: Team) -> privacy.Erasure:
    return await privacy.erase_person(db, team=team, actor=ACTOR, number=NUMBER, email=None)


def between_the_steps(
    monkeypatch: pytest.MonkeyPatch, happen: Callable[[], Awaitable[None]]
) -> None:
    """Let something happen once, when the items are found and the rest is looked for."""
    erase_some = stored.erase
    has_happened = False

    async def meanwhile(
        conn: Connection,
        person: stored.Person,
        stretch: Stretch,
        *,
        item_ids: Sequence[UUID],
        now: datetime,
    ) -> int:
        nonlocal has_happened
        if item_ids and not has_happened:
            has_happened = True
            await conn.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            await happen()
        return await erase_some(conn, person, stretch, item_ids=item_ids, now=now)

    monkeypatch.setattr(stored, "erase", meanwhile)


async def make_item(db: Database, team: Team, *, phase: Phase, status: str) -> tuple[UUID, UUID]:
    """Make a call of the person, in a running batch that tries busy ones again."""
    batch_id = await make_batch(db, team=team, kind=Kind.CALL, state=BatchState.RUNNING)
    policy = Jsonb({"statuses": ["busy"], "max_retries": 3})
    await change(db, "UPDATE batches SET retry_policy = %s WHERE id = %s", policy, batch_id)
    [item_id] = await make_items(
        db, team=team, batch_id=batch_id, number=NUMBER, phase=phase, status=status
    )
    return batch_id, item_id


STANDS = "SELECT phase, status, try FROM items"


async def test_call_that_ends_busy_while_its_person_is_erased_is_not_tried_again(
    db: Database, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, item_id = await make_item(db, team, phase=Phase.LIVE, status="ringing")
    await change(db, "UPDATE items SET provider_id = 1")
    async with open_inbox(Config(), db) as inbox:

        async def end() -> None:
            busy = Ended(status="busy")
            assert await inbox.reports.deliver(key_of(item_id, 1), busy, known=None)
            assert await rows_of(db, STANDS) == [("done", "busy", 1)]

        between_the_steps(monkeypatch, end)
        done = await erase(db, team)

    assert (done.items, done.pending) == (1, 0)
    assert await rows_of(db, STANDS) == [("done", "busy", 1)]
    assert await rows_of(db, "SELECT payload, ended_at IS NULL FROM item_data") == [(ERASED, False)]
    assert await rows_of(db, "SELECT FROM pending_erasures") == []


async def test_call_that_ends_busy_after_the_erasure_is_not_tried_again(
    db: Database, team: Team
) -> None:
    _, item_id = await make_item(db, team, phase=Phase.LIVE, status="ringing")
    await change(db, "UPDATE items SET provider_id = 1")
    done = await erase(db, team)
    assert (done.items, done.pending) == (0, 1)
    async with open_inbox(Config(), db) as inbox:
        busy = Ended(status="busy")
        assert await inbox.reports.deliver(key_of(item_id, 1), busy, known=None)
    assert await rows_of(db, STANDS) == [("done", "busy", 1)]
    await privacy.erase_pending(db)
    assert await rows_of(db, "SELECT payload FROM item_data") == [(ERASED,)]


async def test_failed_call_is_not_brought_back_while_its_person_is_erased(
    db: Database, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id, item_id = await make_item(db, team, phase=Phase.DONE, status="failed")
    _, lost = await make_item(db, team, phase=Phase.UNKNOWN, status="unknown")
    correction = Correction(
        item_id=item_id, payload={}, number=NUMBER, reference=None, zone_set=None
    )

    async def bring_back() -> None:
        again = await changes.retry_failed(db, team=team, kind=Kind.CALL, batch_id=batch_id)
        assert again == 0
        with pytest.raises(Conflict):
            await changes.retry_item(db, team=team, item_id=item_id)
        with pytest.raises(Conflict):
            await corrections.correct_item(db, correction, team=team)
        resolved = await outcomes.resolve_unknown(
            db, team=team, verdict=Verdict.RETRY, actor="test", item_ids=[lost]
        )
        assert resolved == 0
        # Nobody comes before the erasure: by what these hold it finds the rest.
        await privacy.erase_pending(db)
        assert await rows_of(db, f"{STANDS} ORDER BY phase") == [
            ("done", "failed", 1),
            ("unknown", "unknown", 1),
        ]
        assert await rows_of(db, "SELECT DISTINCT number FROM item_data") == [(NUMBER,)]

    between_the_steps(monkeypatch, bring_back)
    done = await erase(db, team)

    assert (done.items, done.pending) == (2, 0)
    assert await rows_of(db, "SELECT DISTINCT payload FROM item_data") == [(ERASED,)]
    # A late answer of the one whose outcome is unknown is still to be erased.
    assert await rows_of(db, "SELECT item_id, requested_at < 'infinity' FROM pending_erasures") == [
        (lost, True)
    ]


async def test_claim_that_is_taken_back_while_its_person_is_erased_is_cancelled(
    db: Database, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_item(db, team, phase=Phase.CLAIMED, status="waiting")
    looks: list[object] = []

    async def take_back() -> None:
        # Of a worker that was lost.
        await change(db, "UPDATE items SET phase = 'ready', worker_id = NULL")

    between_the_steps(monkeypatch, take_back)
    note_items = stored.note_items

    async def look(conn: Connection, ids: Sequence[UUID], *, now: datetime) -> Sequence[UUID]:
        out = await note_items(conn, ids, now=now)
        looks.extend(await (await conn.execute("SELECT phase FROM items")).fetchall())
        return out

    monkeypatch.setattr(stored, "note_items", look)
    done = await erase(db, team)
    assert (done.items, done.pending) == (1, 0)
    assert looks[-1] == ("done",)
    assert await rows_of(db, STANDS) == [("done", "canceled", 1)]


async def test_claim_of_a_lost_worker_is_nothing_to_send_once_its_person_is_noted(
    db: Database, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_item(db, team, phase=Phase.CLAIMED, status="waiting")
    async with db.transaction() as conn:
        lost = await workers.register(conn, host="here", pid=1, now=db.clock())
        await workers.end(conn, worker_id=lost, now=db.clock())
    await change(db, "UPDATE items SET worker_id = %s", lost)
    stands: list[object] = []

    async def take_back() -> None:
        async with db.transaction() as conn:
            assert await workers.take_back(conn, now=db.clock()) == [team.id]
        stands.extend(await rows_of(db, STANDS))

    between_the_steps(monkeypatch, take_back)
    await erase(db, team)
    assert stands == [("done", "canceled", 1)]


async def test_batch_that_ends_while_its_person_is_erased_tells_no_name_of_theirs(
    db: Database, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id, _ = await make_item(db, team, phase=Phase.DONE, status="completed")
    await change(db, "UPDATE batches SET file_name = %s", f"{NUMBER}.csv")
    await change(
        db,
        "INSERT INTO uploads (id, team_id, batch_id, file_name, created_at, updated_at)"
        " VALUES (gen_random_uuid(), %s, %s, %s, now(), now())",
        team.id,
        batch_id,
        f"{NUMBER}.csv",
    )
    erase_some = stored.erase
    named: dict[str, object] = {}

    async def note(
        conn: Connection,
        person: stored.Person,
        stretch: Stretch,
        *,
        item_ids: Sequence[UUID],
        now: datetime,
    ) -> int:
        await conn.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        [found] = await rows_of(db, "SELECT b.file_name, u.file_name FROM batches b, uploads u")
        named.setdefault(stretch.source.name, found)
        return await erase_some(conn, person, stretch, item_ids=item_ids, now=now)

    monkeypatch.setattr(stored, "erase", note)
    await erase(db, team)
    assert named["batches"] == (f"{NUMBER}.csv", f"{NUMBER}.csv")
    for told in ("webhook_deliveries", "events", "idempotency_bodies"):
        assert named[told] == (None, None), told


async def test_number_that_reads_as_a_date_erases_nobody_of_that_day(
    db: Database, team: Team
) -> None:
    batch_id = await make_batch(db, team=team, kind=Kind.CALL, state=BatchState.COMPLETED)
    own, other = await make_items(
        db,
        team=team,
        batch_id=batch_id,
        n=2,
        number="+4520100001",
        phase=Phase.DONE,
        status="completed",
    )
    await change(
        db,
        "UPDATE item_data SET attempts = %s WHERE item_id = %s",
        Jsonb([{"attempt": 1, "status": "completed", "sent_at": "2026-07-24T10:00:00+00:00"}]),
        other,
    )
    await change(
        db,
        "UPDATE item_data SET payload = %s WHERE item_id = %s",
        Jsonb({"note": "call back at 20 26 07 24"}),
        own,
    )
    await change(
        db,
        "INSERT INTO idempotency (team_id, key, fingerprint, status, body, created_at)"
        " SELECT %s, key, 'f', 200, 'b', now()"
        " FROM unnest(ARRAY['import-20260724', 'call-4520260724']) AS k (key)",
        team.id,
    )
    done = await privacy.erase_person(db, team=team, actor=ACTOR, number="+4520260724", email=None)
    assert done.items == 1
    left = "SELECT item_id FROM item_data WHERE payload <> '{\"erased\": true}'"
    assert await rows_of(db, left) == [(other,)]
    assert await rows_of(db, "SELECT key FROM idempotency") == [("import-20260724",)]

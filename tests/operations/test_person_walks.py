"""A person in many stretches of every place, between others: found whole, and to the end."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from batchyard.models import BatchState, Kind, Phase, Team
from batchyard.operations import privacy
from batchyard.operations.audit import Actor
from batchyard.store import privacy as stored
from batchyard.store.db import Connection, Database
from batchyard.store.ids import new_id
from batchyard.store.person_sources import SOURCES, STAGED_ROWS
from batchyard.store.stretches import Stretch
from tests.factories import make_batch, make_items, make_team

NUMBER = "+4520000001"
OTHER = "+4599999999"
ACTOR = Actor(name="test")
N = 5
"""So many rows of the person are in every place, and of another."""

ROWS = {
    "refused_rows": "INSERT INTO rejected_rows (batch_id, line, code, reason, cells)"
    " VALUES (%(batch_id)s, %(line)s, 'x', 'wrong', %(texts)s)",
    "remarks": "INSERT INTO row_warnings (batch_id, line, code, reason)"
    " VALUES (%(batch_id)s, %(remarked)s, 'x', %(text)s)",
    "webhook_deliveries": "INSERT INTO webhook_deliveries (endpoint_id, team_id, batch_id, number,"
    " type, data, due_at, expires_at, created_at) SELECT id, %(team_id)s, %(batch_id)s, 1, 'x',"
    " %(texts)s, %(at)s, %(at)s, %(at)s FROM webhook_endpoints WHERE team_id = %(team_id)s",
    "idempotency_bodies": "INSERT INTO idempotency (team_id, key, fingerprint, status, body,"
    " created_at)"
    " VALUES (%(team_id)s, %(id)s::text, 'f', 200, convert_to(%(text)s, 'UTF8'), %(at)s)",
    "idempotency_keys": "INSERT INTO idempotency (team_id, key, fingerprint, status, body,"
    " created_at) VALUES (%(team_id)s, %(line)s || '-' || %(text)s, 'f', 200, '', %(at)s)",
    "failure_reasons": "INSERT INTO failure_tallies (team_id, at, reason, n)"
    " VALUES (%(team_id)s, %(at)s, 'no route to ' || %(text)s, 1)",
    "uploads": "INSERT INTO uploads (id, team_id, batch_id, file_name, created_at, updated_at)"
    " VALUES (%(id)s, %(team_id)s, %(batch_id)s, %(text)s, %(at)s, %(at)s)",
    "staged_rows": "INSERT INTO staged_mends (upload_id, line, is_refused, number)"
    " SELECT id, %(line)s, false, %(text)s FROM uploads WHERE batch_id = %(batch_id)s"
    " ORDER BY id LIMIT 1",
    "contact_attempts": "INSERT INTO contact_attempts (team_id, number, item_id, try, sent_at)"
    " VALUES (%(team_id)s, %(number)s, gen_random_uuid(), 1, %(at)s)",
    "events": "INSERT INTO events (team_id, batch_id, type, data, at)"
    " VALUES (%(team_id)s, %(batch_id)s, 'x', %(texts)s, %(at)s)",
    "batches": "INSERT INTO batches (id, team_id, kind, state, reference, created_at, updated_at)"
    " VALUES (%(id)s, %(team_id)s, 'shipment', 'open', %(text)s, %(at)s, %(at)s)",
    "audit_entries": "INSERT INTO audit_log (team_id, actor, action, after, at)"
    " VALUES (%(team_id)s, 'test', 'x', %(texts)s, %(at)s)",
    "do_not_contact_reasons": "INSERT INTO do_not_contact (team_id, number, reason, source,"
    " created_at) VALUES (%(team_id)s, '+1' || %(line)s, %(text)s, 'person', %(at)s)",
}
"""One row that holds a text."""

HELD = """
SELECT (SELECT count(*) FROM rejected_rows WHERE cells::text LIKE %(like)s)
     + (SELECT count(*) FROM row_warnings WHERE reason LIKE %(like)s)
     + (SELECT count(*) FROM webhook_deliveries WHERE data::text LIKE %(like)s)
     + (SELECT count(*) FROM idempotency WHERE convert_from(body, 'UTF8') LIKE %(like)s)
     + (SELECT count(*) FROM idempotency WHERE key LIKE %(like)s)
     + (SELECT count(*) FROM failure_tallies WHERE reason LIKE %(like)s)
     + (SELECT count(*) FROM uploads WHERE file_name LIKE %(like)s)
     + (SELECT count(*) FROM staged_mends WHERE number LIKE %(like)s)
     + (SELECT count(*) FROM contact_attempts WHERE number LIKE %(like)s)
     + (SELECT count(*) FROM events WHERE data::text LIKE %(like)s)
     + (SELECT count(*) FROM batches WHERE reference LIKE %(like)s)
     + (SELECT count(*) FROM audit_log WHERE after::text LIKE %(like)s)
     + (SELECT count(*) FROM do_not_contact WHERE reason LIKE %(like)s)
     + (SELECT count(*) FROM item_data WHERE number LIKE %(like)s)
"""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every statement look at two rows, and at two batches."""
    monkeypatch.setattr(privacy, "SEARCHED", 2)
    monkeypatch.setattr(privacy, "SLICE", 2)


async def run(
    db: Database, statement: str, values: Sequence[object] | Mapping[str, object] = ()
) -> Sequence[tuple[object, ...]]:
    async with db.transaction() as conn:
        cursor = await conn.execute(statement.encode(), values)
        return await cursor.fetchall() if cursor.description else []


async def held(db: Database, text: str) -> object:
    """Count the rows that hold a text."""
    [(n,)] = await run(db, HELD, {"like": f"%{text}%"})
    return n


async def add_row(
    db: Database, team: Team, kind: str, batch_id: UUID, line: int, *, text: str
) -> None:
    # Remarks come in pairs to a line, the last of them to none; deliveries in pairs to a moment.
    await run(
        db,
        ROWS[kind],
        {
            "id": new_id(),
            "team_id": team.id,
            "batch_id": batch_id,
            "line": line,
            "remarked": None if line >= 2 * N - 2 else 100 + line // 2,
            "at": db.clock() - timedelta(minutes=line // 2),
            "number": text if text in (NUMBER, OTHER) else OTHER,
            "text": text,
            "texts": Jsonb([text]),
        },
    )


async def fill(db: Database, team: Team) -> Sequence[UUID]:
    """Put the person into every place, in turn with another; return the person's items."""
    batch_id = await make_batch(db, team=team, kind=Kind.CALL, state=BatchState.PAUSED)
    await run(
        db,
        "INSERT INTO webhook_endpoints (team_id, url, format, created_at)"
        " VALUES (%s, 'http://x', 'bolna', now())",
        (team.id,),
    )
    items: list[UUID] = []
    for phase, status in ((Phase.DONE, "completed"), (Phase.READY, "waiting")):
        for number in (NUMBER, OTHER, NUMBER):
            added = await make_items(
                db, team=team, batch_id=batch_id, number=number, phase=phase, status=status
            )
            items += added if number == NUMBER else []
    for kind in ROWS:
        for line in range(2 * N):
            await add_row(db, team, kind, batch_id, line, text=(NUMBER, OTHER)[line % 2])
    return items


async def export(db: Database, team: Team) -> dict[str, int]:
    found: dict[str, list[str]] = {}
    pages = await privacy.export_person(db, team=team, actor=ACTOR, number=NUMBER, email=None)
    async for kind, rows in pages:
        found.setdefault(kind, []).extend(rows)
    assert OTHER not in str(found)
    return {kind: len(rows) for kind, rows in found.items()}


async def erase(db: Database, team: Team) -> privacy.Erasure:
    return await privacy.erase_person(db, team=team, actor=ACTOR, number=NUMBER, email=None)


FOUND = {
    **{source.name: 0 for source in SOURCES},
    **dict.fromkeys(ROWS, N),
    "warnings": N,
    "items": 4,
}
FOUND.pop("remarks")


async def test_person_in_many_stretches_of_each_place_is_found_and_erased_and_others_stay(
    db: Database,
) -> None:
    team, stranger = [await make_team(db) for _ in range(2)]
    for one in (team, stranger):
        await fill(db, one)
    of_one = len(ROWS) * N + 4
    assert await held(db, NUMBER) == 2 * of_one
    others = await held(db, OTHER)
    assert await export(db, team) == FOUND

    done = await erase(db, team)

    assert (done.items, done.pending, done.documents) == (4, 0, 0)
    gone = {kind: n for kind, n in FOUND.items() if kind not in ("items", "documents")}
    assert dict(done.others) == gone
    assert await held(db, NUMBER) == of_one
    assert await held(db, OTHER) == others
    assert not any((await export(db, team)).values())
    assert await export(db, stranger) == FOUND


class Broken(Exception):
    """Somebody pulled the plug."""


def break_after(db: Database, monkeypatch: pytest.MonkeyPatch, transactions: int) -> None:
    """Let only so many more transactions begin."""
    begin = db.transaction
    left = transactions

    @asynccontextmanager
    async def transaction() -> AsyncIterator[Connection]:
        nonlocal left
        left -= 1
        if left < 0:
            raise Broken
        async with begin() as conn:
            yield conn

    monkeypatch.setattr(db, "transaction", transaction)


def break_at_items(monkeypatch: pytest.MonkeyPatch, calls: int) -> None:
    """Let only so many more slices of items be erased."""
    erase_items = stored.erase_items
    left = calls

    async def erase_some(
        conn: Connection, ids: Sequence[UUID], *, now: datetime
    ) -> stored.ErasedItems:
        nonlocal left
        left -= 1
        if left < 0:
            raise Broken
        return await erase_items(conn, ids, now=now)

    monkeypatch.setattr(stored, "erase_items", erase_some)


async def test_erasure_that_is_broken_off_anywhere_is_done_by_the_next(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    team = await make_team(db)
    items = await fill(db, team)
    [(batch_id,)] = await run(db, "SELECT DISTINCT batch_id FROM item_data")
    assert isinstance(batch_id, UUID)
    # These name items, and nobody.
    for kind in ("idempotency_bodies", "events", "uploads", "audit_entries", "batches"):
        for line, item_id in enumerate(items, start=2 * N):
            await add_row(db, team, kind, batch_id, line, text=f"item {item_id}")
    others = await held(db, OTHER)

    for transactions in (1, 3, 30, 60, 90):
        with monkeypatch.context() as patched:
            break_after(db, patched, transactions)
            with pytest.raises(Broken):
                await erase(db, team)
    for slices in (0, 1):
        with monkeypatch.context() as patched:
            break_at_items(patched, slices)
            with pytest.raises(Broken):
                await erase(db, team)
    done = await erase(db, team)

    assert done.items == 2
    assert await held(db, NUMBER) == 0
    assert [await held(db, f"item {item_id}") for item_id in items] == [0] * 4
    assert await held(db, OTHER) == others
    counts = "SELECT status, n FROM batch_counts WHERE n <> 0 ORDER BY status"
    assert await run(db, counts) == [("canceled", 2), ("completed", 3), ("waiting", 1)]
    told = "SELECT count(*) FROM audit_log WHERE action = 'privacy.erase'"
    assert await run(db, told) == [(1,)]


async def test_nobody_is_called_between_two_steps_of_an_erasure(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    team = await make_team(db)
    await fill(db, team)
    await run(
        db,
        "INSERT INTO do_not_contact (team_id, number, source, created_at)"
        " VALUES (%s, %s, 'person', now())",
        (team.id, NUMBER),
    )
    waiting = f"""
        SELECT (SELECT count(*) FROM items JOIN item_data ON item_id = id
                 WHERE phase = 'ready' AND number = '{NUMBER}'),
               (SELECT count(*) FROM do_not_contact WHERE number = '{NUMBER}'),
               (SELECT count(*) FROM item_data WHERE number = '{NUMBER}')"""
    erase_some = stored.erase
    seen: list[object] = []
    before: list[object] = []

    async def note(
        conn: Connection,
        person: stored.Person,
        stretch: Stretch,
        *,
        item_ids: Sequence[UUID],
        now: datetime,
    ) -> int:
        # Corrections that are on their way go before the items are looked for.
        told = before if stretch.source is STAGED_ROWS and not seen else seen
        await conn.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        told.extend(await run(db, waiting))
        return await erase_some(conn, person, stretch, item_ids=item_ids, now=now)

    monkeypatch.setattr(stored, "erase", note)
    assert await run(db, waiting) == [(2, 1, 4)]
    await erase(db, team)
    assert set(before) <= {(2, 1, 4)}
    # The number leaves the list after the items.
    assert set(seen) == {(0, 1, 4), (0, 1, 0), (0, 0, 0)}

"""Answers that are remembered while their person is erased, and after."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from uuid import UUID

import pytest

from batchyard.models import BatchState, Kind, Phase, Team
from batchyard.operations import idempotency, privacy
from batchyard.operations.audit import Actor
from batchyard.operations.idempotency import Reply, Reservation
from batchyard.store import privacy as stored
from batchyard.store import shipments
from batchyard.store.db import Connection, Database
from batchyard.store.ids import new_id
from tests.factories import make_batch, make_items, make_team
from tests.operations.lists import rows_of

NUMBER = "+4520000001"
ACTOR = Actor(name="test")
KEY = "booking-of-somebody"
REQUEST = b"request"
BODIES = "SELECT convert_from(body, 'UTF8') FROM idempotency"


@pytest.fixture
async def team(db: Database) -> Team:
    return await make_team(db)


async def book(db: Database, team: Team, *, phase: Phase, status: str) -> UUID:
    """Make a shipment of the person that somebody books under a key."""
    batch_id = await make_batch(db, team=team, kind=Kind.SHIPMENT, state=BatchState.RUNNING)
    [item_id] = await make_items(
        db, team=team, batch_id=batch_id, number=NUMBER, phase=phase, status=status
    )
    async with db.transaction() as conn:
        await shipments.insert_booking(
            conn, booking_id=new_id(), team_id=team.id, item_id=item_id, key=KEY, now=db.clock()
        )
    return item_id


async def answer(db: Database, held: Reservation, body: str) -> None:
    reply = Reply(status=200, body=body.encode(), content_type="application/json")
    async with db.transaction() as conn:
        await held.complete(conn, request=REQUEST, reply=reply)


async def erase(db: Database, team: Team) -> privacy.Erasure:
    return await privacy.erase_person(db, team=team, actor=ACTOR, number=NUMBER, email=None)


def around_the_items(
    monkeypatch: pytest.MonkeyPatch,
    *,
    before: Callable[[], Awaitable[None]] | None = None,
    after: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Let something happen next to the step that takes the items out."""
    erase_items = stored.erase_items

    async def erase_some(
        conn: Connection, ids: Sequence[UUID], *, now: datetime
    ) -> stored.ErasedItems:
        await conn.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        if before is not None:
            await before()
        done = await erase_items(conn, ids, now=now)
        if after is not None:
            await after()
        return done

    monkeypatch.setattr(stored, "erase_items", erase_some)


async def test_answer_that_comes_before_the_items_go_is_found_by_its_booking(
    db: Database, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    await book(db, team, phase=Phase.DONE, status="booked")
    async with idempotency.reserved(db, team=team, key=KEY, request=REQUEST) as held:
        assert isinstance(held, Reservation)

        async def finish() -> None:
            # It names nobody, and is the label of one.
            await answer(db, held, "JVBERi0")

        around_the_items(monkeypatch, before=finish)
        done = await erase(db, team)
    assert (done.items, done.others["idempotency_bodies"]) == (1, 1)
    assert await rows_of(db, BODIES) == [('{"erased": true}',)]
    assert await rows_of(db, "SELECT key FROM bookings") == [(None,)]


async def test_answer_that_comes_behind_the_items_is_found_by_what_it_says(
    db: Database, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = await make_batch(db, team=team, kind=Kind.CALL, state=BatchState.COMPLETED)
    await make_items(
        db, team=team, batch_id=batch_id, number=NUMBER, phase=Phase.DONE, status="completed"
    )
    async with idempotency.reserved(db, team=team, key=KEY, request=REQUEST) as held:
        assert isinstance(held, Reservation)

        async def finish() -> None:
            await answer(db, held, NUMBER)

        around_the_items(monkeypatch, after=finish)
        await erase(db, team)
    assert await rows_of(db, BODIES) == [('{"erased": true}',)]


@pytest.mark.parametrize("ends_first", [True, False])
async def test_answer_that_is_still_to_come_keeps_the_item_pending_until_then(
    db: Database, team: Team, ends_first: bool
) -> None:
    item_id = await book(db, team, phase=Phase.CALLING, status="sending")
    end = "UPDATE items SET phase = 'done', status = 'booked' WHERE id = %s"
    async with idempotency.reserved(db, team=team, key=KEY, request=REQUEST) as held:
        assert isinstance(held, Reservation)
        if ends_first:
            await rows_of(db, f"{end} RETURNING id", item_id)
        done = await erase(db, team)
        assert (done.items, done.pending) == (0, 1)
        if not ends_first:
            await rows_of(db, f"{end} RETURNING id", item_id)
        await privacy.erase_pending(db)
        assert await rows_of(db, "SELECT number FROM item_data") == [(NUMBER,)]
        await answer(db, held, "JVBERi0")
    await privacy.erase_pending(db)
    assert await rows_of(db, BODIES) == [('{"erased": true}',)]
    assert await rows_of(db, "SELECT number FROM item_data") == [(None,)]
    assert await rows_of(db, "SELECT FROM pending_erasures") == []

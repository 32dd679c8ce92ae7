"""How long a key is remembered: from its answer on, and while somebody works on it."""

from datetime import datetime, timedelta

import pytest

from batchyard.errors import Conflict
from batchyard.models import Team
from batchyard.operations import idempotency, retention
from batchyard.operations.idempotency import Kept, KeyBusy, Reply, Reservation
from batchyard.store import retention as stored
from batchyard.store.db import Connection, Database
from tests.clocks import SetClock
from tests.factories import make_team
from tests.operations.lists import rows_of

KEY = "a-key-of-a-long-upload"
REQUEST = b"request"
REPLY = Reply(status=200, body=b"{}", content_type="application/json")
KEPT = "SELECT key FROM idempotency"


class Broken(Exception):
    """Somebody pulled the plug."""


@pytest.fixture
async def team(db: Database) -> Team:
    return await make_team(db)


@pytest.fixture
def clock(db: Database, monkeypatch: pytest.MonkeyPatch) -> SetClock:
    clock = SetClock(db.clock())
    monkeypatch.setattr(db, "clock", clock)
    return clock


async def test_answer_of_a_request_that_was_taken_up_again_is_remembered_from_then_on(
    db: Database, team: Team, clock: SetClock
) -> None:
    with pytest.raises(Broken):
        async with idempotency.reserved(db, team=team, key=KEY, request=REQUEST):
            raise Broken
    clock.shift = timedelta(hours=23)
    async with idempotency.reserved(db, team=team, key=KEY, request=REQUEST) as held:
        assert isinstance(held, Reservation)
        assert held.began_at < clock() - timedelta(hours=22)
        async with db.transaction() as conn:
            await held.complete(conn, request=REQUEST, reply=REPLY)
    clock.shift = timedelta(hours=46)
    await retention.expire(db)
    async with idempotency.reserved(db, team=team, key=KEY, request=REQUEST) as kept:
        assert isinstance(kept, Kept)


async def test_key_of_a_refusal_is_not_forgotten_where_some_was_done_before(
    db: Database, team: Team
) -> None:
    seen: list[tuple[int, datetime]] = []

    async def work(done: int) -> None:
        async with idempotency.reserved(db, team=team, key=KEY, request=REQUEST) as held:
            assert isinstance(held, Reservation)
            seen.append((held.done, held.began_at))
            async with db.transaction() as conn:
                await held.advance(conn, done)
            raise Conflict("It was stopped.")

    for done in (2, 3, 3):
        with pytest.raises(Conflict):
            await work(done)
    began_at = seen[0][1]
    assert seen == [(0, began_at), (2, began_at), (3, began_at)]


async def test_key_that_somebody_works_on_is_not_forgotten(
    db: Database, team: Team, clock: SetClock
) -> None:
    with pytest.raises(Broken):
        async with idempotency.reserved(db, team=team, key=KEY, request=REQUEST):
            raise Broken
    clock.shift = timedelta(hours=23, minutes=59, seconds=30)
    async with idempotency.reserved(db, team=team, key=KEY, request=REQUEST) as held:
        assert isinstance(held, Reservation)
        clock.shift = timedelta(hours=24, seconds=10)
        await retention.expire(db)
        with pytest.raises(KeyBusy):
            async with idempotency.reserved(db, team=team, key=KEY, request=REQUEST):
                pass
        async with db.transaction() as conn:
            await held.complete(conn, request=REQUEST, reply=REPLY)


async def test_days_that_were_raised_just_now_hold(
    db: Database, team: Team, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with idempotency.reserved(db, team=team, key=KEY, request=REQUEST) as held:
        assert isinstance(held, Reservation)
        async with db.transaction() as conn:
            await held.complete(conn, request=REQUEST, reply=REPLY)
    clock.shift = timedelta(hours=25)
    list_teams = stored.list_teams

    async def raise_then(conn: Connection) -> list[int]:
        teams = await list_teams(conn)
        await retention.set_days(db, team=team, days={"idempotency_days": 3})
        return teams

    with monkeypatch.context() as patched:
        patched.setattr(stored, "list_teams", raise_then)
        await retention.expire(db)
    assert await rows_of(db, KEPT) == [(KEY,)]
    clock.shift = timedelta(hours=73)
    await retention.expire(db)
    assert await rows_of(db, KEPT) == []

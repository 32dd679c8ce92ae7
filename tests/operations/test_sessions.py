"""Sessions of the dashboard: they live with what stands behind them, and guessing is limited."""

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from batchyard.errors import Forbidden, LimitReached
from batchyard.models import Team
from batchyard.operations import access, audit, sessions, users
from batchyard.operations.live import Hub, follow
from batchyard.store.db import Database
from tests.clocks import SetClock, StandingClock
from tests.factories import make_team, make_token, revoke_token

EMAIL = "ann@example.com"
PASSWORD = "correct horse battery"
ADDRESS = "192.0.2.7"


async def make_user(db: Database, team: Team) -> UUID:
    return await users.create_user(db, team=team, email=EMAIL, name="Ann", password=PASSWORD)


async def sign_in(db: Database, *, email: str = EMAIL, password: str = PASSWORD) -> str:
    return await sessions.sign_in_with_password(db, email=email, password=password, address=ADDRESS)


async def test_user_signs_in_by_password_and_out(db: Database) -> None:
    team = await make_team(db)
    user_id = await make_user(db, team)

    secret = await sign_in(db, email=f" {EMAIL.upper()} ")
    session = await sessions.find_session(db, secret=secret)

    assert session is not None
    assert (session.team, session.user_id, session.name) == (team, user_id, "Ann")
    assert sessions.actor_name(session) == f"user {user_id}"
    await sessions.sign_out(db, session=session)
    assert await sessions.find_session(db, secret=secret) is None


async def test_secret_of_a_session_is_not_stored(db: Database) -> None:
    await make_user(db, await make_team(db))
    secret = await sign_in(db)
    async with db.pool.connection() as conn:
        rows = await (await conn.execute("SELECT sessions::text FROM sessions")).fetchall()
    assert len(rows) == 1
    assert secret not in str(rows)


async def test_sign_in_is_audited_without_the_name(db: Database) -> None:
    team = await make_team(db)
    user_id = await make_user(db, team)
    await sign_in(db)
    [entry] = await audit.list_entries(db, team=team)
    assert (entry.action, entry.actor, entry.source) == (
        "session.begin",
        f"user {user_id}",
        ADDRESS,
    )


@pytest.mark.parametrize("email, password", [(EMAIL, "wrong"), ("bob@example.com", PASSWORD)])
async def test_wrong_password_is_refused_alike(db: Database, email: str, password: str) -> None:
    await make_user(db, await make_team(db))
    with pytest.raises(Forbidden, match=r"e-mail or the password is wrong"):
        await sign_in(db, email=email, password=password)


async def test_session_of_a_token_ends_with_it(db: Database) -> None:
    team = await make_team(db)
    token = await access.create_token(db, team=team, name="shop", scopes=["batches:read"])
    secret = await sessions.sign_in_with_token(db, token=f" {token}\n", address=None)
    session = await sessions.find_session(db, secret=secret)
    assert session is not None
    assert (session.scopes, session.name) == (frozenset({"batches:read"}), "shop")
    await revoke_token(db, team=team)
    assert await sessions.find_session(db, secret=secret) is None


async def test_unknown_token_begins_no_session(db: Database) -> None:
    with pytest.raises(Forbidden, match="not known"):
        await sessions.sign_in_with_token(db, token="by_nothing", address=None)


async def test_session_ends_with_its_user_and_with_a_new_password(db: Database) -> None:
    team = await make_team(db)
    user_id = await make_user(db, team)
    secret = await sign_in(db)
    await users.change_password(db, team=team, user_id=user_id, password="another long one")
    assert await sessions.find_session(db, secret=secret) is None
    secret = await sign_in(db, password="another long one")
    await users.remove_user(db, team=team, user_id=user_id)
    assert await sessions.find_session(db, secret=secret) is None


async def test_session_lives_while_used_but_not_for_ever(db: Database) -> None:
    team = await make_team(db)
    await make_user(db, team)
    clock = StandingClock(db.clock())
    db.clock = clock
    began_at = clock()
    secret = await sign_in(db)
    while clock() - began_at < sessions.LONGEST - sessions.IDLE:
        clock.set(clock() + sessions.IDLE - timedelta(minutes=2))
        assert await sessions.find_session(db, secret=secret) is not None
    clock.set(began_at + sessions.LONGEST + timedelta(seconds=1))
    assert await sessions.find_session(db, secret=secret) is None

    secret = await sign_in(db)
    clock.set(clock() + sessions.IDLE + timedelta(seconds=1))
    assert await sessions.find_session(db, secret=secret) is None


async def test_guessing_a_password_is_limited_and_forgiven_in_time(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "MOST_FAILURES_OF_ACCOUNT", 2)
    await make_user(db, await make_team(db))
    clock = SetClock(db.clock())
    db.clock = clock
    for _ in range(2):
        with pytest.raises(Forbidden):
            await sign_in(db, password="wrong")
    with pytest.raises(LimitReached) as limited:
        await sign_in(db)
    assert 0 < limited.value.retry_after_seconds <= sessions.WINDOW.total_seconds()
    clock.set(clock() + sessions.WINDOW + timedelta(seconds=1))
    assert await sign_in(db)


async def test_address_that_fails_for_many_accounts_is_limited(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "MOST_FAILURES_OF_ADDRESS", 3)
    token = await make_token(db, team=await make_team(db))
    for guess in range(3):
        with pytest.raises(Forbidden):
            await sessions.sign_in_with_token(db, token=f"guess-{guess}", address=ADDRESS)
    with pytest.raises(LimitReached):
        await sessions.sign_in_with_token(db, token=token, address=ADDRESS)
    assert await sessions.sign_in_with_token(db, token=token, address="192.0.2.8")


async def test_success_is_no_failed_attempt(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MOST_FAILURES_OF_ADDRESS", 1)
    token = await make_token(db, team=await make_team(db))
    for _ in range(3):
        assert await sessions.sign_in_with_token(db, token=token, address=ADDRESS)


async def test_proxy_signs_in_who_is_known(db: Database) -> None:
    team = await make_team(db)
    await users.create_user(db, team=team, email=EMAIL, name="Ann", password=None)
    secret = await sessions.sign_in_through_proxy(db, email=EMAIL, address=None)
    assert secret is not None
    session = await sessions.find_session(db, secret=secret)
    assert session is not None
    assert session.is_by_proxy
    assert await sessions.sign_in_through_proxy(db, email="x@example.com", address=None) is None


async def test_stream_ends_with_its_session(db: Database) -> None:
    team = await make_team(db)
    await make_user(db, team)
    session = await sessions.find_session(db, secret=await sign_in(db))
    assert session is not None
    permit = sessions.while_signed_in(db, session)
    stream = follow(db, Hub(db), team=team, permit=permit)
    assert isinstance(await anext(stream), tuple)
    await sessions.sign_out(db, session=session)
    async with asyncio.timeout(30):
        assert [told async for told in stream] == []

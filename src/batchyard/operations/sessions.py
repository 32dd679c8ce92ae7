"""Sessions of the dashboard: sign in by password, by token or through a proxy, and out."""

import hashlib
import hmac
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from batchyard.errors import Forbidden, LimitReached
from batchyard.models import Team
from batchyard.operations import access, users
from batchyard.operations.audit import Actor, audited
from batchyard.operations.live import Permit
from batchyard.store import sessions, teams
from batchyard.store.db import Connection, Database
from batchyard.store.sessions import Session
from batchyard.store.users import User

SECRET_BYTES = 32

IDLE = timedelta(hours=12)
"""A session ends so long after its last use."""
LONGEST = timedelta(days=14)
"""Then one has to sign in again, used or not."""

WINDOW = timedelta(minutes=15)
MOST_FAILURES_OF_ACCOUNT = 10
MOST_FAILURES_OF_ADDRESS = 50
"""Failed attempts within the window; an address may be that of a whole office."""


async def sign_in_with_password(
    db: Database, *, email: str, password: str, address: str | None
) -> str:
    """Begin a session of a user and return its secret, which is not kept.

    Raises `Forbidden` where e-mail and password are nobody's, and `LimitReached`.
    """
    email = email.strip()
    keys = {_key("address", address or ""): MOST_FAILURES_OF_ADDRESS}
    keys[_key("account", email.lower())] = MOST_FAILURES_OF_ACCOUNT
    await _count(db, keys)
    user = await users.verify(db, email=email, password=password)
    if user is None:
        raise Forbidden("The e-mail or the password is wrong.")
    await _take_back(db, keys)
    return await _begin_of_user(db, user=user, address=address, is_by_proxy=False)


async def sign_in_with_token(db: Database, *, token: str, address: str | None) -> str:
    """Begin a session of an API token and return its secret.

    Raises `Forbidden` for a token that is unknown, revoked or expired, and `LimitReached`.
    """
    keys = {_key("address", address or ""): MOST_FAILURES_OF_ADDRESS}
    await _count(db, keys)
    principal = await access.authenticate(db, token=token.strip())
    if principal is None:
        raise Forbidden("This token is not known, was revoked, or has expired.")
    await _take_back(db, keys)
    actor = access.token_actor(principal.name, principal.token_id)
    return await _begin(
        db,
        team=principal.team,
        user=None,
        token_id=principal.token_id,
        actor=Actor(name=actor, source=address),
        is_by_proxy=False,
    )


async def sign_in_through_proxy(db: Database, *, email: str, address: str | None) -> str | None:
    """Begin a session of the user whom a trusted proxy names; None where there is none."""
    user = await users.find_user(db, email=email)
    if user is None:
        return None
    return await _begin_of_user(db, user=user, address=address, is_by_proxy=True)


async def find_session(db: Database, *, secret: str) -> Session | None:
    """Return the session of a secret; its use keeps it alive."""
    async with db.pool.connection() as conn:
        return await sessions.find(
            conn, secret_hash=_hash(secret), idle=IDLE, longest=LONGEST, now=db.clock()
        )


async def sign_out(db: Database, *, session: Session) -> None:
    """End a session."""
    async with db.transaction() as conn:
        await sessions.delete(conn, session_id=session.id)


def csrf_token(secret: str) -> str:
    """Return what every change asked for in a session has to carry; only its own pages know it."""
    return hmac.new(secret.encode(), b"csrf", hashlib.sha256).hexdigest()


def actor_name(session: Session) -> str:
    """Return who the audit log names: of people the id, so that who is removed is not named."""
    if session.token_id is not None:
        return access.token_actor(session.name, session.token_id)
    return f"user {session.user_id}"


def while_signed_in(db: Database, session: Session) -> Permit:
    """Allow following as long as the session holds."""

    async def is_valid(conn: Connection) -> bool:
        return await sessions.is_valid(conn, session_id=session.id, now=db.clock())

    return is_valid


async def _begin_of_user(
    db: Database, *, user: User, address: str | None, is_by_proxy: bool
) -> str:
    async with db.pool.connection() as conn:
        team = await teams.find_by_id(conn, team_id=user.team_id)
    if team is None:
        raise Forbidden("The user has no team.")
    return await _begin(
        db,
        team=team,
        user=user,
        token_id=None,
        actor=Actor(name=f"user {user.id}", source=address),
        is_by_proxy=is_by_proxy,
    )


async def _begin(
    db: Database,
    *,
    team: Team,
    user: User | None,
    token_id: int | None,
    actor: Actor,
    is_by_proxy: bool,
) -> str:
    secret = secrets.token_urlsafe(SECRET_BYTES)
    now = db.clock()
    # A proxy keeps a log of its own, and a client of it that keeps no cookies would fill ours.
    lent = db.transaction() if is_by_proxy else _audited(db, team, actor)
    async with lent as conn:
        await sessions.insert(
            conn,
            secret_hash=_hash(secret),
            team_id=team.id,
            user_id=None if user is None else user.id,
            token_id=token_id,
            is_by_proxy=is_by_proxy,
            expires_at=now + IDLE,
            now=now,
        )
        await sessions.forget(conn, began_before=now - WINDOW, now=now)
    return secret


@asynccontextmanager
async def _audited(db: Database, team: Team, actor: Actor) -> AsyncIterator[Connection]:
    async with audited(db, team=team, actor=actor, action="session.begin") as work:
        yield work.connection


async def _count(db: Database, keys: dict[bytes, int]) -> None:
    """Count an attempt before it is made, so that many at once do not pass together."""
    now = db.clock()
    async with db.transaction() as conn:
        counted = await sessions.count_attempt(
            conn, keys=sorted(keys), began_before=now - WINDOW, now=now
        )
    ends = [one.began_at + WINDOW for one in counted if one.n > keys[bytes(one.key)]]
    if ends:
        raise LimitReached(
            "Too many attempts to sign in failed; try again later.",
            retry_after_seconds=(max(ends) - now).total_seconds(),
        )


async def _take_back(db: Database, keys: dict[bytes, int]) -> None:
    async with db.transaction() as conn:
        await sessions.take_back_attempt(conn, keys=sorted(keys))


def _key(kind: str, text: str) -> bytes:
    return _hash(f"{kind}:{text}")


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()

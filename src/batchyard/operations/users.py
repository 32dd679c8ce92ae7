"""People: who may sign in, and with what."""

import asyncio
import re
from collections.abc import Sequence
from functools import cache
from uuid import UUID

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from batchyard.errors import Conflict, InvalidRequest, NotFound
from batchyard.models import Team
from batchyard.operations.access import ADMIN_SCOPE, SCOPES
from batchyard.operations.transactions import Transactions
from batchyard.store import sessions, users
from batchyard.store.db import Database
from batchyard.store.ids import new_id
from batchyard.store.users import User

EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
SHORTEST_PASSWORD = 12
LONGEST_PASSWORD = 1000

_hasher = PasswordHasher()


async def create_user(
    db: Transactions,
    *,
    team: Team,
    email: str,
    name: str,
    password: str | None,
    scopes: Sequence[str] = (ADMIN_SCOPE,),
) -> UUID:
    """Make a user; without a password a trusted proxy has to sign the person in."""
    if len(email) > 254 or not EMAIL.fullmatch(email):
        raise InvalidRequest("This is no e-mail address.", faults={"email": ["no address"]})
    if unknown := sorted(set(scopes) - set(SCOPES)):
        raise InvalidRequest(f"There is no scope '{unknown[0]}'. Known: {', '.join(SCOPES)}.")
    hashed = None if password is None else await _hash(password)
    user_id = new_id()
    async with db.transaction() as conn:
        is_new = await users.insert(
            conn,
            id_=user_id,
            team_id=team.id,
            name=name,
            email=email,
            password_hash=hashed,
            scopes=scopes,
            now=db.clock(),
        )
    if not is_new:
        raise Conflict("A user with this e-mail exists.")
    return user_id


async def verify(db: Database, *, email: str, password: str) -> User | None:
    """Return the user whose password this is; it takes as long when there is none."""
    async with db.pool.connection() as conn:
        user = await users.find(conn, email=email)
    known = None if user is None else user.password_hash
    if len(password) > LONGEST_PASSWORD or not await _fits(known, password):
        return None
    if user is None or known is None:
        return None
    if _hasher.check_needs_rehash(known):
        async with db.transaction() as conn:
            await users.change_password(
                conn,
                team_id=user.team_id,
                user_id=user.id,
                password_hash=await asyncio.to_thread(_hasher.hash, password),
            )
    return user


async def find_user(db: Database, *, email: str) -> User | None:
    """Return whose e-mail this is; the caller knows that it is theirs."""
    async with db.pool.connection() as conn:
        return await users.find(conn, email=email)


async def list_users(db: Database, *, team: Team) -> list[User]:
    """List the people of a team."""
    async with db.pool.connection() as conn:
        return await users.list_of_team(conn, team_id=team.id)


async def change_password(
    db: Transactions, *, team: Team, user_id: UUID, password: str | None
) -> None:
    """Set a new password, or take it away; who is signed in has to again. Raises `NotFound`."""
    hashed = None if password is None else await _hash(password)
    async with db.transaction() as conn:
        await sessions.delete_of_user(conn, user_id=user_id, team_id=team.id)
        if not await users.change_password(
            conn, team_id=team.id, user_id=user_id, password_hash=hashed
        ):
            raise NotFound("There is no such user.")


async def remove_user(db: Transactions, *, team: Team, user_id: UUID) -> None:
    """Remove a user. Raises `NotFound`."""
    async with db.transaction() as conn:
        if not await users.remove(conn, team_id=team.id, user_id=user_id, now=db.clock()):
            raise NotFound("There is no such user.")


async def _hash(password: str) -> str:
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise InvalidRequest(
            f"A password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters.",
            faults={"password": ["wrong length"]},
        )
    return await asyncio.to_thread(_hasher.hash, password)


async def _fits(known: str | None, password: str) -> bool:
    try:
        return await asyncio.to_thread(_verify, known, password)
    except (VerificationError, InvalidHashError):
        return False


def _verify(known: str | None, password: str) -> bool:
    # Also where there is no user, so that the time does not tell who is one.
    return _hasher.verify(known or _nobody(), password)


@cache
def _nobody() -> str:
    return _hasher.hash("nobody has this password")

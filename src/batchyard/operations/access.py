"""Tokens: make them, and tell who speaks."""

import hashlib
import re
import secrets
from collections.abc import Sequence
from datetime import datetime

from batchyard.errors import Conflict, InvalidRequest
from batchyard.models import Principal, Team
from batchyard.operations.audit import Actor, note
from batchyard.operations.transactions import Transactions
from batchyard.store import tokens
from batchyard.store.db import Database
from batchyard.store.tokens import TokenRow

TOKEN_PREFIX = "by_"  # noqa: S105  # how every token begins
TOKEN_BYTES = 32
BOLNA_VERSIONS = ("2024-01", "2026-08")
ADMIN_SCOPE = "admin"
"""May everything."""
READ_SCOPE, WRITE_SCOPE = "batches:read", "batches:write"
"""All that the doors of other APIs ask for: the one to read, the other for everything else."""
SCOPES = {
    ADMIN_SCOPE: "everything, also teams, tokens, users and erasure",
    READ_SCOPE: "read batches, items, results and events",
    WRITE_SCOPE: "create, change and steer batches and items",
    "webhooks": "read and change webhook endpoints and their log",
    "contacts": "read and change do-not-contact and the team's rules",
    "audit:read": "read the audit log",
}
REMEMBERED = 10_000
"""Tokens of which a door remembers for whom they spoke."""

SENDABLE = re.compile(r"[\x21-\x7e]{1,512}")
"""What can follow `Bearer ` in a header."""


async def authenticate(db: Database, *, token: str) -> Principal | None:
    """Return who speaks by this token, or None when it is unknown or revoked."""
    async with db.pool.connection() as connection:
        now = db.clock()
        return await tokens.find_principal(connection, token_hash=_hash(token), now=now)


def may(principal: Principal, *, scope: str) -> bool:
    """Tell whether who speaks by a token may do what this scope stands for."""
    return not {scope, ADMIN_SCOPE}.isdisjoint(principal.scopes)


class Unproven(Exception):
    """Nothing came back that proves a remembered token."""


class Memory:
    """Whom tokens spoke for when PostgreSQL was last asked.

    That lets nobody in: what is read for somebody remembered is read by a statement that proves the
    token itself (`tokens.HOLDS`), in one round trip instead of two.
    """

    def __init__(self) -> None:
        self._principals: dict[bytes, Principal] = {}

    def recall(self, token: str) -> tuple[Principal, bytes] | None:
        """Return for whom this token spoke before, and its hash; it may have been revoked since."""
        token_hash = _hash(token)
        principal = self._principals.get(token_hash)
        return None if principal is None else (principal, token_hash)

    def remember(self, token: str, principal: Principal) -> None:
        """Keep for whom this token speaks."""
        if len(self._principals) >= REMEMBERED:
            self._principals.clear()
        self._principals[_hash(token)] = principal


async def create_token(
    db: Transactions,
    *,
    team: Team,
    name: str,
    bolna_version: str | None = None,
    scopes: Sequence[str] = (ADMIN_SCOPE,),
    expires_at: datetime | None = None,
) -> str:
    """Make a token of the team and return its text, which is not kept.

    `scopes` say what it may do, through every door; without them it may everything.
    """
    if unknown := sorted(set(scopes) - set(SCOPES)):
        raise InvalidRequest(f"There is no scope '{unknown[0]}'. Known: {', '.join(SCOPES)}.")
    if bolna_version is not None and bolna_version not in BOLNA_VERSIONS:
        raise InvalidRequest(f"The Bolna version is one of {', '.join(BOLNA_VERSIONS)}.")
    token = TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
    async with db.transaction() as connection:
        await tokens.insert(
            connection,
            team_id=team.id,
            name=name,
            token_hash=_hash(token),
            bolna_version=bolna_version,
            scopes=scopes,
            expires_at=expires_at,
            now=db.clock(),
        )
    return token


async def list_tokens(db: Database, *, team: Team) -> list[TokenRow]:
    """List the tokens of a team, revoked ones too."""
    async with db.pool.connection() as connection:
        return await tokens.list_of_team(connection, team_id=team.id)


async def revoke_token(db: Transactions, *, team: Team, token_id: int) -> bool:
    """Revoke a token at once; False when the team has no such token in use."""
    async with db.transaction() as connection:
        return await tokens.revoke(connection, team_id=team.id, token_id=token_id, now=db.clock())


async def ensure_token(
    db: Database, *, team: Team, token: str, name: str, actor: Actor | None = None
) -> None:
    """Make this very text a token of the team, unless it is one already.

    The audit log tells that `actor` made it, where that is said. Raises `Conflict` when it is
    another team's or was revoked.
    """
    if not SENDABLE.fullmatch(token):
        raise InvalidRequest("A token has 1 to 512 printable ASCII characters and no space.")
    token_hash = _hash(token)
    async with db.transaction() as connection:
        is_new = await tokens.insert(
            connection,
            team_id=team.id,
            name=name,
            token_hash=token_hash,
            bolna_version=None,
            scopes=(ADMIN_SCOPE,),
            now=db.clock(),
        )
        if is_new:
            if actor is not None:
                await note(
                    connection,
                    team=team,
                    actor=actor,
                    action="token.create",
                    subject=name,
                    after={"name": name, "scopes": [ADMIN_SCOPE]},
                    now=db.clock(),
                )
            return
        owner = await tokens.find_owner(connection, token_hash=token_hash)
    if owner is None or owner.team_id != team.id:
        raise Conflict("This token belongs to another team.")
    if owner.revoked_at is not None:
        raise Conflict("This token was revoked.")


def token_actor(name: str, token_id: int) -> str:
    """Return who the audit log names where a token changes something."""
    return f"token {name} ({token_id})"


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()

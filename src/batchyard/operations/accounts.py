"""Who may speak for a team, tokens and people, changed with their trace in the audit log.

The log forgets nothing, so it holds no e-mails: people are their ids there.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from batchyard.errors import NotFound
from batchyard.models import Team
from batchyard.operations import access, users
from batchyard.operations.access import ADMIN_SCOPE
from batchyard.operations.audit import Actor, audited, note
from batchyard.operations.transactions import Joined, Transactions, one_transaction
from batchyard.store import tokens
from batchyard.store import users as user_rows


async def create_token(
    db: Transactions,
    *,
    team: Team,
    actor: Actor,
    name: str,
    bolna_version: str | None = None,
    scopes: Sequence[str] = (ADMIN_SCOPE,),
    expires_at: datetime | None = None,
) -> str:
    """Make a token, as `access.create_token` does."""
    after = {
        "name": name,
        "scopes": list(scopes),
        "expires_at": expires_at and expires_at.isoformat(),
        "bolna_version": bolna_version,
    }
    async with audited(
        db, team=team, actor=actor, action="token.create", subject=name or None, after=after
    ) as work:
        return await access.create_token(
            work,
            team=team,
            name=name,
            bolna_version=bolna_version,
            scopes=scopes,
            expires_at=expires_at,
        )


async def revoke_token(db: Transactions, *, team: Team, actor: Actor, token_id: int) -> None:
    """Revoke a token at once. Raises `NotFound` when the team has no such token in use."""
    async with one_transaction(db) as work:
        conn, now = work.connection, db.clock()
        known = {row.id: row for row in await tokens.list_of_team(conn, team_id=team.id)}
        if not await access.revoke_token(work, team=team, token_id=token_id):
            raise NotFound(f"There is no token {token_id} in use.")
        row = known[token_id]
        before = {"name": row.name, "scopes": list(row.scopes), "is_revoked": False}
        await note(
            conn,
            team=team,
            actor=actor,
            action="token.revoke",
            subject=str(token_id),
            before=before,
            after={**before, "is_revoked": True},
            now=now,
        )


async def create_user(
    db: Transactions,
    *,
    team: Team,
    actor: Actor,
    email: str,
    name: str,
    password: str | None,
    scopes: Sequence[str] = (ADMIN_SCOPE,),
) -> UUID:
    """Let a person in, as `users.create_user` does."""
    async with one_transaction(db) as work:
        user_id = await users.create_user(
            work, team=team, email=email, name=name, password=password, scopes=scopes
        )
        await note(
            work.connection,
            team=team,
            actor=actor,
            action="user.create",
            subject=str(user_id),
            after={"scopes": list(scopes), "has_password": password is not None},
            now=db.clock(),
        )
    return user_id


async def change_password(
    db: Transactions, *, team: Team, actor: Actor, user_id: UUID, password: str | None
) -> None:
    """Set a new password, or take it away, as `users.change_password` does."""
    async with one_transaction(db) as work:
        before = await _read(work, team=team, user_id=user_id)
        await users.change_password(work, team=team, user_id=user_id, password=password)
        await note(
            work.connection,
            team=team,
            actor=actor,
            action="user.password",
            subject=str(user_id),
            before={"has_password": before["has_password"]},
            after={"has_password": password is not None},
            now=db.clock(),
        )


async def remove_user(db: Transactions, *, team: Team, actor: Actor, user_id: UUID) -> None:
    """Remove a person. Raises `NotFound`."""
    async with one_transaction(db) as work:
        before = await _read(work, team=team, user_id=user_id)
        await users.remove_user(work, team=team, user_id=user_id)
        await note(
            work.connection,
            team=team,
            actor=actor,
            action="user.remove",
            subject=str(user_id),
            before=before,
            after={"is_removed": True},
            now=db.clock(),
        )


async def _read(work: Joined, *, team: Team, user_id: UUID) -> dict[str, object]:
    for row in await user_rows.list_of_team(work.connection, team_id=team.id):
        if row.id == user_id:
            has_password = row.password_hash is not None
            return {"scopes": list(row.scopes), "has_password": has_password}
    raise NotFound("There is no such user.")

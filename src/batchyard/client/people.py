"""Calls about who may do what: the team's name, its tokens, and the people who sign in."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from batchyard.client.shapes import Team, Token, User
from batchyard.client.transport import Transport, rows_of


class PeopleCalls(Transport):
    """Everything under `/tokens` and `/users`, and what can be changed of `/team`."""

    async def change_team(self, **changes: object) -> Team:
        """Change the team, by the fields of `PATCH /team`."""
        return Team.model_validate(await self.request("PATCH", "/team", body=changes))

    async def tokens(self) -> list[Token]:
        """Return the team's tokens, revoked ones too."""
        return [Token.model_validate(r) for r in rows_of(await self.request("GET", "/tokens"))]

    async def create_token(
        self,
        name: str,
        *,
        scopes: Sequence[str] = ("batches:read", "batches:write"),
        expires_at: datetime | None = None,
        bolna_version: str | None = None,
    ) -> str:
        """Make a token and return its text, which is told once.

        Sent once: after a lost answer, revoke the token that nobody knows.
        """
        body = {
            "name": name,
            "scopes": list(scopes),
            "expires_at": None if expires_at is None else expires_at.isoformat(),
            "bolna_version": bolna_version,
        }
        return str((await self.request_once("POST", "/tokens", body=body))["token"])

    async def revoke_token(self, token_id: int) -> None:
        """Let a token work no more."""
        await self.request("DELETE", f"/tokens/{token_id}")

    async def users(self) -> list[User]:
        """Return the team's people."""
        return [User.model_validate(row) for row in rows_of(await self.request("GET", "/users"))]

    async def create_user(
        self,
        email: str,
        *,
        name: str,
        password: str | None = None,
        scopes: Sequence[str] = ("admin",),
    ) -> UUID:
        """Let a person in and return their id; without a password a trusted proxy signs them in."""
        body = {"email": email, "name": name, "password": password, "scopes": list(scopes)}
        return UUID(str((await self.request_once("POST", "/users", body=body))["id"]))

    async def set_password(self, user_id: UUID, password: str | None) -> None:
        """Set a person's password, or take it away."""
        await self.request("PUT", f"/users/{user_id}/password", body={"password": password})

    async def remove_user(self, user_id: UUID) -> None:
        """Remove a person, and what is known of them."""
        await self.request("DELETE", f"/users/{user_id}")

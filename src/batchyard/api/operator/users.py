"""People who sign in to the dashboard."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from batchyard.api.operator.access import ADMIN, Caller, KnownRoute
from batchyard.operations import accounts, users
from batchyard.operations.access import ADMIN_SCOPE

router = APIRouter(tags=["Team"], route_class=KnownRoute)


class NewUser(BaseModel):
    """A person to let in."""

    model_config = ConfigDict(extra="forbid")

    email: str = Field(max_length=254)
    name: str = Field(min_length=1, max_length=100)
    password: SecretStr | None = Field(
        default=None, description="12 to 1000 characters; none: a trusted proxy signs in"
    )
    scopes: list[str] = Field(default_factory=lambda: [ADMIN_SCOPE])


class NewPassword(BaseModel):
    """A password to set."""

    model_config = ConfigDict(extra="forbid")

    password: SecretStr | None


class UserShown(BaseModel):
    """A person of the team."""

    id: UUID
    email: str
    name: str
    scopes: Sequence[str]
    has_password: bool
    created_at: datetime


@router.get("/users")
async def list_users(caller: Annotated[Caller, ADMIN]) -> dict[str, list[UserShown]]:
    """List the team's people."""
    rows = await users.list_users(caller.db, team=caller.team)
    return {
        "data": [
            UserShown(
                id=row.id,
                email=row.email,
                name=row.name,
                scopes=row.scopes,
                has_password=row.password_hash is not None,
                created_at=row.created_at,
            )
            for row in rows
        ]
    }


@router.post("/users", status_code=201)
async def create_user(caller: Annotated[Caller, ADMIN], new: NewUser) -> dict[str, UUID]:
    """Let a person in."""
    password = None if new.password is None else new.password.get_secret_value()
    user_id = await accounts.create_user(
        caller.work,
        team=caller.team,
        actor=caller.actor,
        email=new.email,
        name=new.name,
        password=password,
        scopes=new.scopes,
    )
    return {"id": user_id}


@router.put("/users/{user_id}/password", status_code=204)
async def change_password(
    caller: Annotated[Caller, ADMIN], user_id: UUID, new: NewPassword
) -> Response:
    """Set a new password, or take it away."""
    password = None if new.password is None else new.password.get_secret_value()
    await accounts.change_password(
        caller.work, team=caller.team, actor=caller.actor, user_id=user_id, password=password
    )
    return Response(status_code=204)


@router.delete("/users/{user_id}", status_code=204)
async def remove_user(caller: Annotated[Caller, ADMIN], user_id: UUID) -> Response:
    """Remove a person, and what is known of them."""
    await accounts.remove_user(caller.work, team=caller.team, actor=caller.actor, user_id=user_id)
    return Response(status_code=204)

"""The team itself: its tokens and its audit log."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from batchyard.api.operator.access import ADMIN, AUDIT, READ, Caller
from batchyard.errors import NotFound
from batchyard.operations import access, audit
from batchyard.operations.audit import Actor

router = APIRouter(tags=["Team"])


class TeamShown(BaseModel):
    """The caller's team."""

    id: str
    slug: str
    name: str
    locale: str
    timezone: str
    weight: int
    scopes: list[str] = Field(description="what this token may do")


class NewToken(BaseModel):
    """A token to make."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=100)
    scopes: list[str] = Field(default_factory=lambda: ["batches:read", "batches:write"])
    expires_at: AwareDatetime | None = None
    bolna_version: str | None = None


class TokenShown(BaseModel):
    """A token; its text is told once, when it is made."""

    id: int
    name: str
    scopes: list[str]
    bolna_version: str | None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


@router.get("/team")
async def read_team(caller: Annotated[Caller, READ]) -> TeamShown:
    """Return the token's team."""
    team = caller.team
    return TeamShown(
        id=str(team.uuid),
        slug=team.slug,
        name=team.name,
        locale=team.locale,
        timezone=team.timezone,
        weight=team.weight,
        scopes=sorted(caller.principal.scopes),
    )


@router.get("/tokens")
async def list_tokens(caller: Annotated[Caller, ADMIN]) -> dict[str, list[TokenShown]]:
    """List the team's tokens, revoked ones too."""
    rows = await access.list_tokens(caller.db, team=caller.team)
    return {"data": [TokenShown.model_validate(asdict(row)) for row in rows]}


@router.post("/tokens", status_code=201)
async def create_token(caller: Annotated[Caller, ADMIN], new: NewToken) -> dict[str, str]:
    """Make a token; its text is in this answer only."""
    async with audit.audited(
        caller.db,
        team=caller.team,
        actor=Actor(name=caller.actor, source=caller.source),
        action="token.create",
        subject=new.name,
        after=new.model_dump(mode="json"),
    ) as work:
        token = await access.create_token(
            work,
            team=caller.team,
            name=new.name,
            bolna_version=new.bolna_version,
            scopes=new.scopes,
            expires_at=new.expires_at,
        )
    return {"token": token}


@router.delete("/tokens/{token_id}", status_code=204)
async def revoke_token(caller: Annotated[Caller, ADMIN], token_id: int) -> Response:
    """Revoke a token; it stops working with its next request."""
    async with audit.audited(
        caller.db,
        team=caller.team,
        actor=Actor(name=caller.actor, source=caller.source),
        action="token.revoke",
        subject=str(token_id),
    ) as work:
        if not await access.revoke_token(work, team=caller.team, token_id=token_id):
            raise NotFound("There is no such token in use.")
    return Response(status_code=204)


@router.get("/audit")
async def list_audit(
    caller: Annotated[Caller, AUDIT],
    before_id: Annotated[int | None, Query(description="the smallest id seen so far")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> dict[str, object]:
    """List who changed what, the newest first."""
    rows = await audit.list_entries(caller.db, team=caller.team, before_id=before_id, limit=limit)
    return {"data": [asdict(row) for row in rows]}

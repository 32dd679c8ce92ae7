"""The team itself: what it is called, its tokens and its audit log."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from batchyard.api.operator.access import ADMIN, AUDIT, READ, Caller, KnownRoute
from batchyard.api.operator.wire import Moment
from batchyard.cursors import read_number, write_cursor
from batchyard.models import Team
from batchyard.operations import access, accounts, audit, teams

router = APIRouter(tags=["Team"], route_class=KnownRoute)


class TeamShown(BaseModel):
    """The caller's team."""

    id: str
    slug: str
    name: str
    locale: str
    timezone: str
    weight: int
    scopes: list[str] = Field(description="what this token may do")


class TeamChange(BaseModel):
    """What is to change of the team; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(default=None, min_length=1, max_length=255)
    locale: str | None = Field(
        default=None, max_length=35, description="the language of its messages: en, da-DK"
    )
    timezone: str | None = Field(
        default=None, max_length=64, description="where it is: Europe/Copenhagen"
    )


class NewToken(BaseModel):
    """A token to make."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=100)
    scopes: list[str] = Field(default_factory=lambda: ["batches:read", "batches:write"])
    expires_at: Moment | None = None
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
    return _shown(caller, caller.team)


@router.patch("/team")
async def change_team(caller: Annotated[Caller, ADMIN], change: TeamChange) -> TeamShown:
    """Change what the team is called, its language or its time zone."""
    given = change.model_dump(exclude_none=True)
    before = {name: value for name, value in teams.facts_of(caller.team).items() if name in given}
    async with caller.changing(
        "team.change", subject=caller.team.slug, before=before, after=given
    ) as work:
        team = await teams.change_team(work, team=caller.team, **given)
    return _shown(caller, team)


def _shown(caller: Caller, team: Team) -> TeamShown:
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
    token = await accounts.create_token(
        caller.work,
        team=caller.team,
        actor=caller.actor,
        name=new.name,
        bolna_version=new.bolna_version,
        scopes=new.scopes,
        expires_at=new.expires_at,
    )
    return {"token": token}


@router.delete("/tokens/{token_id}", status_code=204)
async def revoke_token(
    caller: Annotated[Caller, ADMIN], token_id: Annotated[int, Path(ge=0, lt=2**63)]
) -> Response:
    """Revoke a token; it stops working with its next request."""
    await accounts.revoke_token(
        caller.work, team=caller.team, actor=caller.actor, token_id=token_id
    )
    return Response(status_code=204)


@router.get("/audit")
async def list_audit(
    caller: Annotated[Caller, AUDIT],
    before_id: Annotated[
        int | None,
        Query(
            ge=0,
            lt=2**63,
            description="the smallest id seen so far; `cursor` does the same",
        ),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before")] = None,
) -> dict[str, object]:
    """List who changed what, the newest first."""
    rows = await audit.list_entries(
        caller.db,
        team=caller.team,
        before_id=before_id if cursor is None else read_number(cursor),
        limit=limit + 1,
    )
    more = len(rows) > limit
    return {
        "data": [asdict(row) for row in rows[:limit]],
        "next_cursor": write_cursor([rows[limit - 1].id]) if more else None,
    }

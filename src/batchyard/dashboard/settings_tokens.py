"""Tokens of the team: what programs sign in with; a token's text is shown once, when it is made."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from batchyard.dashboard.forms import Fields, read_fields
from batchyard.dashboard.frame import go_to
from batchyard.dashboard.settings_frame import ADMIN, settings_page
from batchyard.dashboard.visitors import Visitor
from batchyard.errors import InvalidRequest
from batchyard.operations import access, accounts
from batchyard.operations.access import SCOPES

PATH = "/settings/tokens"
MOST_DAYS = 3650
USUAL_SCOPES = ("batches:read", "batches:write")

router = APIRouter(prefix=PATH)

Admin = Annotated[Visitor, Depends(ADMIN)]


@router.get("")
async def show_tokens(request: Request, visitor: Admin) -> Response:
    """Show the tokens, those in use first."""
    return await _page(request, visitor)


@router.post("")
async def create_token(request: Request, visitor: Admin) -> Response:
    """Make a token, and show its text."""
    fields = await read_fields(request)
    name = fields.text("name", longest=100)
    if not name:
        fields.fault("name", "Say what it is for.")
    days = fields.whole("days", least=1, most=MOST_DAYS)
    scopes = [scope for scope in fields.texts("scopes") if scope in SCOPES]
    if not scopes:
        fields.fault("scopes", "Choose at least one.")
    try:
        fields.check()
    except InvalidRequest as error:
        return await _page(request, visitor, typed=fields, faults=error.faults, status=422)
    expires_at = None if days is None else visitor.db.clock() + timedelta(days=days)
    token = await accounts.create_token(
        visitor.db,
        team=visitor.team,
        actor=visitor.actor,
        name=name,
        scopes=scopes,
        expires_at=expires_at,
    )
    # No redirect: the text is in this answer and nowhere else.
    return await _page(request, visitor, token=token, status=201)


@router.post("/{token_id}/revoke")
async def revoke_token(visitor: Admin, token_id: int) -> Response:
    """Revoke a token; it stops working with its next request."""
    await accounts.revoke_token(
        visitor.db, team=visitor.team, actor=visitor.actor, token_id=token_id
    )
    return go_to(PATH, visitor.config, notice=visitor.voice.say("The token is revoked."))


async def _page(
    request: Request,
    visitor: Visitor,
    *,
    token: str | None = None,
    typed: Fields | None = None,
    faults: Mapping[str, list[str]] | None = None,
    status: int = 200,
) -> Response:
    rows = await access.list_tokens(visitor.db, team=visitor.team)
    return settings_page(
        request,
        visitor,
        "settings_tokens.html",
        section="/tokens",
        rows=sorted(rows, key=lambda row: row.revoked_at is not None),
        token=token,
        scopes=SCOPES,
        chosen=USUAL_SCOPES if typed is None else typed.texts("scopes"),
        typed=typed,
        faults=faults or {},
        now=visitor.db.clock(),
        status=status,
    )

"""People of the team: who may sign in, and what they may do."""

from collections.abc import Mapping
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from batchyard.dashboard.forms import Fields, read_fields
from batchyard.dashboard.frame import go_to
from batchyard.dashboard.settings_frame import ADMIN, settings_page
from batchyard.dashboard.visitors import Visitor
from batchyard.errors import Conflict, InvalidRequest
from batchyard.operations import accounts, users
from batchyard.operations.access import ADMIN_SCOPE, SCOPES
from batchyard.operations.users import LONGEST_PASSWORD, SHORTEST_PASSWORD

PATH = "/settings/people"

router = APIRouter(prefix=PATH)

Admin = Annotated[Visitor, Depends(ADMIN)]


@router.get("")
async def show_people(request: Request, visitor: Admin) -> Response:
    """Show them."""
    return await _page(request, visitor)


@router.post("")
async def add_person(request: Request, visitor: Admin) -> Response:
    """Let a person in."""
    fields = await read_fields(request)
    name, email = fields.text("name", longest=200), fields.text("email", longest=254)
    password = fields.exact("password", longest=LONGEST_PASSWORD) or None
    scopes = [scope for scope in fields.texts("scopes") if scope in SCOPES]
    if not name:
        fields.fault("name", "Say who it is.")
    if not scopes:
        fields.fault("scopes", "Choose at least one.")
    try:
        fields.check()
        await accounts.create_user(
            visitor.db,
            team=visitor.team,
            actor=visitor.actor,
            email=email,
            name=name,
            password=password,
            scopes=scopes,
        )
    except (InvalidRequest, Conflict) as error:
        faults = error.faults if isinstance(error, InvalidRequest) else {}
        if not faults:
            field = "email" if isinstance(error, Conflict) else "password"
            faults = {field: [error.message]}
        return await _page(request, visitor, typed=fields, faults=faults, status=422)
    return go_to(PATH, visitor.config, notice=visitor.voice.say("{name} may sign in.", name=name))


@router.post("/{user_id}/password")
async def change_password(request: Request, visitor: Admin, user_id: UUID) -> Response:
    """Set a new password; every session of the person ends."""
    fields = await read_fields(request)
    password = fields.exact("password", longest=LONGEST_PASSWORD)
    await accounts.change_password(
        visitor.db, team=visitor.team, actor=visitor.actor, user_id=user_id, password=password
    )
    return go_to(PATH, visitor.config, notice=visitor.voice.say("The password is changed."))


@router.post("/{user_id}/remove")
async def remove_person(visitor: Admin, user_id: UUID) -> Response:
    """Remove a person, and what is known of them."""
    await accounts.remove_user(visitor.db, team=visitor.team, actor=visitor.actor, user_id=user_id)
    return go_to(PATH, visitor.config, notice=visitor.voice.say("The person is removed."))


async def _page(
    request: Request,
    visitor: Visitor,
    *,
    typed: Fields | None = None,
    faults: Mapping[str, list[str]] | None = None,
    status: int = 200,
) -> Response:
    return settings_page(
        request,
        visitor,
        "settings_people.html",
        section="/people",
        rows=await users.list_users(visitor.db, team=visitor.team),
        scopes=SCOPES,
        chosen=(ADMIN_SCOPE,) if typed is None else typed.texts("scopes"),
        shortest=SHORTEST_PASSWORD,
        typed=typed,
        faults=faults or {},
        status=status,
    )

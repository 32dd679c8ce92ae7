"""The audit log: who changed what, from where, what was before and after; nobody can change it."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from batchyard.dashboard.settings_frame import settings_page
from batchyard.dashboard.visitors import Visitor, needs
from batchyard.operations import audit, users

PAGE = 50

router = APIRouter(prefix="/settings/audit")

Before = Annotated[int | None, Query(ge=1, le=2**63 - 1)]


@router.get("")
async def show_audit(
    request: Request,
    visitor: Annotated[Visitor, Depends(needs("audit:read"))],
    before: Before = None,
) -> Response:
    """Show the log, the newest first."""
    rows = await audit.list_entries(visitor.db, team=visitor.team, before_id=before, limit=PAGE + 1)
    people = await users.list_users(visitor.db, team=visitor.team)
    return settings_page(
        request,
        visitor,
        "settings_audit.html",
        section="/audit",
        rows=rows[:PAGE],
        next=rows[PAGE - 1].id if len(rows) > PAGE else None,
        before=before,
        # The log names people by their id, so that it need not forget them.
        people={f"user {person.id}": person.name for person in people},
    )

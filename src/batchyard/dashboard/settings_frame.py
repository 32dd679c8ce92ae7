"""What the pages of the settings share: their tabs, and who sees which."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Request
from fastapi.responses import Response

from batchyard.dashboard.frame import Place, frame_of, go_to
from batchyard.dashboard.visitors import READ, Visitor, needs
from batchyard.operations.access import ADMIN_SCOPE

PLACE = Place(name="Settings", path="/settings", icon="settings")
ADMIN = needs(ADMIN_SCOPE)

router = APIRouter(prefix="/settings")


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A page of the settings."""

    name: str
    path: str
    """Behind the address of the settings."""
    scope: str


SECTIONS = (
    Section(name="Providers and routes", path="/providers", scope="batches:read"),
    Section(name="Team and limits", path="/limits", scope="batches:read"),
    Section(name="Webhooks", path="/webhooks", scope="webhooks"),
    Section(name="Do not contact", path="/do-not-contact", scope="contacts"),
    Section(name="Tokens", path="/tokens", scope=ADMIN_SCOPE),
    Section(name="People", path="/people", scope=ADMIN_SCOPE),
    Section(name="Audit log", path="/audit", scope="audit:read"),
)


@router.get("")
async def show_settings(visitor: Annotated[Visitor, READ]) -> Response:
    """Go to the first page."""
    return go_to("/settings/providers", visitor.config)


def settings_page(
    request: Request,
    visitor: Visitor,
    template: str,
    *,
    section: str,
    status: int = 200,
    **context: object,
) -> Response:
    """Answer with one of the pages; `section` is its path."""
    return frame_of(request).page(
        request,
        visitor,
        template,
        status=status,
        sections=[one for one in SECTIONS if visitor.may(one.scope)],
        section=section,
        **context,
    )

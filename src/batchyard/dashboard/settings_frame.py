"""What the pages of the settings share: their tabs, and who sees which."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Request
from fastapi.responses import Response

from batchyard.dashboard.frame import Place, frame_of, go_to
from batchyard.dashboard.visitors import ANYBODY, Visitor, needs
from batchyard.errors import NotFound
from batchyard.operations.access import ADMIN_SCOPE

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
PLACE = Place(
    name="Settings",
    path="/settings",
    icon="settings",
    scopes=tuple(dict.fromkeys(section.scope for section in SECTIONS)),
)


@router.get("")
async def show_settings(visitor: Annotated[Visitor, ANYBODY]) -> Response:
    """Go to the first page that the person may see."""
    sections = _sections_of(visitor)
    if not sections:
        raise NotFound("Your account may see none of the settings.")
    return go_to(f"{PLACE.path}{sections[0].path}", visitor.config)


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
        sections=_sections_of(visitor),
        section=section,
        **context,
    )


def _sections_of(visitor: Visitor) -> Sequence[Section]:
    return [section for section in SECTIONS if visitor.may(section.scope)]

"""The dashboard, all its pages under `/ui`."""

from types import ModuleType
from typing import Annotated

from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response

from batchyard.config import Config
from batchyard.dashboard import (
    batch_events,
    batch_items,
    batch_settings,
    batches,
    faults,
    item,
    item_deeds,
    new_batch,
    overview,
    papers,
    refused,
    rehearsal,
    results,
    settings_audit,
    settings_contacts,
    settings_frame,
    settings_limits,
    settings_people,
    settings_providers,
    settings_retention,
    settings_rules,
    settings_tokens,
    settings_webhooks,
    sign_in,
    steering,
)
from batchyard.dashboard.frame import STATIC, Assets, Frame, frame_of
from batchyard.dashboard.guard import Guard
from batchyard.dashboard.visitors import ANYBODY, PREFIX, Visitor
from batchyard.errors import Forbidden
from batchyard.store.db import Database
from batchyard.store.files import FileStore

PAGES: tuple[ModuleType, ...] = (
    sign_in,
    overview,
    batches,
    new_batch,
    batch_items,
    rehearsal,
    refused,
    results,
    batch_events,
    batch_settings,
    steering,
    item,
    item_deeds,
    papers,
    settings_frame,
    settings_providers,
    settings_limits,
    settings_rules,
    settings_retention,
    settings_webhooks,
    settings_contacts,
    settings_tokens,
    settings_people,
    settings_audit,
)
"""Each has a `router`; one with a `PLACE` stands in the navigation, in this order."""


def build_pages(config: Config, db: Database) -> FastAPI:
    """Return the application of all pages; its routes carry their whole path."""
    door = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    places = [page.PLACE for page in PAGES if hasattr(page, "PLACE")]
    door.state.config = config
    door.state.db = db
    door.state.files = FileStore(config)
    door.state.frame = Frame(places, base_url=config.callback_base)
    faults.install(door)
    for page in PAGES:
        door.include_router(page.router, prefix=PREFIX)
    door.mount(f"{PREFIX}/static", Assets(directory=STATIC), name="static")

    async def go_to_dashboard() -> Response:
        return RedirectResponse(f"{PREFIX}/", status_code=303)

    for path in ("/", PREFIX):
        door.add_api_route(path, go_to_dashboard, methods=["GET"])
    door.add_api_route(f"{PREFIX}/", go_home, methods=["GET"])
    return door


async def go_home(request: Request, visitor: Annotated[Visitor, ANYBODY]) -> Response:
    """Go to the first page that the person may see."""
    places = frame_of(request).places_of(visitor)
    if not places:
        raise Forbidden("Your account may see no page; ask an administrator for more.")
    return RedirectResponse(f"{PREFIX}{places[0].path}", status_code=303)


def build_door(config: Config, db: Database) -> Guard:
    """Return the door as the server mounts it."""
    return Guard(build_pages(config, db), config)

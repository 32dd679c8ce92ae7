"""The operator API, all its routes under `/api/v1`."""

from collections.abc import Callable

from fastapi import FastAPI

import batchyard
from batchyard.api.operator import (
    agents,
    batches,
    contacts,
    decisions,
    faults,
    items,
    live,
    mappings,
    numbers,
    people,
    privacy,
    problems,
    reaching,
    rehearsals,
    reports,
    results,
    sender,
    uploads,
    users,
    webhooks,
)
from batchyard.api.operator.bodies import Bodies
from batchyard.config import Config
from batchyard.engine.inbox import Inbox
from batchyard.errors import LimitReached
from batchyard.operations.access import Memory
from batchyard.store.db import Database
from batchyard.store.files import FileStore

PREFIX = "/api/v1"
ROUTERS = (
    items.proving,  # The list that is turned through: a request is matched in this order.
    batches.router,
    uploads.router,
    reports.router,
    mappings.router,
    rehearsals.router,
    decisions.router,
    # Before those of items: its path would be the id of one.
    faults.router,
    items.router,
    reaching.router,
    live.router,
    results.router,
    contacts.router,
    webhooks.router,
    people.router,
    agents.router,
    numbers.router,
    sender.router,
    privacy.router,
    users.router,
)
"""One file for each noun; a new one is added here, and so meets the tests over all routes."""


def _no_inbox() -> Inbox:
    raise LimitReached("The server is starting or stopping.")


def build_door(config: Config, db: Database, *, inbox: Callable[[], Inbox] = _no_inbox) -> FastAPI:
    """Return the door; its routes carry their whole path.

    `inbox` is called for what speaks to providers, once the server has started.
    """
    door = FastAPI(
        title="Batchyard: the operator API",
        version=batchyard.__version__,
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    door.state.config = config
    door.state.db = db
    door.state.memory = Memory()
    door.state.files = FileStore(config)
    door.state.inbox = inbox
    problems.install(door)
    door.add_middleware(Bodies, limit=config.max_body_bytes)
    for router in ROUTERS:
        door.include_router(
            router,
            prefix=PREFIX,
            responses=problems.TOLD,
        )
    return door

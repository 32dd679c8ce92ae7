"""The operator API, all its routes under `/api/v1`."""

from fastapi import Depends, FastAPI

import batchyard
from batchyard.api.operator import (
    batches,
    contacts,
    items,
    live,
    people,
    privacy,
    problems,
    results,
    uploads,
    users,
    webhooks,
)
from batchyard.api.operator.access import bearer
from batchyard.config import Config
from batchyard.store.db import Database
from batchyard.store.files import FileStore

PREFIX = "/api/v1"
ROUTERS = (
    batches.router,
    uploads.router,
    items.router,
    live.router,
    results.router,
    contacts.router,
    webhooks.router,
    people.router,
    privacy.router,
    users.router,
)
"""One file for each noun; a new one is added here, and so meets the tests over all routes."""


def build_door(config: Config, db: Database) -> FastAPI:
    """Return the door; its routes carry their whole path."""
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
    door.state.files = FileStore(config)
    problems.install(door)
    for router in ROUTERS:
        door.include_router(
            router, prefix=PREFIX, dependencies=[Depends(bearer)], responses=problems.TOLD
        )
    return door

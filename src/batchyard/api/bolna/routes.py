"""The door as an application: every call, at the root of the server."""

from fastapi import FastAPI
from starlette.exceptions import HTTPException

import batchyard
from batchyard.api.bolna import answers, document, pages
from batchyard.api.bolna.gate import DoorRoute
from batchyard.api.bolna.routes_agents import router as agents
from batchyard.api.bolna.routes_batches import proving as polled
from batchyard.api.bolna.routes_batches import router as batches
from batchyard.api.bolna.routes_calls import router as calls
from batchyard.api.bolna.speaker import furnish
from batchyard.config import Config
from batchyard.store.db import Database

WRONG_METHODS = {
    "/batches/schedule": ["DELETE", "GET"],
    "/v2/agent/all": ["DELETE", "PATCH", "PUT"],
}
"""Of paths that another one, with an id in it, would take for its own."""


def build_door(config: Config, db: Database) -> FastAPI:
    """Build the application that answers this door's paths."""
    app = FastAPI(
        title=document.TITLE,
        version=batchyard.__version__,
        description=document.DESCRIPTION,
        openapi_tags=document.TAGS,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        separate_input_output_schemas=False,
        generate_unique_id_function=lambda route: route.name,
    )
    answers.install(app)
    furnish(app, config=config, db=db)
    for path, methods in WRONG_METHODS.items():
        app.router.add_api_route(
            path,
            _refuse_method,
            methods=methods,
            include_in_schema=False,
            route_class_override=DoorRoute,
        )
    for router in (polled, batches, calls, agents):
        app.include_router(router, dependencies=document.COMMON_DEPENDENCIES)
    pages.install(app)
    app.openapi = lambda: document.describe(app)  # type: ignore[method-assign]  # as FastAPI says
    return app


async def _refuse_method() -> None:
    raise HTTPException(405)

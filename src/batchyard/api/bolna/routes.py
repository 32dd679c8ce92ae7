"""The door as an application: every call, at the root of the server."""

from fastapi import APIRouter, FastAPI
from starlette.exceptions import HTTPException

import batchyard
from batchyard.api.bolna import answers, document, pages
from batchyard.api.bolna.gate import DoorRoute
from batchyard.api.bolna.routes_agents import router as agents
from batchyard.api.bolna.routes_batches import router as batches
from batchyard.api.bolna.routes_calls import router as calls
from batchyard.api.bolna.speaker import furnish
from batchyard.config import Config
from batchyard.store.db import Database

POST_ONLY = "/batches/schedule"
GET_ONLY = "/v2/agent/all"
"""Paths that a variable part of another path would take as well."""


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
    app.include_router(_wrong_methods)
    for router in (batches, calls, agents):
        app.include_router(router, dependencies=document.COMMON_DEPENDENCIES)
    pages.install(app)
    return app


_wrong_methods = APIRouter(route_class=DoorRoute, include_in_schema=False)


@_wrong_methods.api_route(POST_ONLY, methods=["DELETE", "GET"])
@_wrong_methods.api_route(GET_ONLY, methods=["DELETE", "PATCH", "PUT"])
async def refuse_method() -> None:
    """Keep such a path from being taken for an id."""
    raise HTTPException(405)

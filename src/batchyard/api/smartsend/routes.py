"""The Smart Send door: its calls, what they share, and its document (contract, sections 1 to 6)."""

import asyncio

from fastapi import FastAPI

import batchyard
from batchyard.api.smartsend import batch_routes, document_routes, faults, shipment_routes
from batchyard.api.smartsend.catalogue import Offers
from batchyard.api.smartsend.document import describe
from batchyard.api.smartsend.gate import LARGE_AT_ONCE, Frame
from batchyard.config import Config
from batchyard.operations.bookings import Endings
from batchyard.store.db import Database
from batchyard.store.files import FileStore


def build_door(config: Config, db: Database) -> FastAPI:
    """Return the door; its routes carry their whole path."""
    door = FastAPI(
        title="Batchyard: the Smart Send door",
        version=batchyard.__version__,
        openapi_url="/api/v2/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        strict_content_type=False,
        separate_input_output_schemas=False,
        generate_unique_id_function=lambda route: route.name,
    )
    door.state.db = db
    door.state.config = config
    door.state.offers = Offers(db)
    door.state.endings = Endings(db)
    door.state.files = FileStore(config)
    door.state.document_key = None
    door.state.large_bodies = asyncio.Semaphore(LARGE_AT_ONCE)
    faults.install(door)
    door.add_middleware(Frame)
    door.include_router(batch_routes.router)
    door.include_router(shipment_routes.router)
    door.include_router(document_routes.router)
    door.include_router(document_routes.signed)
    door.openapi = describe(door)  # type: ignore[method-assign]  # as FastAPI's manual says
    return door

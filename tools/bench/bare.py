"""Bare Starlette routes that send what PostgreSQL rendered, by the very statements of the doors.

No access, no versions, no pages described: what is left is PostgreSQL, the pool and the socket.
"""

import argparse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from batchyard.api.bolna import queries as bolna
from batchyard.api.bolna.translate import DEFAULT_VERSION
from batchyard.api.operator import item_queries as operator
from batchyard.api.smartsend import queries as smartsend
from batchyard.cursors import read_cursor
from batchyard.store.db import Database
from batchyard.store.item_filters import NO_FILTERS

GRACE = timedelta(hours=1)


def build(db: Database) -> Starlette:
    """Build the routes; each takes in its query what the door takes."""

    async def calls(request: Request) -> Response:
        asked = request.query_params
        view = bolna.View(
            team_id=int(asked["team"]), version=DEFAULT_VERSION, now=db.clock(), unknown_grace=GRACE
        )
        size = int(asked["page_size"]) if "page_size" in asked else None
        body = await bolna.list_batches(
            db,
            view=view,
            agent_id=UUID(asked["agent"]),
            page=None if size is None else bolna.Page(number=1, size=size),
        )
        return _json(body or b"")

    async def shipments(request: Request) -> Response:
        asked = request.query_params
        async with db.pool.connection() as conn:
            found = await smartsend.list_batches(
                conn,
                team_id=int(asked["team"]),
                state=None,
                page=smartsend.Page(number=int(asked["page"]), size=int(asked["per_page"])),
                lost_before=db.clock() - GRACE,
            )
        return _json(found.json.encode())

    async def items(request: Request) -> Response:
        asked = request.query_params
        after = read_cursor(asked["cursor"], length=3) or []
        batch_id, position, item_id = (str(value) for value in after)
        place = operator.Place(
            batch_id=UUID(batch_id), position=int(position), item_id=UUID(item_id)
        )
        async with db.pool.connection() as conn:
            rows = await operator.list_items(
                conn,
                NO_FILTERS,
                team_id=int(asked["team"]),
                batch_id=UUID(asked["batch_id"]),
                after=place,
                limit=int(asked["limit"]),
            )
        return _json(",".join([row[0] for row in rows]).encode())

    @asynccontextmanager
    async def opened(_: object) -> AsyncIterator[None]:
        await db.open()
        yield
        await db.close()

    routes = [Route("/calls", calls), Route("/shipments", shipments), Route("/items", items)]
    return Starlette(routes=routes, lifespan=opened)


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args()
    uvicorn.run(
        build(Database(given.url)),
        port=given.port,
        log_level="error",
        http="httptools",
        loop="uvloop",
        access_log=False,
        server_header=False,
    )

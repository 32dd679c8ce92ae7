"""The OpenAPI document, and that the running door keeps it whatever it is sent."""

import asyncio
import os
import socket
import sys
from pathlib import Path

import uvicorn
from fastapi.routing import APIRoute

from batchyard.api.operator.routes import PREFIX, ROUTERS, build_door
from batchyard.config import Config
from batchyard.models import Kind
from batchyard.operations import access
from batchyard.store.db import Database
from tests import factories
from tests.api.operator.conftest import Client

SECONDS = int(os.environ.get("FUZZ_SECONDS") or 12)
"""`make fuzz` takes its time."""
OWN_TOKENS = "/tokens/"
"""A run that revoked its own token would see nothing but 401."""

MORE_THAN_A_SHAPE = "positive_data_acceptance"
"""Whether a number can be called or a file can be read, no shape can say."""


async def test_the_document_names_every_call_with_its_faults_and_its_key(client: Client) -> None:
    document = (await client.http.get(f"{PREFIX}/openapi.json")).json()
    named = {(path, m) for path, calls in document["paths"].items() for m in calls}
    routes = [r for router in ROUTERS for r in router.routes if isinstance(r, APIRoute)]
    assert named == {(PREFIX + r.path_format, m.lower()) for r in routes for m in r.methods or ()}
    for calls in document["paths"].values():
        for call in calls.values():
            assert {"401", "403", "404", "422"} <= set(call["responses"])
            assert "application/problem+json" in call["responses"]["404"]["content"]
            assert call["security"]


async def test_the_running_door_keeps_its_document(db: Database, tmp_path: Path) -> None:
    team = await factories.make_team(db)
    batch_id = await factories.make_batch(db, team=team, kind=Kind.CALL)
    await factories.make_items(db, team=team, batch_id=batch_id, n=3, number="+4520123456")
    token = await access.create_token(db, team=team, name="run", scopes=["admin"])
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(
            build_door(Config(), db),
            log_config=None,
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
    )
    serving = asyncio.create_task(server.serve([listener]))
    try:
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("schemathesis")),
            "run",
            f"http://127.0.0.1:{listener.getsockname()[1]}{PREFIX}/openapi.json",
            *("--header", f"Authorization: Bearer {token}"),
            *("--exclude-path-regex", OWN_TOKENS),
            *("--phases", "examples,coverage,fuzzing"),
            *("--exclude-checks", MORE_THAN_A_SHAPE),
            *("--max-examples", "5", "--max-time", str(SECONDS), "--seed", "1"),
            *("--request-timeout", "60", "--generation-database", "none"),
            *("--no-color", "--continue-on-failure"),
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        told, _ = await process.communicate()
    finally:
        server.should_exit = True
        await serving
    assert process.returncode == 0, told.decode()


async def test_an_address_names_all_its_methods(client: Client) -> None:
    answer = await client.http.put(f"{PREFIX}/batches")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, POST"
    assert answer.headers["content-type"] == "application/problem+json"

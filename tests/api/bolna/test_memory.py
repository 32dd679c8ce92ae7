"""Memory does not grow with the upload, nor with the answer: the short form of a slow proof."""

import json
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from fastapi import FastAPI
from starlette.types import Message

from tests.api.bolna.conftest import AGENT, Caller

ROWS = 5_000
ROW_BYTES = 10_000
ROWS_A_CHUNK = 7
MEGABYTE = 1024 * 1024
HEAD = (
    f'--x\r\nContent-Disposition: form-data; name="agent_id"\r\n\r\n{AGENT}\r\n'
    '--x\r\nContent-Disposition: form-data; name="file"; filename="big.csv"\r\n\r\n'
    "contact_number,note\r\n"
).encode()


async def big_upload() -> AsyncIterator[bytes]:
    yield HEAD
    note = b"x" * (ROW_BYTES - 20)
    for first in range(0, ROWS, ROWS_A_CHUNK):
        rows = range(first, min(first + ROWS_A_CHUNK, ROWS))
        yield b"".join(b"+4520%06d,%s\r\n" % (number, note) for number in rows)
    yield b"\r\n--x--\r\n"


@contextmanager
def peak_below(megabytes: float) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < megabytes * MEGABYTE


async def test_large_upload_and_its_calls_pass_through_little_memory(
    door: FastAPI, caller: Caller
) -> None:
    with peak_below(24):
        answer = await caller.post(
            "/batches",
            content=big_upload(),
            headers={"Content-Type": "multipart/form-data; boundary=x"},
        )
    assert answer.status_code == 200, answer.text
    batch_id = answer.json()["batch_id"]
    batch = (await caller.get(f"/batches/{batch_id}")).json()
    assert batch["valid_contacts"] == batch["total_contacts"] == ROWS

    # The client of the other tests collects the body, so this one speaks to the door itself.
    received = 0

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        nonlocal received
        received += len(message.get("body", b""))

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "method": "GET",
        "path": f"/batches/{batch_id}/executions",
        "query_string": b"",
        "headers": [(b"authorization", f"Bearer {caller.token}".encode())],
    }
    with peak_below(24):
        await door(scope, receive, send)
    assert received > ROWS * ROW_BYTES


async def test_calls_in_blocks_are_one_json_array(caller: Caller) -> None:
    rows = "".join(f"+4520{number:06d}\n" for number in range(1_200))
    batch_id = await caller.upload_batch("contact_number\n" + rows)
    body = (await caller.get(f"/batches/{batch_id}/executions")).content
    assert len(json.loads(body)) == 1_200

"""Golden refusals: every call, and everything that the document says it is refused for.

One line each in `golden/`, recorded as the story is.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import Message

from batchyard.api.bolna.forms import MAX_FIELDS_BYTES
from batchyard.api.bolna.keyed import KEY_HEADER
from batchyard.api.bolna.speaker import VERSION_HEADER
from batchyard.store.db import Database
from tests.api.bolna.conftest import AGENT, CSV, NOBODY, Caller
from tests.api.bolna.test_agents import place
from tests.api.bolna.test_golden import (
    CALL,
    CONFIG,
    FOLDER,
    KEY_IN_USE,
    MUST_RECORD,
    TOO_LARGE,
    Document,
    Step,
    fill,
    headers_of,
    send,
)
from tests.factories import make_agent

VERSIONS = ("2024-01", "2026-08")

NEW_AGENT = {"json": {"agent_config": CONFIG}}
SCHEDULE = {"data": {"batch_id": "{batch}", "scheduled_at": "2999-01-01T00:00:00Z"}}
BODIES: Mapping[str, Mapping[str, object]] = {
    "POST /batches": {
        "data": {"agent_id": "{agent}"},
        "files": {"file": ("a.csv", CSV, "text/csv")},
    },
    "POST /batches/schedule": SCHEDULE,
    "POST /batches/{batch}/schedule": SCHEDULE,
    "POST /v2/agent": NEW_AGENT,
    "PUT /v2/agent/{agent}": NEW_AGENT,
    "PATCH /v2/agent/{agent}": NEW_AGENT,
    "POST /call": {"json": CALL},
}
SMALL_FORMS = ("POST /batches/schedule", "POST /batches/{batch}/schedule")
UNKNOWN = {"agent": "{theirs}", "batch": "{nobody}", "execution": "{nobody}"}

NEVER = {
    "GET /user/me: 404": "a token has a team",
    "GET /phone-numbers/all: 404": "names nothing",
    "GET /v2/agent/all: 404": "names nothing",
    "POST /v2/agent: 404": "names nothing",
}
"""Documented, since all calls share these, but nothing provokes it; and why."""


def refusals(document: Mapping[str, Any]) -> Iterator[Step]:
    """Yield each call with each thing that is wrong with it."""
    for template, item in document["paths"].items():
        path = template.replace("_id}", "}")
        for method, call in item.items():
            name = f"{method.upper()} {path}"
            for what, given in _wrongs(name, call):
                yield f"{name}: {what}", method.upper(), path, given
            if f"{name}: 404" not in NEVER:
                unknown = fill(BODIES.get(name, {}), UNKNOWN)
                yield f"{name}: unknown", method.upper(), fill(path, UNKNOWN), unknown
        wrong = "POST" if "post" not in item else "PATCH"
        yield f"{wrong} {path}: unknown method", wrong, path, {}


def _wrongs(name: str, call: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, object]]]:
    body = BODIES.get(name, {})
    yield "unknown version", {**body, "headers": {VERSION_HEADER: "1999-01"}}
    yield "unknown token", {**body, "headers": {"Authorization": "Bearer x"}}
    if any(parameter["name"] == KEY_HEADER for parameter in call["parameters"]):
        yield "key in use", {**body, "headers": {KEY_HEADER: KEY_IN_USE}}
        yield "key too short", {**body, "headers": {KEY_HEADER: "x"}}
    if name in SMALL_FORMS:
        yield "too large", {"content": b"x" * (MAX_FIELDS_BYTES + 1)}
    elif "413" in call["responses"]:
        yield "too large", {**body, "headers": TOO_LARGE}


@pytest.mark.parametrize("version", VERSIONS)
async def test_every_refusal_is_as_recorded(
    caller: Caller, stranger: Caller, db: Database, version: str
) -> None:
    caller.headers[VERSION_HEADER] = version
    ids = {
        "agent": AGENT,
        "batch": (await caller.upload_batch()).hex,
        "execution": await place(caller, AGENT),
        "theirs": str(await make_agent(db, team=stranger.team)),
        "nobody": NOBODY,
    }
    document = (await caller.get("/openapi.json")).json()
    told = []
    for name, method, path, given in refusals(document):
        filled = fill(path, ids)
        answer = await send(caller, db, method, filled, fill(given, ids))
        Document(document).check(method, filled, answer.status_code, answer.json())
        told.append(" ".join([f"{name} -> {answer.status_code}", *_told(answer), answer.text]))
    file = FOLDER / f"{version}-refusals.txt"
    if MUST_RECORD:
        file.write_text("\n".join([*told, ""]), encoding="utf-8")
    assert told == file.read_text(encoding="utf-8").splitlines()


async def test_every_status_of_every_call_is_exchanged(caller: Caller) -> None:
    document = (await caller.get("/openapi.json")).json()
    exchanged = set(_recorded())
    refused_methods = {path for _, path, status in exchanged if status == "405"}
    missing = {
        f"{method.upper()} {path.replace('_id}', '}')}: {status}"
        for path, item in document["paths"].items()
        for method, call in item.items()
        for status in call["responses"]
        if (method.upper(), _pattern(path), status) not in exchanged
        and not (status == "405" and _pattern(path) in refused_methods)
    }
    assert sorted(missing) == sorted(NEVER)


def _told(answer: httpx.Response) -> list[str]:
    return [f"{name}={text}" for name, text in headers_of(answer).items()]


def _recorded() -> Iterator[tuple[str, str, str]]:
    """Yield method, path and status of each exchange, of the story too."""
    for version in VERSIONS:
        story = json.loads((FOLDER / f"{version}.json").read_text(encoding="utf-8"))
        for told in story.values():
            method, _, path = told["request"].partition(" ")
            yield method, _pattern(path), str(told["status"])
        lines = (FOLDER / f"{version}-refusals.txt").read_text(encoding="utf-8")
        for method, path, status in re.findall(
            r"^([A-Z]+) (\S+): .*? -> (\d{3}) ", lines, re.MULTILINE
        ):
            yield method, _pattern(path), status


def _pattern(path: str) -> str:
    """Return a path with a star for each id."""
    return re.sub(r"\{\w+\}", "*", path.partition("?")[0])


@pytest.mark.parametrize(
    "path,content_type",
    [
        ("/batches", "multipart/form-data; boundary=x"),
        ("/batches/schedule", "application/x-www-form-urlencoded"),
        (f"/batches/{NOBODY}/schedule", "multipart/form-data; boundary=x"),
        (f"/batches/{NOBODY}/stop", "application/json"),
        ("/call", "application/json"),
    ],
)
async def test_client_that_goes_away_is_no_fault_of_ours(
    door: FastAPI, caller: Caller, path: str, content_type: str
) -> None:
    messages: list[Message] = [
        {"type": "http.request", "body": b"{", "more_body": True},
        {"type": "http.disconnect"},
    ]
    statuses: list[int] = []

    async def receive() -> Message:
        return messages.pop(0) if len(messages) > 1 else messages[0]

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "headers": [
            (b"authorization", f"Bearer {caller.token}".encode()),
            (b"content-type", content_type.encode()),
        ],
    }
    # An error that the door does not know is raised on, and the server logs it.
    await door(scope, receive, send)
    assert statuses == [400]

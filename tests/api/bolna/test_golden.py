"""Golden exchanges: one story through every call and error, told in both versions.

Recorded answers are in `golden/`; `BATCHYARD_RECORD=1` writes them anew, to be read before they
are committed. Each answer is held against the OpenAPI document as well.
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from batchyard.operations.numbers import put_numbers
from batchyard.store import idempotency
from batchyard.store.db import Database
from tests.api.bolna.conftest import AGENT, NOBODY, Caller
from tests.api.bolna.test_control import run

FOLDER = Path(__file__).parent / "golden"
MUST_RECORD = os.environ.get("BATCHYARD_RECORD") == "1"

CSV = "contact_number,first_name\n+4520123456,Ane\n12345,Bo\n+4520123457,Cy\n"
CALL = {
    "agent_id": "{agent}",
    "recipient_phone_number": "+4520123456",
    "user_data": {"first_name": "Ane"},
    "retry_config": {"enabled": True},
}
CONFIG = {
    "agent_name": "Alfred",
    "webhook_url": "https://example.com/calls",
    "calling_guardrails": {"call_start_hour": 9, "call_end_hour": 17},
    "tasks": [{"task_type": "conversation"}],
}

KEY_IN_USE = "golden-key-in-use"
KEY = {"Idempotency-Key": "golden-key-0000000"}
TOO_LARGE = {"Content-Length": str(10**13)}
"""It is enough to announce so much."""

Step = tuple[str, str, str, Mapping[str, object]]
STORY: list[Step] = [
    ("agent is made", "POST", "/v2/agent", {"json": {"agent_config": CONFIG}}),
    ("agent without a name", "POST", "/v2/agent", {"json": {"agent_config": {}}}),
    ("agent read", "GET", "/v2/agent/{agent}", {}),
    ("agent unknown", "GET", "/v2/agent/{nobody}", {}),
    ("agent changed", "PATCH", "/v2/agent/{agent}", {"json": {"agent_config": {"tasks": []}}}),
    ("agent replaced", "PUT", "/v2/agent/{agent}", {"json": {"agent_config": CONFIG}}),
    ("agents listed", "GET", "/v2/agent/all", {}),
    (
        "list uploaded",
        "POST",
        "/batches",
        {
            "data": {"agent_id": "{agent}", "from_phone_number": "+19876543007"},
            "files": {"file": ("customers.csv", CSV, "text/csv")},
        },
    ),
    (
        "list without its column",
        "POST",
        "/batches",
        {"data": {"agent_id": "{agent}"}, "files": {"file": ("a.csv", "phone\n1\n", "text/csv")}},
    ),
    (
        "list from a number that is none",
        "POST",
        "/batches",
        {
            "data": {"agent_id": "{agent}", "from_phone_number": "123"},
            "files": {"file": ("a.csv", CSV, "text/csv")},
        },
    ),
    ("list as JSON", "POST", "/batches", {"json": {}}),
    (
        "list without its agent",
        "POST",
        "/batches",
        {"files": {"file": ("a.csv", CSV, "text/csv")}},
    ),
    (
        "list of an agent that is none",
        "POST",
        "/batches",
        {"data": {"agent_id": "seven"}, "files": {"file": ("a.csv", CSV, "text/csv")}},
    ),
    (
        "list without its file",
        "POST",
        "/batches",
        {"data": {"agent_id": "{agent}"}, "files": {"other": (None, "x")}},
    ),
    (
        "list without a data row",
        "POST",
        "/batches",
        {
            "data": {"agent_id": "{agent}"},
            "files": {"file": ("a.csv", "contact_number,first_name\n", "text/csv")},
        },
    ),
    (
        "list that is no CSV",
        "POST",
        "/batches",
        {
            "data": {"agent_id": "{agent}"},
            "files": {"file": ("a.csv", b"PK\x03\x04" + bytes(100), "text/csv")},
        },
    ),
    (
        "list with wrong retries",
        "POST",
        "/batches",
        {
            "data": {"agent_id": "{agent}", "retry_config": '{"retry_on_statuses": ["lost"]}'},
            "files": {"file": ("a.csv", CSV, "text/csv")},
        },
    ),
    (
        "list that is too large",
        "POST",
        "/batches",
        {"files": {"file": ("a.csv", CSV, "text/csv")}, "headers": TOO_LARGE},
    ),
    ("batch read", "GET", "/batches/{batch}", {}),
    ("batch unknown", "GET", "/batches/{nobody}", {}),
    ("batches of the agent", "GET", "/batches/{agent}/all", {}),
    ("batches of an unknown agent", "GET", "/batches/{nobody}/all", {}),
    ("batches on a page that is none", "GET", "/batches/{agent}/all?page_number=0", {}),
    ("executions", "GET", "/batches/{batch}/executions", {}),
    ("executions by page", "GET", "/batches/{batch}/executions?page_size=1", {}),
    ("refused rows", "GET", "/batches/{batch}/errors.csv", {}),
    (
        "scheduled too soon",
        "POST",
        "/batches/{batch}/schedule",
        {"data": {"scheduled_at": "2020-01-01T00:00:00Z"}},
    ),
    ("scheduled without a time", "POST", "/batches/{batch}/schedule", {"data": {"x": "1"}}),
    (
        "scheduled too late",
        "POST",
        "/batches/{batch}/schedule",
        {"data": {"scheduled_at": "2999-01-01T00:00:00Z"}},
    ),
    ("stopped before it was scheduled", "POST", "/batches/{batch}/stop", {}),
    ("scheduled", "POST", "/batches/{batch}/schedule", {"data": {"scheduled_at": "{soon}"}}),
    (
        "scheduled in the old form",
        "POST",
        "/batches/schedule",
        {"data": {"scheduled_at": "{soon}", "batch_id": "{batch}"}},
    ),
    ("batch scheduled", "GET", "/batches/{batch}", {}),
    ("stopped", "POST", "/batches/{batch}/stop", {}),
    ("batch stopped", "GET", "/batches/{batch}", {}),
    (
        "scheduled after it was stopped",
        "POST",
        "/batches/{batch}/schedule",
        {"data": {"scheduled_at": "{soon}"}},
    ),
    ("deleted", "DELETE", "/batches/{batch}", {}),
    ("deleted again", "DELETE", "/batches/{batch}", {}),
    ("call made", "POST", "/call", {"json": CALL}),
    (
        "call to a number that is none",
        "POST",
        "/call",
        {"json": {**CALL, "recipient_phone_number": "12"}},
    ),
    ("call of an unknown agent", "POST", "/call", {"json": {**CALL, "agent_id": NOBODY}}),
    (
        "call with wrong retries",
        "POST",
        "/call",
        {"json": {**CALL, "retry_config": {"max_retries": 9}}},
    ),
    ("call read", "GET", "/executions/{execution}", {}),
    ("call unknown", "GET", "/executions/{nobody}", {}),
    ("calls of the agent", "GET", "/v2/agent/{agent}/executions", {}),
    ("call stopped", "POST", "/call/{execution}/stop", {}),
    ("call stopped again", "POST", "/call/{execution}/stop", {}),
    ("agent stopped", "POST", "/v2/agent/{agent}/stop", {}),
    ("agent stopped by key", "POST", "/v2/agent/{agent}/stop", {"json": {}, "headers": KEY}),
    ("agent stopped by key again", "POST", "/v2/agent/{agent}/stop", {"json": {}, "headers": KEY}),
    ("key of another body", "POST", "/v2/agent/{agent}/stop", {"json": {"x": 1}, "headers": KEY}),
    (
        "key in use",
        "POST",
        "/v2/agent/{agent}/stop",
        {"headers": {"Idempotency-Key": KEY_IN_USE}},
    ),
    (
        "key that is too short",
        "POST",
        "/v2/agent/{agent}/stop",
        {"headers": {"Idempotency-Key": "x"}},
    ),
    ("user", "GET", "/user/me", {}),
    ("numbers", "GET", "/phone-numbers/all", {}),
    ("agent deleted", "DELETE", "/v2/agent/{agent}", {}),
    ("denied", "GET", "/user/me", {"headers": {"Authorization": "Bearer x"}}),
    ("unknown path", "GET", "/batches/a/b/c", {}),
    ("unknown method", "PUT", "/batches/{batch}", {}),
]

TOLD_HEADERS = ("allow", "idempotency-replayed", "retry-after", "www-authenticate")
UNSTABLE = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "<time>"),
    (re.compile(r'("humanized_\w+" ?: ?)"[^"]*"'), r'\1"<age>"'),
)


def fill(value: Any, ids: Mapping[str, str]) -> Any:  # noqa: ANN401  # any JSON
    """Put the ids of this run where the story names them."""
    if isinstance(value, str):
        for name, text in ids.items():
            value = value.replace(f"{{{name}}}", text)
        return value
    if isinstance(value, Mapping):
        return {key: fill(inner, ids) for key, inner in value.items()}
    return value


def stable(text: str, ids: Mapping[str, str]) -> str:
    for name, one in ids.items():
        for written in (one, one.replace("-", "")):
            text = text.replace(written, f"<{name}>")
    for pattern, word in UNSTABLE:
        text = pattern.sub(word, text)
    return re.sub(r'("id" ?: ?)"[0-9a-f-]{32,36}"', r'\1"<id>"', text)


def learn(name: str, body: Mapping[str, str], ids: dict[str, str]) -> None:
    if name == "agent is made":
        ids["agent"] = body["agent_id"]
    elif name == "list uploaded":
        ids["batch"] = body["batch_id"]
    elif name == "call made":
        ids["execution"] = body["execution_id"]


async def send(
    caller: Caller, db: Database, method: str, path: str, given: Mapping[str, object]
) -> httpx.Response:
    """Send a request while another one with the key in use is still running."""
    async with db.transaction() as conn:
        await conn.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        await idempotency.lock(conn, team_id=caller.team.id, key=KEY_IN_USE)
        return await caller.send(method, path, **given)


def headers_of(answer: httpx.Response) -> dict[str, str]:
    return {name: answer.headers[name] for name in TOLD_HEADERS if name in answer.headers}


class Document:
    """The OpenAPI document, to hold answers against."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document

    def check(self, method: str, path: str, status: int, body: object) -> None:
        for template, item in self._document["paths"].items():
            pattern = re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template))
            if not re.fullmatch(pattern, path.partition("?")[0]) or method.lower() not in item:
                continue
            told = item[method.lower()]["responses"][str(status)]
            schema = told["content"]["application/json"]["schema"]
            root = {**schema, "components": self._document["components"]}
            jsonschema.validate(body, root, cls=jsonschema.Draft202012Validator)
            return


@pytest.mark.parametrize("version", ["2024-01", "2026-08"])
async def test_every_exchange_is_as_recorded(caller: Caller, db: Database, version: str) -> None:
    caller.headers["Bolna-Version"] = version
    await put_numbers(db, team=caller.team, texts=["+4520000001"])
    ids = {"nobody": NOBODY, "agent": AGENT, "soon": "", "team": str(caller.team.uuid)}
    ((soon,),) = await run(
        db, "SELECT to_char(now() + interval '1 day', 'YYYY-MM-DD\"T\"12:00:00\"Z\"')"
    )
    ids["soon"] = str(soon)
    document = Document((await caller.get("/openapi.json")).json())
    told: dict[str, object] = {}
    for name, method, path, given in STORY:
        filled = fill(path, ids)
        answer = await send(caller, db, method, filled, fill(given, ids))
        is_json = answer.headers["content-type"] == "application/json"
        if is_json:
            learn(name, answer.json(), ids)
            document.check(method, filled, answer.status_code, answer.json())
        known = {key: text for key, text in ids.items() if key != "soon"}
        body = stable(answer.text.lstrip("\ufeff"), known)
        headers = headers_of(answer)
        told[name] = {
            "request": f"{method} {path}",
            "status": answer.status_code,
            **({"headers": headers} if headers else {}),
            "body": json.loads(body) if is_json else body,
        }
    file = FOLDER / f"{version}.json"
    if MUST_RECORD:
        FOLDER.mkdir(exist_ok=True)
        file.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    recorded = json.loads(file.read_text(encoding="utf-8"))
    assert told.keys() == recorded.keys()
    for name, exchange in told.items():
        assert exchange == recorded[name], name


async def test_story_goes_through_every_call(caller: Caller) -> None:
    document = (await caller.get("/openapi.json")).json()
    told = {f"{method} {path.split('?')[0]}" for _, method, path, _ in STORY}
    names = {"agent_id": "{agent}", "batch_id": "{batch}", "execution_id": "{execution}"}
    for path, item in document["paths"].items():
        for method in item:
            written = path
            for parameter, name in names.items():
                written = written.replace(f"{{{parameter}}}", name)
            assert f"{method.upper()} {written}" in told

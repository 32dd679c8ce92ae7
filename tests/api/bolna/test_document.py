"""The OpenAPI document is what the door does: held against it by schemathesis, all checks."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from batchyard.api.bolna.wire import EXAMPLE_ID
from batchyard.api.bolna.wire_calls import Status
from tests.api.bolna.conftest import Caller
from tests.api.documents import ungrouped, without_example
from tests.api.serving import TOKEN, serving

SETTINGS = Path(__file__).with_name("schemathesis.toml")
TESTED = Path(sys.executable).with_name("st")
SEED = "1"

SEEDS = (
    """
    INSERT INTO agents (id, team_id, name, config, created_at, updated_at)
    SELECT %(id)s, id, 'Alfred', '{}', now(), now() FROM teams
    """,
    """
    INSERT INTO batches (id, team_id, kind, state, agent_id, total_rows, columns, created_at,
                         updated_at)
    SELECT %(id)s, id, 'call', 'open', %(id)s, 1, '{contact_number}', now(), now() FROM teams
    """,
    """
    INSERT INTO items (id, batch_id, team_id, due_at, updated_at)
    SELECT %(id)s, %(id)s, id, now(), now() FROM teams
    """,
    """
    INSERT INTO item_data (item_id, batch_id, position, number, payload, created_at)
    VALUES (%(id)s, %(id)s, 2, '+4520123456', '{}', now())
    """,
)
"""An agent, a batch and a call with the id that the document's examples have."""


async def read_document(caller: Caller) -> dict[str, Any]:
    document: dict[str, Any] = (await caller.get("/openapi.json")).json()
    return document


async def test_document_names_every_call_in_a_group(caller: Caller) -> None:
    document = await read_document(caller)
    groups = {tag["name"] for tag in document["tags"]}
    assert groups == {"Batches", "Calls", "Agents", "Account"}
    calls = [
        (method.upper(), path, call)
        for path, item in document["paths"].items()
        for method, call in item.items()
    ]
    assert len(calls) == 22
    for method, path, call in calls:
        assert set(call["tags"]) & groups, path
        assert call["security"] == [{"HTTPBearer": []}], path
        assert {"400", "401", "403", "404", "405"} <= call["responses"].keys(), path
        names = {parameter["name"] for parameter in call["parameters"]}
        assert "Bolna-Version" in names, path
        assert ("Idempotency-Key" in names) == (method == "POST"), path
        assert "_" not in names, path


async def test_document_shows_an_example_of_every_id(caller: Caller) -> None:
    document = await read_document(caller)
    for path, item in document["paths"].items():
        for call in item.values():
            for parameter in call["parameters"]:
                if parameter["in"] == "path":
                    assert EXAMPLE_ID in str(parameter), path


async def test_document_groups_every_call(caller: Caller) -> None:
    assert ungrouped(await read_document(caller)) == []


async def test_document_shows_an_example_of_what_is_sent_and_answered(caller: Caller) -> None:
    assert without_example(await read_document(caller)) == []


async def test_document_names_every_header_of_an_answer(caller: Caller) -> None:
    paths = (await read_document(caller))["paths"]
    batch_id = await caller.upload_batch()
    stop, key = f"/batches/{batch_id.hex}/stop", {"Idempotency-Key": "stop-once-0123456"}
    await caller.post(stop, headers=key)
    for method, path, answer in (
        ("post", "/batches", await caller.upload()),
        ("post", "/batches/{batch_id}/stop", await caller.post(stop, headers=key)),
        (
            "get",
            "/batches/{batch_id}/errors.csv",
            await caller.get(f"/batches/{batch_id}/errors.csv"),
        ),
        ("get", "/user/me", await caller.get("/user/me", headers={"Authorization": ""})),
        ("get", "/user/me", await caller.send("PUT", "/user/me")),
    ):
        described = paths[path][method]["responses"][str(answer.status_code)]["headers"]
        sent = set(answer.headers) - {"content-length", "content-type"}
        assert sent, path
        assert sent <= {name.lower() for name in described}, path


@pytest.mark.parametrize(
    "number", ["+4520123456", "", "+0452012345", "4520123456", "+123456", "+1234567890123456"]
)
async def test_document_describes_the_numbers_an_upload_calls_from(
    caller: Caller, number: str
) -> None:
    call = (await read_document(caller))["paths"]["/batches"]["post"]
    fields = call["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    is_described = re.search(fields["from_phone_number"]["pattern"], number) is not None
    assert (
        fields["from_phone_numbers"]["items"]["pattern"] == fields["from_phone_number"]["pattern"]
    )
    for name in ("from_phone_number", "from_phone_numbers"):
        answer = await caller.upload(**{name: number})
        assert answer.status_code == (200 if is_described else 422), name


async def test_document_knows_every_status_of_a_call() -> None:
    words = set(Status.__args__)  # type: ignore[attr-defined]
    contract = (
        "scheduled prepared queued rescheduled initiated ringing in-progress call-disconnected"
        " completed no-answer busy failed error canceled stopped balance-low"
    )
    assert words == set(contract.split())


async def test_page_shows_the_document_without_any_other_host(caller: Caller) -> None:
    page = await caller.get("/docs", headers={"Authorization": ""})
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "http" not in page.headers["content-security-policy"]
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert [one for one in loaded if not one.startswith(("/docs", "data:"))] == []
    assert sum(one.startswith("/docs/assets/") for one in loaded) == 3
    for path in loaded:
        if path.startswith("/"):
            asset = await caller.get(path, headers={"Authorization": ""})
            assert asset.status_code == 200
            assert asset.content
    start = (await caller.get("/docs/assets/start.js")).text
    assert '"/openapi.json"' in start
    assert "://" not in start


@pytest.mark.acceptance
@pytest.mark.timeout(300)
def test_schemathesis_finds_nothing(database_url: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with serving("serve", database_url=database_url, log=log) as url:
        with psycopg.connect(database_url, autocommit=True) as connection:
            for statement in SEEDS:
                connection.execute(statement.encode(), {"id": EXAMPLE_ID})
        command = [
            *(str(TESTED), "--config-file", str(SETTINGS), "run", f"{url}/openapi.json"),
            *("--header", f"Authorization: Bearer {TOKEN}", "--checks", "all"),
            *("--max-examples", "4", "--seed", SEED, "--warnings", "off", "--no-color"),
            *("--request-timeout", "60"),
        ]
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=280
        )
        assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
        assert "22 selected / 22 total" in done.stdout
        healthy = httpx.get(
            f"{url}/user/me", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30
        )
        assert healthy.status_code == 200
    assert "request.failed" not in log.read_text()
    assert "Traceback" not in log.read_text()

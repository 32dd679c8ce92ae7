"""Uploading a list: parts in any order, every refusal, nothing half-way."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import Message

from batchyard.api.bolna.routes import build_door
from batchyard.config import Config
from batchyard.store.db import Database
from tests.api.bolna.conftest import AGENT, CSV, Caller
from tests.clocks import SetClock

FILE_PART = ("file", ("customers.csv", CSV, "text/csv"))


async def count_batches(db: Database) -> int:
    async with db.pool.connection() as conn:
        row = await (await conn.execute("SELECT count(*) FROM batches")).fetchone()
    assert row is not None
    return int(str(row[0]))


async def test_upload_answers_in_the_words_of_each_version(caller: Caller, modern: Caller) -> None:
    old, new = await caller.upload(), await modern.upload()
    assert (old.status_code, new.status_code) == (200, 201)
    for answer in (old, new):
        assert set(answer.json()) == {"batch_id", "state"}
        assert len(answer.json()["batch_id"]) == 32
        assert answer.json()["state"] == "created"


async def test_parts_come_in_any_order(caller: Caller) -> None:
    parts = [
        ("webhook_url", (None, "https://example.com/hook")),
        FILE_PART,
        ("from_phone_numbers", (None, "+19876543007")),
        ("retry_config", (None, '{"enabled": true}')),
        ("from_phone_numbers", (None, "+19876543008")),
        ("agent_id", (None, AGENT)),
    ]
    for order in (parts, parts[::-1]):
        answer = await caller.post("/batches", files=order)
        assert answer.status_code == 200, answer.text
        batch = (await caller.get(f"/batches/{answer.json()['batch_id']}")).json()
        assert batch["valid_contacts"] == 2
        assert batch["from_phone_number"] == ("+19876543007" if order is parts else "+19876543008")


async def test_retry_config_and_webhook_are_kept(caller: Caller, db: Database) -> None:
    config = {"enabled": True, "max_retries": 2, "retry_intervals_minutes": [5]}
    await caller.upload(retry_config=json.dumps(config), webhook_url="https://example.com/h")
    async with db.pool.connection() as conn:
        cursor = await conn.execute("SELECT retry_policy, webhook_url FROM batches")
        kept = await cursor.fetchone()
    policy = {
        "statuses": ["no-answer", "busy", "failed"],
        "max_retries": 2,
        "intervals_minutes": [5.0],
        "on_voicemail": False,
        "jitter": 0,
    }
    assert kept == (policy, "https://example.com/h")


async def test_invalid_webhook_is_ignored_with_a_warning(caller: Caller, db: Database) -> None:
    answer = await caller.upload(webhook_url="ftp://nowhere")
    assert answer.status_code == 200
    async with db.pool.connection() as conn:
        warnings = await (await conn.execute("SELECT line, code FROM row_warnings")).fetchall()
        address = await (await conn.execute("SELECT webhook_url FROM batches")).fetchone()
    assert warnings == [(None, "webhook_url_ignored")]
    assert address == (None,)


@pytest.mark.parametrize(
    "content,what",
    [
        (b"", "The file is empty."),
        (b"\xef\xbb\xbf\r\n", "The file is empty."),
        (b"phone,name\n+4520123456,Bo\n", "The file has no column contact_number."),
        (b"contact_number,name\n", "The file has no data row."),
        (b"contact_number,name\n,\n\n", "The file has no data row."),
        (b"PK\x03\x04" + bytes(100), "a spreadsheet or an archive"),
        (bytes(range(256)) * 1000, "not a CSV"),
    ],
)
async def test_file_that_is_no_list_is_refused(
    caller: Caller, db: Database, content: bytes, what: str
) -> None:
    answer = await caller.upload(content)
    assert answer.status_code == 400
    assert answer.json()["error"] == 400
    assert what in answer.json()["message"]
    assert await count_batches(db) == 0


@pytest.mark.parametrize(
    "parts,status,what",
    [
        ([FILE_PART], 400, "agent_id is missing."),
        ([FILE_PART, ("agent_id", (None, ""))], 400, "agent_id is missing."),
        ([FILE_PART, ("agent_id", (None, "seven"))], 400, "agent_id is not a UUID."),
        ([("agent_id", (None, "seven")), FILE_PART], 400, "agent_id is not a UUID."),
        ([("agent_id", (None, AGENT))], 400, "file is missing."),
        ([("agent_id", (None, AGENT)), FILE_PART, FILE_PART], 400, "Only one file can be sent."),
        (
            [("agent_id", (None, AGENT)), FILE_PART, ("from_phone_number", (None, "4520123456"))],
            422,
            "from_phone_number",
        ),
        (
            [("agent_id", (None, AGENT)), FILE_PART, ("retry_config", (None, "{"))],
            422,
            "retry_config",
        ),
        (
            [("agent_id", (None, AGENT)), FILE_PART, ("retry_config", (None, '{"max_retries":9}'))],
            422,
            "retry_config.max_retries",
        ),
    ],
)
async def test_wrong_part_is_refused_and_nothing_stays(
    caller: Caller, db: Database, parts: object, status: int, what: str
) -> None:
    answer = await caller.post("/batches", files=parts)
    assert answer.status_code == status
    assert answer.json()["error"] == status
    assert what in answer.json()["message"]
    assert await count_batches(db) == 0


async def test_other_media_type_is_refused(caller: Caller) -> None:
    answer = await caller.post("/batches", json={"agent_id": AGENT})
    assert answer.status_code == 400
    assert answer.json() == {"error": 400, "message": "The body must be multipart/form-data."}


async def test_agent_of_another_team_is_not_found(caller: Caller, stranger: Caller) -> None:
    await caller.upload()
    answer = await stranger.upload()
    assert answer.status_code == 404
    assert answer.json() == {"error": 404, "message": "There is no such agent."}


async def test_unknown_agent_is_not_found_where_none_is_created(
    caller: Caller, db: Database
) -> None:
    app = build_door(Config(bolna_create_agents=False), db)
    strict = Caller(app=app, team=caller.team, token=caller.token)
    assert (await strict.upload()).status_code == 404
    await caller.upload()
    assert (await strict.upload()).status_code == 200


async def test_unassigned_number_is_refused_where_numbers_must_be_valid(
    caller: Caller, db: Database
) -> None:
    app = build_door(Config(phone_check="valid"), db)
    strict = Caller(app=app, team=caller.team, token=caller.token)
    content = "contact_number\n+11112223333\n"
    for client, valid in ((caller, 1), (strict, 0)):
        batch_id = await client.upload_batch(content)
        batch = (await client.get(f"/batches/{batch_id}")).json()
        assert (batch["valid_contacts"], batch["total_contacts"]) == (valid, 1)


@pytest.mark.parametrize("announces", [True, False])
async def test_upload_larger_than_allowed_is_refused(
    caller: Caller, db: Database, announces: bool
) -> None:
    app = build_door(Config(max_upload_bytes=500_000), db)
    small = Caller(app=app, team=caller.team, token=caller.token)
    body = httpx.Request("POST", "http://x", files=[FILE_PART], data={"agent_id": AGENT})
    content = body.read() + b"\r\n" * 300_000

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(content), 10_000):
            yield content[start : start + 10_000]

    headers = {"Content-Type": body.headers["content-type"]}
    answer = await small.post(
        "/batches", content=content if announces else chunks(), headers=headers
    )
    assert answer.status_code == 413
    assert answer.json()["error"] == 413
    assert await count_batches(db) == 0


async def test_body_that_ends_early_leaves_nothing(caller: Caller, db: Database) -> None:
    rows = "".join(f"+4520{number:06d},x\n" for number in range(30_000))
    body = httpx.Request(
        "POST",
        "http://x",
        data={"agent_id": AGENT},
        files={"file": ("a.csv", "contact_number,name\n" + rows)},
    )
    answer = await caller.post(
        "/batches",
        content=body.read()[:-10],
        headers={"Content-Type": body.headers["content-type"]},
    )
    assert answer.status_code == 400
    assert "last boundary" in answer.json()["message"]
    assert await count_batches(db) == 0


async def test_client_that_goes_away_leaves_nothing(
    door: FastAPI, caller: Caller, db: Database
) -> None:
    rows = "".join(f"+4520{number:06d},x\n" for number in range(60_000))
    body = httpx.Request("POST", "http://x", files={"file": ("a.csv", "contact_number,n\n" + rows)})
    half = body.read()[: len(rows) // 2]
    staged: list[int] = []
    messages: list[Message] = [
        {"type": "http.request", "body": half, "more_body": True},
        {"type": "http.request", "body": b"", "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Message:
        if len(messages) == 1:
            staged.append(await count_batches(db))
        return messages.pop(0)

    async def send(_: Message) -> None:
        """Nobody hears this."""

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/batches",
        "query_string": b"",
        "headers": [
            (b"authorization", f"Bearer {caller.token}".encode()),
            (b"content-type", body.headers["content-type"].encode()),
        ],
    }
    await door(scope, receive, send)
    assert staged == [1]
    assert await count_batches(db) == 0


async def test_file_name_is_its_base_name(caller: Caller) -> None:
    batch_id = await caller.upload_batch(file_name="C:\\lists\\købere.csv")
    assert (await caller.get(f"/batches/{batch_id}")).json()["file_name"] == "købere.csv"


async def test_agent_id_may_lack_its_dashes(caller: Caller) -> None:
    agent_id = uuid4()
    await caller.upload(agent_id=agent_id.hex)
    assert len((await caller.get(f"/batches/{agent_id}/all")).json()) == 1


async def test_very_same_file_names_the_batch_it_went_into(
    caller: Caller, modern: Caller, db: Database
) -> None:
    clock = SetClock(db.clock())
    db.clock = clock
    first = await caller.upload()
    assert "batchyard-duplicate-of" not in first.headers
    clock.shift += timedelta(minutes=14)
    again = await modern.upload(file_name="other.csv")
    assert again.status_code == 201
    assert again.headers["batchyard-duplicate-of"] == first.json()["batch_id"]
    other = await caller.upload(CSV + "+4520123458,Cy\n")
    assert "batchyard-duplicate-of" not in other.headers
    clock.shift += timedelta(minutes=16)
    late = await caller.upload()
    assert (late.status_code, "batchyard-duplicate-of" in late.headers) == (200, False)


async def test_very_same_file_of_another_team_is_new(caller: Caller, stranger: Caller) -> None:
    await caller.upload()
    answer = await stranger.upload(agent_id=str(uuid4()))
    assert (answer.status_code, "batchyard-duplicate-of" in answer.headers) == (200, False)


async def test_very_same_file_is_refused_where_that_is_set(caller: Caller, db: Database) -> None:
    clock = SetClock(db.clock())
    db.clock = clock
    app = build_door(Config(refuse_same_file=True), db)
    strict = Caller(app=app, team=caller.team, token=caller.token)
    batch_id = await strict.upload_batch()
    refused = await strict.upload()
    assert (refused.status_code, refused.json()["error"]) == (400, 400)
    assert str(batch_id) in refused.json()["message"]
    assert await count_batches(db) == 1
    clock.shift += timedelta(minutes=16)
    assert (await strict.upload()).status_code == 200

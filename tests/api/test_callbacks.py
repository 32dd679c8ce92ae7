"""What providers tell at `/callbacks/{token}`: taken once, harmless again, refused when bad."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from uuid import UUID, uuid4

import httpx
import orjson
import psycopg
import pytest
from structlog.testing import capture_logs

from batchyard.api.callbacks import MAX_BODY_BYTES, build_door
from batchyard.config import Config
from batchyard.encryption import Vault
from batchyard.engine.inbox import open_inbox
from batchyard.engine.journal import Journal
from batchyard.engine.reports import Reports
from batchyard.models import BatchState, Kind, Phase
from batchyard.operations.providers import add_provider
from batchyard.signing import sign_callback
from batchyard.store.db import Database
from tests import factories

COMPLETED = {"status": "completed", "result": {"duration_seconds": 7}}

TEN_MEGABYTES = 10 * 1024**2
CHUNK = b"x" * 64 * 1024


class Caller:
    """A provider that speaks of one live call, and who looks at what became of it."""

    def __init__(self, db: Database, http: httpx.AsyncClient, *, item_id: UUID, key: bytes) -> None:
        self.db = db
        self.item_id = item_id
        self._http = http
        self._key = key

    def token(self, *, attempt: int = 1, item_id: UUID | None = None) -> str:
        return sign_callback(self._key, item_id=item_id or self.item_id, attempt=attempt)

    async def tell(self, news: object, *, token: str | None = None) -> httpx.Response:
        """Tell news, or whatever bytes."""
        body = news if isinstance(news, bytes) else orjson.dumps(news)
        return await self._http.post(f"/callbacks/{token or self.token()}", content=body)

    async def stream(self, chunks: AsyncIterator[bytes]) -> httpx.Response:
        return await self._http.post(f"/callbacks/{self.token()}", content=chunks)

    async def item(self) -> tuple[object, ...]:
        """Return phase, status, attempt, result, and the statuses of the attempts that ended."""
        async with self.db.pool.connection() as conn:
            row = await (
                await conn.execute(
                    "SELECT i.phase, i.status, i.try, d.result,"
                    " jsonb_path_query_array(d.attempts, '$.status')"
                    " FROM items i JOIN item_data d ON d.item_id = i.id WHERE i.id = %s",
                    (self.item_id,),
                )
            ).fetchone()
        assert row is not None
        return row


LIVE: tuple[object, ...] = ("live", "initiated", 1, None, [])
ENDED = ("done", "completed", 1, {"duration_seconds": 7}, ["completed"])


@pytest.fixture
async def caller(db: Database) -> AsyncIterator[Caller]:
    """Lend a live call at a provider that has no secret."""
    await add_provider(
        db,
        Vault(None),
        name="dialler",
        kind="http",
        settings={"url": "http://127.0.0.1:9/do"},
        secret=None,
        allow_private=True,
    )
    team = await factories.make_team(db)
    batch_id = await factories.make_batch(db, team=team, kind=Kind.CALL, state=BatchState.RUNNING)
    [item_id] = await factories.make_items(
        db, team=team, batch_id=batch_id, phase=Phase.LIVE, status="initiated"
    )
    async with db.transaction() as conn:
        await conn.execute(
            "UPDATE items SET provider_id = (SELECT id FROM providers WHERE name = 'dialler')"
        )
    async with open_inbox(Config(), db) as inbox:
        transport = httpx.ASGITransport(app=build_door(lambda: inbox))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            yield Caller(db, http, item_id=item_id, key=inbox.callback_key)


async def test_token_that_was_not_made_here_is_not_found(caller: Caller) -> None:
    right = caller.token()
    other_key = sign_callback(b"another key", item_id=caller.item_id, attempt=1)
    changed = right[:-2] + ("AA" if right[-2:] != "AA" else "BB")
    for token in ("nonsense", "%FF", other_key, changed, right[:-1], f"{right}AAAA"):
        answer = await caller.tell(COMPLETED, token=token)
        assert answer.status_code == 404, token
        assert "callback address" in answer.json()["message"]
    # Made here, of an item that is none, or none any more.
    answer = await caller.tell(COMPLETED, token=caller.token(item_id=uuid4()))
    assert answer.status_code == 404
    assert await caller.item() == LIVE


async def test_callback_ends_the_item_and_once_more_is_logged_and_harmless(caller: Caller) -> None:
    first = await caller.tell(COMPLETED)
    assert (first.status_code, first.json()) == (200, {"status": "taken"})
    assert await caller.item() == ENDED
    with capture_logs() as logs:
        again = await caller.tell(COMPLETED)
    assert (again.status_code, again.json()) == (200, {"status": "known already"})
    [logged] = [entry for entry in logs if entry["event"] == "callback.ignored"]
    assert (logged["item"], logged["attempt"]) == (str(caller.item_id), 1)
    assert logged["is_ended"] is True
    assert await caller.item() == ENDED


@pytest.mark.parametrize("late", [{"status": "ringing"}, {"status": "busy"}, {"status": "error"}])
async def test_late_callback_changes_nothing(caller: Caller, late: dict[str, str]) -> None:
    await caller.tell(COMPLETED)
    answer = await caller.tell(late)
    assert (answer.status_code, answer.json()) == (200, {"status": "known already"})
    assert await caller.item() == ENDED


async def test_callbacks_out_of_order_move_the_item_only_onwards(caller: Caller) -> None:
    told = []
    for status in ("in-progress", "ringing", "in-progress", "initiated"):
        answer = await caller.tell({"status": status})
        told.append((answer.status_code, answer.json()["status"]))
        assert (await caller.item())[:2] == ("live", "in-progress")
    assert told == [(200, "taken"), *[(200, "known already")] * 3]
    assert (await caller.tell(COMPLETED)).json() == {"status": "taken"}
    assert await caller.item() == ENDED


async def test_callbacks_at_the_same_moment_end_the_item_once(caller: Caller) -> None:
    answers: Sequence[httpx.Response] = await asyncio.gather(
        *(caller.tell(COMPLETED) for _ in range(10))
    )
    assert {answer.status_code for answer in answers} == {200}
    assert [answer.json()["status"] for answer in answers].count("taken") == 1
    assert await caller.item() == ENDED


async def test_callback_of_an_earlier_attempt_says_nothing_about_this_one(caller: Caller) -> None:
    async with caller.db.transaction() as conn:
        await conn.execute("UPDATE items SET try = 2")
    answer = await caller.tell(COMPLETED)
    assert (answer.status_code, answer.json()) == (200, {"status": "known already"})
    assert (await caller.item())[:3] == ("live", "initiated", 2)
    assert (await caller.tell(COMPLETED, token=caller.token(attempt=2))).json() == {
        "status": "taken"
    }


async def test_body_of_ten_megabytes_is_refused_before_it_is_read(caller: Caller) -> None:
    sent = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < TEN_MEGABYTES:
            sent += len(CHUNK)
            yield CHUNK

    answer = await caller.stream(chunks())
    assert answer.status_code == 413
    assert str(MAX_BODY_BYTES) in answer.json()["message"]
    assert sent <= MAX_BODY_BYTES + 2 * len(CHUNK)
    assert await caller.item() == LIVE
    assert (await caller.tell(COMPLETED)).json() == {"status": "taken"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"status": "completed\xff\xfe"}',
        b"\xff\xfe{\x00}\x00",
        b"<!doctype html><html><body>502 Bad Gateway</body></html>",
        b"null",
        b"[]",
        b'"completed"',
        b"{}",
        b'{"status": null}',
        b'{"status": 7}',
        b'{"status": "flying"}',
        b'{"status": "booked"}',
        b'{"status": "completed", "result": []}',
        b'{"status": "completed", "result": {"duration_seconds": "long"}}',
        b'{"status": "completed"',
        b"[" * 100_000,
    ],
    ids=lambda body: repr(body[:40]),
)
async def test_body_that_makes_no_sense_is_refused_and_decides_nothing(
    caller: Caller, body: bytes
) -> None:
    answer = await caller.tell(body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["message"]
    assert await caller.item() == LIVE


@pytest.mark.parametrize("part,step", [(Journal, "_write_transaction"), (Reports, "_judge")])
async def test_callback_that_could_not_be_written_may_come_again(
    caller: Caller, monkeypatch: pytest.MonkeyPatch, part: type, step: str
) -> None:
    async def fail(*_: object) -> None:
        raise psycopg.InternalError("unexpected")

    with monkeypatch.context() as patch:
        patch.setattr(part, step, fail)
        for _ in range(2):
            answer = await asyncio.wait_for(caller.tell(COMPLETED), 30)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
    assert await caller.item() == LIVE
    again = await asyncio.wait_for(caller.tell(COMPLETED), 30)
    assert (again.status_code, again.json()) == (200, {"status": "taken"})
    assert await caller.item() == ENDED

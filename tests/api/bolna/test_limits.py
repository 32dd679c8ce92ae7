"""A limit that is reached is told with the time to wait (contract, section 2)."""

from collections.abc import Awaitable, Callable

import pytest

from batchyard.errors import LimitReached
from batchyard.operations import agents, imports
from batchyard.store.db import Database
from tests.api.bolna.conftest import Caller
from tests.api.bolna.test_idempotency import AGENT_BODY, KEY, count

TOLD = {"error": 429, "message": "A limit is reached; try again later."}


def limited(seconds: float) -> Callable[..., Awaitable[None]]:
    async def refuse(*_: object, **__: object) -> None:
        raise LimitReached(retry_after_seconds=seconds)

    return refuse


@pytest.mark.parametrize("seconds,told", [(0.2, "1"), (2.5, "3"), (60, "60")])
async def test_limit_reached_is_429_with_whole_seconds_to_wait(
    caller: Caller, modern: Caller, monkeypatch: pytest.MonkeyPatch, seconds: float, told: str
) -> None:
    monkeypatch.setattr(agents, "create_agent", limited(seconds))
    for client in (caller, modern):
        answer = await client.post("/v2/agent", json=AGENT_BODY)
        assert (answer.status_code, answer.json()) == (429, TOLD)
        assert answer.headers["retry-after"] == told


async def test_limit_reached_by_an_upload_leaves_nothing(
    caller: Caller, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "use_agent", limited(5))
    answer = await caller.upload()
    assert (answer.status_code, answer.json()) == (429, TOLD)
    assert answer.headers["retry-after"] == "5"
    assert (await count(db, "batches"), await count(db, "items")) == (0, 0)


async def test_limit_reached_is_not_remembered(
    caller: Caller, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(agents, "create_agent", limited(5))
        refused = await caller.post("/v2/agent", json=AGENT_BODY, headers=KEY)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
    assert await count(db, "idempotency") == 0
    made = await caller.post("/v2/agent", json=AGENT_BODY, headers=KEY)
    assert made.status_code == 201
    assert "idempotency-replayed" not in made.headers

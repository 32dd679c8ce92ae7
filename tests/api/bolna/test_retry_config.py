"""What `retry_config` means: its defaults, its refusals, and the waits it leads to (section 5)."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from batchyard.api.bolna.wire import read_retry_config
from batchyard.models import RetryPolicy
from batchyard.retry import plan
from batchyard.store.db import Database
from tests.api.bolna.conftest import Caller
from tests.api.bolna.test_agents import make
from tests.api.bolna.test_idempotency import count

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def waits(policy: RetryPolicy, *, status: str = "busy") -> list[int]:
    """Return the minutes before each retry of a call that always ends alike."""
    found: list[int] = []
    while due_at := plan(
        policy,
        status=status,
        answered_by_voicemail=False,
        attempt=len(found) + 1,
        key="item.1",
        now=NOW,
    ):
        found.append((due_at - NOW) // timedelta(minutes=1))
    return found


def test_enabled_alone_means_the_usual() -> None:
    policy = read_retry_config('{"enabled": true}')
    assert policy == RetryPolicy(
        statuses=("no-answer", "busy", "failed"),
        max_retries=3,
        intervals_minutes=(30, 60, 120),
        on_voicemail=False,
    )
    for status in ("no-answer", "busy", "failed"):
        assert waits(policy, status=status) == [30, 60, 120]
    for status in ("error", "completed", "canceled", "stopped", "balance-low"):
        assert waits(policy, status=status) == []


@pytest.mark.parametrize("text", ["{}", '{"enabled": false}', '{"max_retries": 2}'])
def test_nothing_is_tried_again_unless_enabled(text: str) -> None:
    assert waits(read_retry_config(text)) == []


@pytest.mark.parametrize(
    "max_retries,intervals,expected",
    [
        (3, [5], [5, 5, 5]),
        (3, [5, 10], [5, 10, 10]),
        (2, [5, 10, 20], [5, 10]),
        (1, [30, 60, 120], [30]),
    ],
)
def test_last_interval_repeats_where_there_are_fewer_than_retries(
    max_retries: int, intervals: list[int], expected: list[int]
) -> None:
    config = {
        "enabled": True,
        "max_retries": max_retries,
        "retry_intervals_minutes": intervals,
    }
    assert waits(read_retry_config(json.dumps(config))) == expected


@pytest.mark.parametrize(
    "sent,field",
    [
        ({"enabled": "yes"}, "retry_config.enabled"),
        ({"max_retries": 0}, "retry_config.max_retries"),
        ({"max_retries": 4}, "retry_config.max_retries"),
        ({"retry_on_statuses": ["lost"]}, "retry_config.retry_on_statuses.0"),
        ({"retry_on_statuses": ["busy", "completed"]}, "retry_config.retry_on_statuses.1"),
        ({"retry_on_statuses": "busy"}, "retry_config.retry_on_statuses"),
        ({"retry_intervals_minutes": []}, "retry_config.retry_intervals_minutes"),
        ({"retry_intervals_minutes": [30, 0]}, "retry_config.retry_intervals_minutes.1"),
        ({"retry_on_voicemail": 1}, "retry_config.retry_on_voicemail"),
    ],
)
async def test_wrong_retry_config_is_422_and_nothing_is_made(
    caller: Caller, db: Database, sent: dict[str, object], field: str
) -> None:
    call = {"agent_id": await make(caller), "recipient_phone_number": "+4520123456"}
    for answer in (
        await caller.upload(retry_config=json.dumps(sent)),
        await caller.post("/call", json={**call, "retry_config": sent}),
    ):
        assert (answer.status_code, answer.json()["error"]) == (422, 422)
        assert answer.json()["message"].startswith(f"{field}: ")
    assert await count(db, "batches") == 0


async def test_usual_retries_are_kept_with_the_batch(caller: Caller, db: Database) -> None:
    await caller.upload(retry_config='{"enabled": true}')
    async with db.pool.connection() as conn:
        kept = await (await conn.execute("SELECT retry_policy FROM batches")).fetchone()
    assert kept == (
        {
            "statuses": ["no-answer", "busy", "failed"],
            "max_retries": 3,
            "intervals_minutes": [30, 60, 120],
            "on_voicemail": False,
            "jitter": 0,
        },
    )
